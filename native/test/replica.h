// What tests of sources and images share: a tracker that is told what was written, and a copy of a
// memory to compare with.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <system_error>
#include <vector>

#include "core/image.h"
#include "core/memory.h"
#include "core/page_hash.h"
#include "core/source.h"
#include "core/tracker.h"
#include "harness.h"

namespace harness {

// Reports the pages that a test marked, so that tests of sources need no kernel feature.
class ToldTracker : public mycelium::DirtyTracker {
 public:
  explicit ToldTracker(size_t pages) : written(pages) {}
  mycelium::TrackerTier tier() const override { return mycelium::TrackerTier::kShadow; }
  void Scan(mycelium::PageBitmap& out) override {
    ++scans;
    if (on_scan) on_scan();
    if (fails) throw std::system_error(ESRCH, std::generic_category(), "scan");
    written.ForEach([&](size_t page) { out.Set(page); });
    written.ClearAll();
  }

  mycelium::PageBitmap written;
  int scans = 0;
  std::function<void()> on_scan;  // a writer at the worst moment
  bool fails = false;
};

inline std::vector<uint8_t> ContentOf(const mycelium::Memory& memory) {
  return {memory.data(), memory.data() + memory.bytes()};
}

// Root and hashes as their definition says, computed anew.
inline std::vector<uint64_t> HashesOf(const std::vector<uint8_t>& content) {
  std::vector<uint64_t> hashes(content.size() / mycelium::kPageBytes);
  for (size_t page = 0; page < hashes.size(); ++page) {
    hashes[page] = mycelium::HashPage(content.data() + page * mycelium::kPageBytes, page);
  }
  return hashes;
}

inline uint64_t RootOf(const std::vector<uint8_t>& content) {
  uint64_t root = 0;
  for (const uint64_t hash : HashesOf(content)) root += hash;
  return root;
}

inline std::span<const uint8_t> PayloadOf(const mycelium::Chunk& chunk) {
  return {chunk.data.get() + mycelium::kChunkHeadBytes, chunk.bytes - mycelium::kChunkHeadBytes};
}

inline void StageAll(mycelium::Image& image, const std::vector<mycelium::Chunk>& chunks) {
  for (const mycelium::Chunk& chunk : chunks) {
    CHECK_EQ(image.Stage(PayloadOf(chunk), chunk.checksum), chunk.pages);
  }
}

template <typename T>
bool SameItems(std::span<const T> got, const std::vector<T>& expected) {
  return got.size() == expected.size() && std::equal(got.begin(), got.end(), expected.begin());
}

}  // namespace harness
