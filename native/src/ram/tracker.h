// NativeTracker of packages/ram/src/addon.ts.
#pragma once

#include <napi.h>

#include <memory>

#include "core/tracker.h"
#include "ram/promise_worker.h"

namespace mycelium {

struct TrackerMade {
  TrackerReport report;
  std::shared_ptr<Memory> memory;
};

class TrackerObject : public Napi::ObjectWrap<TrackerObject> {
 public:
  // Only by openTracker: see AddonData::tracker_made.
  explicit TrackerObject(const Napi::CallbackInfo& info);

  // Throws Napi::TypeError, naming the argument, if `value` is something else.
  static const TrackerObject& Require(const Napi::Value& value, const char* name);

  // Throws Napi::Error (ERR_RAM_CLOSED).
  std::shared_ptr<DirtyTracker> core() const;
  // What it watches. Throws Napi::Error (ERR_RAM_CLOSED).
  std::shared_ptr<Memory> memory() const;
  // Held during every use of the core: it is not for two threads at once.
  const std::shared_ptr<CallSlot>& slot() const { return slot_; }

 private:
  friend void InitTracker(Napi::Env env, Napi::Object exports);

  Napi::Value Tier(const Napi::CallbackInfo& info);
  Napi::Value Rejected(const Napi::CallbackInfo& info);
  Napi::Value Scan(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);

  TrackerMade made_;  // its tracker and memory are none once closed
  TrackerTier tier_ = TrackerTier::kShadow;
  std::shared_ptr<CallSlot> slot_ = std::make_shared<CallSlot>();
};

// Adds openTracker.
void InitTracker(Napi::Env env, Napi::Object exports);

}  // namespace mycelium
