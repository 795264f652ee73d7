// The four tiers, each on its own. MakeTracker chooses between them.
#pragma once

#include <memory>

#include "core/memory.h"
#include "core/process_watch.h"
#include "core/tracker.h"

namespace mycelium {

// What a tracker watches: writes by this process through the mapping of `memory`, or, if there is
// a `process`, by that one through its own mapping.
struct TrackerTarget {
  std::shared_ptr<Memory> memory;
  std::shared_ptr<const ProcessWatch> process;  // none: this process
  TrackerOptions options;
};

// Each throws std::system_error, saying why, if it cannot serve.
std::unique_ptr<DirtyTracker> MakeAsyncTracker(const TrackerTarget& target);
std::unique_ptr<DirtyTracker> MakeSyncTracker(const TrackerTarget& target);
std::unique_ptr<DirtyTracker> MakeHashTracker(const TrackerTarget& target);
std::unique_ptr<DirtyTracker> MakeShadowTracker(const TrackerTarget& target);

std::unique_ptr<DirtyTracker> MakeTierTracker(TrackerTier tier, const TrackerTarget& target);

const char* TierName(TrackerTier tier);

// Lets trackers of `tier` watch a small memory of our own, and throws std::system_error (ENOTSUP)
// if one misses a write, by user mode or by the kernel, or keeps reporting pages nobody wrote.
void SelfTest(TrackerTier tier);

}  // namespace mycelium
