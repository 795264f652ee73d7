#include "core/page_staging.h"

#include <cstring>
#include <vector>

#include "core/page_codec.h"
#include "generator.h"
#include "harness.h"

using namespace mycelium;

namespace {

void Put(PageStaging& staging, size_t page, uint8_t value) {
  const PageStaging::Slot slot = staging.Take();
  std::memset(staging.Room(slot), value, kPageBytes);
  staging.Assign(page, slot);
}

TEST("page staging: holds the last content of each page") {
  PageStaging staging(100);
  CHECK(!staging.Has(7));
  CHECK_EQ(staging.SlotOf(7), PageStaging::kZeroSlot);
  Put(staging, 7, 1);
  Put(staging, 8, 2);
  Put(staging, 7, 3);
  staging.Assign(8, PageStaging::kZeroSlot);
  CHECK_EQ(staging.count(), 2U);
  CHECK_EQ(staging.Data(staging.SlotOf(7))[4095], 3);
  CHECK_EQ(staging.Data(staging.SlotOf(8))[0], 0);
  staging.Clear();
  CHECK_EQ(staging.count(), 0U);
  CHECK(!staging.Has(7));
}

TEST("page staging: what is replaced or dropped is used again") {
  PageStaging staging(64);
  for (size_t round = 0; round < 10000; ++round) {
    Put(staging, round % 2, 1);
    staging.Drop(staging.Take());
  }
  CHECK_EQ(staging.memory_bytes(), 64 * kPageBytes);
}

TEST("page staging: gives memory back some time after a peak, not at once") {
  constexpr size_t kMany = 50000;
  PageStaging staging(kMany);
  for (size_t page = 0; page < kMany; ++page) Put(staging, page, 1);
  CHECK(staging.memory_bytes() >= kMany * kPageBytes);
  staging.Clear();
  CHECK(staging.memory_bytes() >= kMany * kPageBytes);
  for (size_t round = 0; round < 60; ++round) {
    Put(staging, 1, 1);
    staging.Clear();
  }
  CHECK(staging.memory_bytes() <= size_t{8} << 20);
  for (size_t page = 0; page < kMany; ++page) Put(staging, page, static_cast<uint8_t>(page));
  for (size_t page = 0; page < kMany; ++page) {
    CHECK_EQ(staging.Data(staging.SlotOf(page))[page % kPageBytes], static_cast<uint8_t>(page));
  }
}

TEST("anonymous memory: gives long ranges back, and leaves short ones") {
  AnonymousMemory memory(size_t{1} << 20);
  std::memset(memory.data(), 1, memory.bytes());
  CHECK(!memory.GiveBack(0, kPageBytes));
  CHECK_EQ(memory.data()[0], 1);
  CHECK(!memory.GiveBack(512, size_t{1} << 18));  // not whole pages of the machine
  CHECK_EQ(memory.data()[512], 1);
  CHECK(memory.GiveBack(0, size_t{1} << 18));
  CHECK_EQ(memory.data()[(size_t{1} << 18) - 1], 0);
  CHECK_EQ(memory.data()[size_t{1} << 18], 1);
  memory.Zero(size_t{1} << 18, kPageBytes);
  CHECK_EQ(memory.data()[(size_t{1} << 18) + kPageBytes - 1], 0);
  CHECK_EQ(memory.data()[(size_t{1} << 18) + kPageBytes], 1);
}

TEST("page staging: refuses more pages than numbers have bits for") {
  CHECK_THROWS(std::out_of_range, PageStaging(kPagesMax + 1));
}

}  // namespace
