// Hashes of pages, of images and of payloads: XXH3-64 (xxhash 0.8, seed as stated). Not keyed:
// they find accidents, not attackers. Peers are authenticated by their channel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace mycelium {

// Hash of the kPageBytes at `page`: 0 if, and only if, all are zero; otherwise XXH3-64 with seed
// `page_number` + 1 (1 should that be 0). The seed makes equal pages at different places differ,
// so that the sum of all hashes modulo 2^64 stands for an image: its root.
uint64_t HashPage(const uint8_t* page, uint64_t page_number);

// The same for a page that is known not to be zero.
uint64_t HashNonZeroPage(const uint8_t* page, uint64_t page_number);

// XXH3-64 without a seed.
uint64_t HashBytes(std::span<const uint8_t> bytes);

}  // namespace mycelium
