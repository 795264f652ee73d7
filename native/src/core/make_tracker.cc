// Chooses the best tier that serves here.
#include <array>
#include <cerrno>
#include <stdexcept>
#include <string>

#include "core/failure.h"
#include "core/tracker_tiers.h"

namespace mycelium {
namespace {

constexpr std::array kBestFirst = {TrackerTier::kAsync, TrackerTier::kSync, TrackerTier::kHash,
                                   TrackerTier::kShadow};

std::unique_ptr<DirtyTracker> TryTier(TrackerTier tier, const TrackerTarget& target,
                                      const TrackerFactory& make) {
  SelfTest(tier, make);
  return make(tier, target);
}

// These are no reason to be content with less: the caller named the wrong process, or it has gone.
bool IsWrongTarget(const std::system_error& error, const TrackerTarget& target) {
  if (target.process == nullptr) return false;
  target.process->CheckAlive();
  return dynamic_cast<const MappingMissing*>(&error) != nullptr;
}

void CheckOptions(const std::shared_ptr<Memory>& memory, const TrackerOptions& options) {
  if (memory == nullptr) throw std::invalid_argument("memory must be given");
  if (options.pid < 0) {
    throw std::invalid_argument("pid must be 0 or positive, got " + std::to_string(options.pid));
  }
  if (options.method != DescriptorMethod::kShim) return;
  if (options.pid == 0) throw std::invalid_argument("pid must be given with the shim, got 0");
  if (options.shim_socket < 0) {
    throw std::invalid_argument("shim_socket must be a descriptor, got " +
                                std::to_string(options.shim_socket));
  }
}

}  // namespace

const char* TierName(TrackerTier tier) {
  switch (tier) {
    case TrackerTier::kAsync:
      return "async";
    case TrackerTier::kSync:
      return "sync";
    case TrackerTier::kHash:
      return "hash";
    case TrackerTier::kShadow:
      return "shadow";
  }
  throw std::invalid_argument("tier must be one of the four");
}

std::unique_ptr<DirtyTracker> MakeTierTracker(TrackerTier tier, const TrackerTarget& target) {
  switch (tier) {
    case TrackerTier::kAsync:
      return MakeAsyncTracker(target);
    case TrackerTier::kSync:
      return MakeSyncTracker(target);
    case TrackerTier::kHash:
      return MakeHashTracker(target);
    case TrackerTier::kShadow:
      return MakeShadowTracker(target);
  }
  throw std::invalid_argument("tier must be one of the four");
}

TrackerReport MakeTracker(const std::shared_ptr<Memory>& memory, const TrackerOptions& options) {
  return ChooseTracker(memory, options, MakeTierTracker);
}

TrackerReport ChooseTracker(const std::shared_ptr<Memory>& memory, const TrackerOptions& options,
                            const TrackerFactory& make) {
  CheckOptions(memory, options);
  TrackerTarget target{memory, nullptr, options};
  if (options.pid != 0) target.process = std::make_shared<ProcessWatch>(options.pid);
  if (options.tier) return {TryTier(*options.tier, target, make), {}};
  TrackerReport report;
  for (const TrackerTier tier : kBestFirst) {
    try {
      report.tracker = TryTier(tier, target, make);
      return report;
    } catch (const std::system_error& error) {
      if (IsWrongTarget(error, target)) throw;
      report.rejected.push_back({tier, error.what()});
    }
  }
  throw SystemFailure(ENOTSUP, "self-test", "no tracker serves: " + report.rejected.back().reason);
}

}  // namespace mycelium
