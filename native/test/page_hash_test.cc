#include "core/page_hash.h"

#include <vector>

#include "core/page_bitmap.h"
#include "generator.h"
#include "harness.h"

using namespace mycelium;

namespace {

// XXH3-64 of nothing, from the specification of xxHash.
constexpr uint64_t kHashOfNothing = 0x2d06800538d394c2;

TEST("page hash: a page of zeroes counts 0, wherever it is") {
  const std::vector<uint8_t> page(kPageBytes);
  for (const uint64_t number : {0ULL, 1ULL, 536870911ULL}) {
    CHECK_EQ(HashPage(page.data(), number), 0U);
  }
}

TEST("page hash: one bit anywhere makes another hash") {
  std::vector<uint8_t> page(kPageBytes);
  std::vector<uint64_t> seen;
  for (size_t index = 0; index < kPageBytes; index += 61) {
    page[index] = 1;
    const uint64_t hash = HashPage(page.data(), 7);
    CHECK(hash != 0);
    for (const uint64_t other : seen) CHECK(other != hash);
    seen.push_back(hash);
    page[index] = 0;
  }
}

TEST("page hash: the place counts, so that exchanged pages change the sum") {
  harness::Generator generator(harness::Seed("page hash"));
  std::vector<uint8_t> one(kPageBytes);
  std::vector<uint8_t> two(kPageBytes);
  generator.Fill(one.data(), kPageBytes);
  generator.Fill(two.data(), kPageBytes);
  CHECK(HashPage(one.data(), 0) != HashPage(one.data(), 1));
  CHECK(HashPage(one.data(), 0) + HashPage(two.data(), 1) !=
        HashPage(two.data(), 0) + HashPage(one.data(), 1));
  CHECK_EQ(HashPage(one.data(), 5), HashNonZeroPage(one.data(), 5));
}

// Fixed values: images of two machines, and of two versions of this program, must agree.
TEST("page hash: values that must never change") {
  std::vector<uint8_t> page(kPageBytes);
  for (size_t index = 0; index < kPageBytes; ++index) {
    page[index] = static_cast<uint8_t>(index * 31 + index / 256);
  }
  CHECK_EQ(HashBytes({}), kHashOfNothing);
  CHECK_EQ(HashPage(page.data(), 0), 0xd134d2323281563eU);
  CHECK_EQ(HashPage(page.data(), 536870911), 0x0153162937307ebfU);
  CHECK_EQ(HashBytes({page.data(), 4095}), 0x3979e5849b774c20U);
}

}  // namespace
