#include "core/page_hash.h"

#define XXH_INLINE_ALL
#include "core/page_bitmap.h"
#include "core/page_codec.h"
#include "xxhash.h"

namespace mycelium {

uint64_t HashPage(const uint8_t* page, uint64_t page_number) {
  return BestPageOps().is_zero(page) ? 0 : HashNonZeroPage(page, page_number);
}

uint64_t HashNonZeroPage(const uint8_t* page, uint64_t page_number) {
  const uint64_t hash = XXH3_64bits_withSeed(page, kPageBytes, page_number + 1);
  return hash == 0 ? 1 : hash;
}

uint64_t HashBytes(std::span<const uint8_t> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

}  // namespace mycelium
