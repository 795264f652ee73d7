// The sending side of a replicated memory: what receivers have (the shadow), what changed since.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/anonymous_memory.h"
#include "core/chunk_pool.h"
#include "core/chunk_writer.h"
#include "core/failure.h"
#include "core/memory.h"
#include "core/page_bitmap.h"
#include "core/page_staging.h"
#include "core/tracker.h"

namespace mycelium {

// Capture or encoding before Seed, or after a failure that only Seed can repair.
class NotSeededError : public CodedFailure {
 public:
  NotSeededError() : CodedFailure("ERR_RAM_NOT_SEEDED", "the source must be seeded first") {}
};

// What one Encode made. All chunks together bring an image from the old shadow to the new one.
struct Encoding {
  std::vector<Chunk> chunks;
  PageBitmap changed;
  EncodingCounts counts;
  uint64_t root;
};

// At most one chunk of complete pages, and the pages that are left.
struct ShadowEncoding {
  std::optional<Chunk> chunk;
  PageBitmap left;
  EncodingCounts counts;
};

// Not for two threads at once. The memory may be written all the while; what it is written during
// a call may reach this capture torn, but is then found by the next.
class Source {
 public:
  // `tracker` watches `memory`. Throws SystemFailure, std::bad_alloc, std::out_of_range.
  Source(std::shared_ptr<Memory> memory, std::shared_ptr<DirtyTracker> tracker);

  // Arms the tracker and makes the shadow a copy of the memory; drops what was staged. Returns the
  // number of pages that hold something. Throws SystemFailure.
  size_t Seed();
  // Scans, and copies the pages found to the staging area, over what it had of them. Returns the
  // number of pages found. Throws NotSeededError, SystemFailure; no page found is ever lost:
  // what could not be copied is copied by the next capture.
  size_t Capture();
  // Throws NotSeededError, std::out_of_range, and std::bad_alloc, after which Seed is needed.
  Encoding Encode(const EncodeOptions& options);
  // Throws NotSeededError, std::out_of_range, std::bad_alloc.
  ShadowEncoding EncodeShadow(PageBitmap pages, const EncodeOptions& options) const;

  uint64_t root() const { return root_; }
  size_t pages() const { return memory_->pages(); }
  size_t staged_pages() const { return staging_.count(); }
  // One hash per page of the shadow.
  std::span<const uint64_t> hashes() const { return hashes_; }
  // Pages of the shadow that are not zero.
  PageBitmap ShadowPages() const;

 private:
  uint8_t* Shadow(size_t page) const { return shadow_.data() + page * kPageBytes; }
  void SeedBlock(size_t first, size_t end, const PageBitmap& populated);
  void GiveBackZeroPages();
  void SetHash(size_t page, uint64_t hash);
  // Whether the page may hold something, as far as the file knows. Never makes the kernel allocate.
  bool IsPopulated(size_t page, size_t& hole_end) const;
  bool SomePageWasPunched() const;
  void CopyToStaging();
  void EncodePage(size_t page, ChunkWriter& writer, PageBitmap& changed);

  std::shared_ptr<Memory> memory_;
  std::shared_ptr<DirtyTracker> tracker_;
  const PageOps& ops_ = BestPageOps();
  // Of a page whose hash is 0 it may hold anything: that is a page of zeroes, and is not read.
  AnonymousMemory shadow_;
  std::vector<uint64_t> hashes_;
  uint64_t root_ = 0;
  PageStaging staging_;
  PageBitmap found_;      // by scans, not yet copied
  PageBitmap populated_;  // known to have been populated: reading them allocates nothing
  size_t populated_count_ = 0;
  PageBitmap zeroed_;  // pages of the shadow that became zero, with memory to give back
  bool seeded_ = false;
  std::shared_ptr<ChunkPool> pool_ = std::make_shared<ChunkPool>();
  size_t encodings_ = 0;
};

}  // namespace mycelium
