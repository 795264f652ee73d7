// The receiving side of a replicated memory: chunks are checked and staged as they arrive, and
// applied together, whole or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "core/anonymous_memory.h"
#include "core/failure.h"
#include "core/memory.h"
#include "core/page_codec.h"
#include "core/page_staging.h"

namespace mycelium {

// The image would not be the one that was announced.
class RootError : public CodedFailure {
 public:
  RootError(uint64_t expected, uint64_t actual);
};

// Not for two threads at once. Nobody else may write the memory while an image is made of it:
// staged pages and the table of hashes are computed from what it holds.
class Image {
 public:
  // Hashes every populated page. Throws std::invalid_argument if the memory is not writable.
  explicit Image(std::shared_ptr<Memory> memory);

  // Checks a payload in full, and keeps the pages as they will be. A difference is put on what
  // the chunks staged before have of the page, or else on what is applied. Returns the number of
  // pages. Throws ChunkError, std::bad_alloc, SystemFailure: nothing has changed.
  size_t Stage(std::span<const uint8_t> payload, uint64_t checksum);
  // Checks a payload of complete pages in full, and makes them the content of the memory at once:
  // a third of the work of Stage and Apply. Nothing may be staged. Returns the number of pages.
  // Throws ChunkError, CodedFailure, std::bad_alloc: nothing has changed; and SystemFailure if the
  // file system has no room: then some pages are written, and hashes and root are those of what is
  // there.
  size_t Fill(std::span<const uint8_t> payload, uint64_t checksum);
  // Makes all that is staged the content of the memory, and empties the staging area. Returns the
  // number of pages. If `root` is given and would not be the new one: RootError. If the file system
  // has no room for pages: SystemFailure. Both leave memory and staging area as they were.
  size_t Apply(std::optional<uint64_t> root);
  void Discard();

  const std::shared_ptr<Memory>& memory() const { return memory_; }
  uint64_t root() const { return root_; }
  size_t pages() const { return memory_->pages(); }
  size_t staged_pages() const { return staging_.count(); }
  // One hash per page of what is applied.
  std::span<const uint64_t> hashes() const { return hashes_; }

 private:
  struct Fresh {
    uint32_t page;
    PageStaging::Slot slot;
    uint64_t hash;
  };
  struct ZeroRun {
    uint32_t page;
    uint32_t count;
  };
  // The pages of one chunk, until all of it has proved right.
  struct Batch {
    std::vector<Fresh> fresh;
    std::vector<ZeroRun> zeroes;
    size_t pages = 0;
  };

  // A complete page on its way into the memory.
  struct Incoming {
    uint32_t page;
    const uint8_t* content;
    uint64_t hash;
  };
  // What a payload of complete pages holds. `has_slots`: something had to be decompressed.
  struct Arrivals {
    std::vector<Incoming> pages;
    std::vector<ZeroRun> zeroes;
    bool has_slots = false;
    size_t count = 0;
  };

  uint8_t* Page(size_t page) const { return memory_->data() + page * kPageBytes; }
  uint64_t* StagedHashes() const;
  void Expand(std::span<const uint8_t> payload, Batch& batch);
  void ExpandPage(const PageRecord& record, uint8_t* out) const;
  void Keep(size_t page, PageStaging::Slot slot, uint64_t hash);
  void Collect(std::span<const uint8_t> payload, Arrivals& arrivals);
  void WriteRun(std::span<const Incoming> run);
  void SetHash(size_t page, uint64_t hash);
  void HashAgain(size_t page);
  void AllocateHoles() const;
  bool Allocate(size_t first, size_t end, int mode) const;
  void ZeroPages(size_t first, size_t end);

  std::shared_ptr<Memory> memory_;
  const PageOps& ops_ = BestPageOps();
  std::vector<uint64_t> hashes_;
  uint64_t root_ = 0;
  PageStaging staging_;
  AnonymousMemory staged_hashes_;  // a hash per page, meaningful where `staging_` has the page
  uint64_t staged_root_ = 0;       // the root once the staged pages are applied
};

}  // namespace mycelium
