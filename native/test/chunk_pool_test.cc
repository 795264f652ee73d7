#include "core/chunk_pool.h"

#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "generator.h"
#include "harness.h"

using namespace mycelium;

namespace {

constexpr size_t kMiB = size_t{1} << 20;

TEST("chunk pool: a buffer given back is used again") {
  const auto pool = std::make_shared<ChunkPool>();
  ChunkBuffer buffer = pool->Take(kMiB);
  const uint8_t* const bytes = buffer.get();
  buffer.reset();
  CHECK_EQ(pool->idle_bytes(), kMiB);
  CHECK(pool->Take(kMiB).get() == bytes);
}

TEST("chunk pool: buffers of another size are not kept") {
  const auto pool = std::make_shared<ChunkPool>();
  ChunkBuffer small = pool->Take(8192);
  pool->Take(kMiB).reset();
  CHECK_EQ(pool->idle_bytes(), kMiB);
  small.reset();
  CHECK_EQ(pool->idle_bytes(), kMiB);
  pool->Take(8192).reset();
  CHECK_EQ(pool->idle_bytes(), size_t{8192});
}

TEST("chunk pool: keeps its bound, and not one more") {
  const auto pool = std::make_shared<ChunkPool>();
  constexpr size_t kMost = ChunkPool::kIdleBytesMax / kMiB;
  std::vector<ChunkBuffer> buffers;
  for (size_t count = 0; count < kMost + 1; ++count) buffers.push_back(pool->Take(kMiB));
  while (buffers.size() > 1) buffers.pop_back();
  CHECK_EQ(pool->idle_bytes(), ChunkPool::kIdleBytesMax);
  buffers.clear();
  CHECK_EQ(pool->idle_bytes(), ChunkPool::kIdleBytesMax);
  pool->Take(ChunkPool::kIdleBytesMax + 1).reset();  // larger than all that may wait
  CHECK_EQ(pool->idle_bytes(), 0U);
}

TEST("chunk pool: gives back what was not needed for a while, and only that") {
  const auto pool = std::make_shared<ChunkPool>();
  {
    std::vector<ChunkBuffer> peak;
    for (size_t count = 0; count < 8; ++count) peak.push_back(pool->Take(kMiB));
  }
  pool->Trim();
  CHECK_EQ(pool->idle_bytes(), 8 * kMiB);
  {
    const ChunkBuffer one = pool->Take(kMiB);
    const ChunkBuffer two = pool->Take(kMiB);
  }
  pool->Trim();
  CHECK_EQ(pool->idle_bytes(), 2 * kMiB);
  pool->Trim();
  CHECK_EQ(pool->idle_bytes(), 0U);
}

TEST("chunk pool: a buffer outlives all who know the pool") {
  auto pool = std::make_shared<ChunkPool>();
  ChunkBuffer buffer = pool->Take(8192);
  pool.reset();
  std::memset(buffer.get(), 1, 8192);
  buffer.reset();
}

TEST("chunk pool: serves several threads") {
  const auto pool = std::make_shared<ChunkPool>();
  std::vector<std::thread> threads;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    threads.emplace_back([pool, seed] {
      harness::Generator generator(seed);
      std::vector<ChunkBuffer> held;
      for (size_t round = 0; round < 5000; ++round) {
        if (generator.OneIn(2)) held.push_back(pool->Take(8192));
        if (!held.empty() && generator.OneIn(2)) std::swap(held.back(), held.front());
        if (!held.empty() && generator.OneIn(2)) held.pop_back();
        if (generator.OneIn(100)) pool->Trim();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  pool->Trim();
  pool->Trim();
  CHECK_EQ(pool->idle_bytes(), 0U);
}

}  // namespace
