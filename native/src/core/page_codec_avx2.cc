// AVX2 variant. Compiled without -mavx2, each function with its own target, so that no inline
// function of a library is ever compiled to instructions that an older machine lacks.
#include "core/page_codec.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <cstring>

#define TARGET_AVX2 __attribute__((target("avx2,popcnt")))

namespace mycelium {
namespace {

constexpr size_t kVectorBytes = 32;
constexpr size_t kBlockBytes = 64;

TARGET_AVX2 inline __m256i Load(const uint8_t* at) {
  // SAFETY: the unaligned load takes any address.
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
}

TARGET_AVX2 bool IsZeroAvx2(const uint8_t* page) {
  for (size_t offset = 0; offset < kPageBytes; offset += 4 * kVectorBytes) {
    const uint8_t* at = page + offset;
    const __m256i any =
        _mm256_or_si256(_mm256_or_si256(Load(at), Load(at + kVectorBytes)),
                        _mm256_or_si256(Load(at + 2 * kVectorBytes), Load(at + 3 * kVectorBytes)));
    if (!_mm256_testz_si256(any, any)) return false;
  }
  return true;
}

TARGET_AVX2 bool EqualAvx2(const uint8_t* page, const uint8_t* base) {
  for (size_t offset = 0; offset < kPageBytes; offset += 2 * kVectorBytes) {
    const __m256i low = _mm256_xor_si256(Load(page + offset), Load(base + offset));
    const __m256i high =
        _mm256_xor_si256(Load(page + offset + kVectorBytes), Load(base + offset + kVectorBytes));
    const __m256i any = _mm256_or_si256(low, high);
    if (!_mm256_testz_si256(any, any)) return false;
  }
  return true;
}

// For each mask of 4 words, the order of 4-byte lanes that brings the words of the mask forward.
struct Permutations {
  alignas(32) uint32_t lanes[16][8];
};

constexpr Permutations MakePermutations() {
  Permutations table{};
  for (uint32_t mask = 0; mask < 16; ++mask) {
    uint32_t lane = 0;
    for (uint32_t word = 0; word < 4; ++word) {
      if ((mask >> word & 1) == 0) continue;
      table.lanes[mask][lane++] = 2 * word;
      table.lanes[mask][lane++] = 2 * word + 1;
    }
  }
  return table;
}

constexpr Permutations kPermutations = MakePermutations();

TARGET_AVX2 inline unsigned EqualWords(__m256i ours, __m256i theirs) {
  const __m256i equal = _mm256_cmpeq_epi64(ours, theirs);
  return static_cast<unsigned>(_mm256_movemask_pd(_mm256_castsi256_pd(equal)));
}

// Stores the words of `mask` one after the other, and up to 32 bytes in all; returns the end.
TARGET_AVX2 inline uint8_t* StoreWords(__m256i words, unsigned mask, uint8_t* out) {
  // SAFETY: rows of the table are aligned; the caller's room includes a full vector.
  const __m256i order =
      _mm256_load_si256(reinterpret_cast<const __m256i*>(kPermutations.lanes[mask]));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_permutevar8x32_epi32(words, order));
  return out + static_cast<size_t>(__builtin_popcount(mask)) * 8;
}

TARGET_AVX2 size_t DifferenceAvx2(const uint8_t* page, const uint8_t* base, uint8_t* out) {
  uint64_t block_mask = 0;
  uint8_t* at = out + sizeof block_mask;
  for (size_t block = 0; block < kPageBytes / kBlockBytes; ++block) {
    const uint8_t* ours = page + block * kBlockBytes;
    const uint8_t* theirs = base + block * kBlockBytes;
    const __m256i low = Load(ours);
    const __m256i high = Load(ours + kVectorBytes);
    const unsigned equal =
        EqualWords(low, Load(theirs)) | EqualWords(high, Load(theirs + kVectorBytes)) << 4;
    const unsigned changed = equal ^ 0xff;
    if (changed == 0) continue;
    if (static_cast<size_t>(at - out) >= kWordsBytesEnd) return kWordsBytesEnd;
    block_mask |= uint64_t{1} << block;
    *at++ = static_cast<uint8_t>(changed);
    at = StoreWords(low, changed & 15, at);
    at = StoreWords(high, changed >> 4, at);
  }
  if (block_mask == 0) return 0;
  const size_t bytes = static_cast<size_t>(at - out);
  if (bytes >= kWordsBytesEnd) return kWordsBytesEnd;
  std::memcpy(out, &block_mask, sizeof block_mask);
  return bytes;
}

}  // namespace

const PageOps page_ops::kAvx2 = {"avx2", IsZeroAvx2, EqualAvx2, DifferenceAvx2};

}  // namespace mycelium

#endif
