// Finds the pages of a memory that were written since the last scan.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/memory.h"
#include "core/page_bitmap.h"

namespace mycelium {

enum class TrackerTier {
  kAsync,   // A: userfaultfd WP_ASYNC + PAGEMAP_SCAN
  kSync,    // B: synchronous userfaultfd-wp with a handler thread
  kHash,    // C: a hash of each page
  kShadow,  // D: comparison with a copy
};

class DirtyTracker {
 public:
  virtual ~DirtyTracker() = default;
  virtual TrackerTier tier() const = 0;
  // Adds to `out` every page written since the last Scan (the first one: since the tracker was
  // made), and starts watching for the next. May report pages that were not written; never misses
  // one whose write completed before the call. Writers may run meanwhile: a write that happens
  // during the call is reported by this scan or by the next.
  // Not for two threads at once. Throws std::system_error (the watched process has gone: ESRCH).
  virtual void Scan(PageBitmap& out) = 0;
  // Tells what was copied of a page while writers ran; null: a page of zeroes. A tracker that
  // compares content compares with that from now on: a page that was written before it was copied,
  // and back afterwards, as the word of a lock is, would pass for unwritten otherwise.
  virtual void Taken(size_t /*page*/, const uint8_t* /*copy*/) {}
};

// How a userfaultfd of another process is had (tiers A and B).
enum class DescriptorMethod { kInject, kShim };

struct TrackerOptions {
  std::optional<TrackerTier> tier;  // none: the best one that passes the self-test
  // 0: writes through Memory's own mapping by this process. Otherwise: writes by that process
  // through its own (largest) mapping of the same file.
  pid_t pid = 0;
  DescriptorMethod method = DescriptorMethod::kInject;
  int shim_socket = -1;  // kShim: a connected unix socket on which the shim sends its descriptor
};

struct TrackerRejection {
  TrackerTier tier;
  std::string reason;
};

struct TrackerReport {
  std::shared_ptr<DirtyTracker> tracker;
  std::vector<TrackerRejection> rejected;  // tiers tried before, best first
};

// Makes a tracker. Each tier must first prove itself on a small memory of its own (for another
// process: in this process, by the same kernel interface, with a write from user mode and one by
// the kernel). Throws std::system_error if a forced tier cannot serve; kShadow always can.
TrackerReport MakeTracker(const std::shared_ptr<Memory>& memory, const TrackerOptions& options);

}  // namespace mycelium
