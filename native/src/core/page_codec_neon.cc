// NEON variant: part of every 64-bit ARM.
#include "core/page_codec.h"

#if defined(__aarch64__)

#include <arm_neon.h>

#include <cstring>

namespace mycelium {
namespace {

constexpr size_t kVectorBytes = 16;
constexpr size_t kWordBytes = 8;
constexpr size_t kBlockBytes = 64;
constexpr size_t kBlockWords = kBlockBytes / kWordBytes;

inline uint8x16_t Or4(uint8x16_t a, uint8x16_t b, uint8x16_t c, uint8x16_t d) {
  return vorrq_u8(vorrq_u8(a, b), vorrq_u8(c, d));
}

inline bool AnyBit(uint8x16_t vector) { return vmaxvq_u32(vreinterpretq_u32_u8(vector)) != 0; }

inline uint8x16_t BlockXor(const uint8_t* ours, const uint8_t* theirs) {
  uint8x16_t parts[4];
  for (size_t part = 0; part < 4; ++part) {
    parts[part] =
        veorq_u8(vld1q_u8(ours + part * kVectorBytes), vld1q_u8(theirs + part * kVectorBytes));
  }
  return Or4(parts[0], parts[1], parts[2], parts[3]);
}

bool IsZeroNeon(const uint8_t* page) {
  for (size_t offset = 0; offset < kPageBytes; offset += kBlockBytes) {
    const uint8_t* at = page + offset;
    if (AnyBit(Or4(vld1q_u8(at), vld1q_u8(at + kVectorBytes), vld1q_u8(at + 2 * kVectorBytes),
                   vld1q_u8(at + 3 * kVectorBytes)))) {
      return false;
    }
  }
  return true;
}

bool EqualNeon(const uint8_t* page, const uint8_t* base) {
  for (size_t offset = 0; offset < kPageBytes; offset += kBlockBytes) {
    if (AnyBit(BlockXor(page + offset, base + offset))) return false;
  }
  return true;
}

// NEON has no mask to a register in one step: it finds the changed blocks, and their words are
// compared one by one.
size_t DifferenceNeon(const uint8_t* page, const uint8_t* base, uint8_t* out) {
  uint64_t block_mask = 0;
  uint8_t* at = out + sizeof block_mask;
  for (size_t block = 0; block < kPageBytes / kBlockBytes; ++block) {
    const uint8_t* ours = page + block * kBlockBytes;
    const uint8_t* theirs = base + block * kBlockBytes;
    if (!AnyBit(BlockXor(ours, theirs))) continue;
    if (static_cast<size_t>(at - out) >= kWordsBytesEnd) return kWordsBytesEnd;
    block_mask |= uint64_t{1} << block;
    uint8_t* const word_mask = at++;
    unsigned mask = 0;
    for (size_t word = 0; word < kBlockWords; ++word) {
      uint64_t value;
      uint64_t old;
      std::memcpy(&value, ours + word * kWordBytes, sizeof value);
      std::memcpy(&old, theirs + word * kWordBytes, sizeof old);
      std::memcpy(at, &value, sizeof value);
      mask |= static_cast<unsigned>(value != old) << word;
      at += value != old ? kWordBytes : 0;
    }
    *word_mask = static_cast<uint8_t>(mask);
  }
  if (block_mask == 0) return 0;
  const size_t bytes = static_cast<size_t>(at - out);
  if (bytes >= kWordsBytesEnd) return kWordsBytesEnd;
  std::memcpy(out, &block_mask, sizeof block_mask);
  return bytes;
}

}  // namespace

const PageOps page_ops::kNeon = {"neon", IsZeroNeon, EqualNeon, DifferenceNeon};

}  // namespace mycelium

#endif
