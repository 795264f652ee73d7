// NativeImage of packages/ram/src/addon.ts.
#pragma once

#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/image.h"
#include "ram/promise_worker.h"

namespace mycelium {

class ImageObject : public Napi::ObjectWrap<ImageObject> {
 public:
  // createImage(memory)
  explicit ImageObject(const Napi::CallbackInfo& info);

 private:
  // Shared with the work on the pool, which may outlive this object. Only the thread of the
  // environment touches what lies here directly.
  struct State {
    std::shared_ptr<Memory> memory;  // none once closed
    std::shared_ptr<Image> core;     // none before it is open, and once closed
    uint64_t root = 0;
    size_t staged_pages = 0;
  };
  // What `stage` copies to, used again: fresh memory costs more than the copy. Belongs to the call
  // at work while there is one.
  using Payload = std::vector<uint8_t>;
  std::shared_ptr<Payload> TakePayload(const Napi::Uint8Array& bytes);

  friend void InitImage(Napi::Env env, Napi::Object exports);

  template <typename Work, typename Convert>
  Napi::Value Run(Napi::Env env, Work work, Convert convert);
  // What is wrong if there is no core: a code and a text.
  std::pair<const char*, const char*> Absence() const;
  Image& RequireIdle(Napi::Env env) const;

  Napi::Value Open(const Napi::CallbackInfo& info);
  Napi::Value Root(const Napi::CallbackInfo& info);
  Napi::Value StagedPages(const Napi::CallbackInfo& info);
  Napi::Value Stage(const Napi::CallbackInfo& info);
  Napi::Value Fill(const Napi::CallbackInfo& info);
  Napi::Value Apply(const Napi::CallbackInfo& info);
  void Discard(const Napi::CallbackInfo& info);
  Napi::Value Hashes(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);

  std::shared_ptr<State> state_ = std::make_shared<State>();
  std::shared_ptr<CallSlot> slot_ = std::make_shared<CallSlot>();
  std::shared_ptr<Payload> payload_ = std::make_shared<Payload>();
};

// Adds createImage.
void InitImage(Napi::Env env, Napi::Object exports);

}  // namespace mycelium
