// The page codec as obvious loops, byte by byte: what every fast variant is checked against.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/page_codec.h"

namespace reference {

using mycelium::kPageBytes;
using mycelium::kWordsBytesEnd;

inline bool IsZero(const uint8_t* page) {
  for (size_t index = 0; index < kPageBytes; ++index) {
    if (page[index] != 0) return false;
  }
  return true;
}

inline bool Equal(const uint8_t* page, const uint8_t* base) {
  for (size_t index = 0; index < kPageBytes; ++index) {
    if (page[index] != base[index]) return false;
  }
  return true;
}

inline bool WordDiffers(const uint8_t* page, const uint8_t* base, size_t word) {
  for (size_t index = word * 8; index < word * 8 + 8; ++index) {
    if (page[index] != base[index]) return true;
  }
  return false;
}

// The body of a `words` record; empty for equal pages. Of any length.
inline std::vector<uint8_t> Difference(const uint8_t* page, const uint8_t* base) {
  std::vector<uint8_t> out(8);
  for (size_t block = 0; block < 64; ++block) {
    uint8_t mask = 0;
    std::vector<uint8_t> words;
    for (size_t word = 0; word < 8; ++word) {
      const size_t number = block * 8 + word;
      if (!WordDiffers(page, base, number)) continue;
      mask = static_cast<uint8_t>(mask + (1 << word));
      words.insert(words.end(), page + number * 8, page + number * 8 + 8);
    }
    if (words.empty()) continue;
    out[block / 8] = static_cast<uint8_t>(out[block / 8] + (1 << block % 8));
    out.push_back(mask);
    out.insert(out.end(), words.begin(), words.end());
  }
  if (out.size() == 8) out.clear();
  return out;
}

}  // namespace reference
