// NativeSource of packages/ram/src/addon.ts.
#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>

#include "core/source.h"
#include "ram/promise_worker.h"

namespace mycelium {

class SourceObject : public Napi::ObjectWrap<SourceObject> {
 public:
  // createSource(memory, tracker)
  explicit SourceObject(const Napi::CallbackInfo& info);

 private:
  // Shared with the work on the pool, which may outlive this object. Only the thread of the
  // environment touches what lies here directly.
  struct State {
    std::shared_ptr<Source> core;  // none once closed
    uint64_t root = 0;
  };

  friend void InitSource(Napi::Env env, Napi::Object exports);

  template <typename Work, typename Convert>
  Napi::Value Run(Napi::Env env, Work work, Convert convert);
  const Source& RequireIdle(Napi::Env env) const;

  Napi::Value Root(const Napi::CallbackInfo& info);
  Napi::Value Seed(const Napi::CallbackInfo& info);
  Napi::Value Capture(const Napi::CallbackInfo& info);
  Napi::Value Encode(const Napi::CallbackInfo& info);
  Napi::Value EncodeShadow(const Napi::CallbackInfo& info);
  Napi::Value ShadowHashes(const Napi::CallbackInfo& info);
  Napi::Value ShadowPages(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);

  std::shared_ptr<State> state_ = std::make_shared<State>();
  std::shared_ptr<CallSlot> slot_ = std::make_shared<CallSlot>();
  std::shared_ptr<CallSlot> tracker_slot_;
};

// Adds createSource.
void InitSource(Napi::Env env, Napi::Object exports);

}  // namespace mycelium
