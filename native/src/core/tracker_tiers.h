// The four tiers, each on its own. MakeTracker chooses between them.
#pragma once

#include <functional>
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

// Something that makes trackers as MakeTierTracker does: tests put in others.
using TrackerFactory =
    std::function<std::unique_ptr<DirtyTracker>(TrackerTier, const TrackerTarget&)>;

const char* TierName(TrackerTier tier);

// Lets a tracker of `tier` watch a small memory of our own, and throws std::system_error (ENOTSUP)
// if it misses a write, by user mode or by the kernel, or keeps reporting pages nobody wrote.
void SelfTest(TrackerTier tier, const TrackerFactory& make = MakeTierTracker);

// MakeTracker with trackers of `make`.
TrackerReport ChooseTracker(const std::shared_ptr<Memory>& memory, const TrackerOptions& options,
                            const TrackerFactory& make);

}  // namespace mycelium
