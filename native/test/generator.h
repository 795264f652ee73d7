// Seeded random numbers and pages for property tests and fuzzing.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "core/page_bitmap.h"

namespace harness {

// splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
class Generator {
 public:
  explicit Generator(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t value = state_ += 0x9e3779b97f4a7c15;
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
    value = (value ^ value >> 27) * 0x94d049bb133111eb;
    return value ^ value >> 31;
  }
  // Uniform enough for tests. `end` > 0.
  size_t Below(size_t end) { return Next() % end; }
  bool OneIn(size_t n) { return Below(n) == 0; }
  void Fill(uint8_t* bytes, size_t count) {
    for (size_t index = 0; index < count; ++index) bytes[index] = static_cast<uint8_t>(Next());
  }

 private:
  uint64_t state_;
};

// TEST_SEED repeats a run; without it, a fixed seed, so that a failure is one for everybody.
inline uint64_t Seed(const char* what) {
  const char* text = std::getenv("TEST_SEED");
  const uint64_t seed = text == nullptr ? 20240917 : std::strtoull(text, nullptr, 10);
  std::printf("# %s: TEST_SEED=%llu\n", what, static_cast<unsigned long long>(seed));
  return seed;
}

// Rounds of a long test: a tenth under a sanitizer, and what TEST_ROUNDS_DIVISOR makes of it (for
// emulators).
inline size_t Rounds(size_t rounds) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  rounds = rounds / 10 + 1;
#endif
  const char* text = std::getenv("TEST_ROUNDS_DIVISOR");
  const size_t divisor = text == nullptr ? 1 : std::strtoull(text, nullptr, 10);
  return divisor > 1 ? rounds / divisor + 1 : rounds;
}

// Pages as they occur: zeroes, one bit, text that compresses, noise.
inline void FillPage(Generator& generator, uint8_t* page) {
  using mycelium::kPageBytes;
  std::memset(page, 0, kPageBytes);
  switch (generator.Below(5)) {
    case 0:
      return;
    case 1:
      page[generator.Below(kPageBytes)] = static_cast<uint8_t>(1U << generator.Below(8));
      return;
    case 2:
      for (size_t index = 0; index < kPageBytes; ++index) {
        page[index] = static_cast<uint8_t>('a' + index % 7 + generator.Below(2));
      }
      return;
    case 3:
      generator.Fill(page, kPageBytes / 4);
      return;
    default:
      generator.Fill(page, kPageBytes);
  }
}

// Changes a page in one of many ways, or not at all.
inline void MutatePage(Generator& generator, uint8_t* page) {
  using mycelium::kPageBytes;
  switch (generator.Below(8)) {
    case 0:
      return;
    case 1:
      page[generator.Below(kPageBytes)] ^= static_cast<uint8_t>(1U << generator.Below(8));
      return;
    case 2:  // whole words, from a few to more than a difference may have
      for (size_t count = generator.Below(300); count > 0; --count) {
        generator.Fill(page + generator.Below(kPageBytes / 8) * 8, 8);
      }
      return;
    case 3: {  // a run of bytes, at its edges inside of words
      const size_t first = generator.Below(kPageBytes);
      generator.Fill(page + first, generator.Below(kPageBytes - first) + 1);
      return;
    }
    case 4:  // about as many words as fit, in few blocks
      for (size_t word = 0, count = 200 + generator.Below(80); word < count; ++word) {
        generator.Fill(page + word * 8, 8);
      }
      return;
    case 5:
      std::memset(page, 0, kPageBytes);
      return;
    default:
      FillPage(generator, page);
  }
}

}  // namespace harness
