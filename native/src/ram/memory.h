// NativeMemory of packages/ram/src/addon.ts.
#pragma once

#include <napi.h>

#include <memory>

#include "core/memory.h"
#include "ram/promise_worker.h"

namespace mycelium {

class MemoryObject : public Napi::ObjectWrap<MemoryObject> {
 public:
  // createMemory(bytes, name), adoptMemory(fd, bytes, writable)
  explicit MemoryObject(const Napi::CallbackInfo& info);

  // Throws Napi::TypeError, naming the argument, if `value` is something else.
  static const MemoryObject& Require(const Napi::Value& value, const char* name);

  // Throws Napi::Error (ERR_RAM_CLOSED).
  std::shared_ptr<Memory> core() const;

 private:
  // Keeps the mapping while the array buffer over it lives. Belongs to the array buffer.
  struct View {
    std::shared_ptr<Memory> memory;
  };

  friend void InitMemory(Napi::Env env, Napi::Object exports);

  Napi::Value Bytes(const Napi::CallbackInfo& info);
  Napi::Value Fd(const Napi::CallbackInfo& info);
  Napi::Value ArrayBuffer(const Napi::CallbackInfo& info);
  Napi::Value HashPages(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);

  std::shared_ptr<Memory> core_;  // none once closed
  size_t bytes_ = 0;
  std::shared_ptr<CallSlot> slot_ = std::make_shared<CallSlot>();
  Napi::Reference<Napi::ArrayBuffer> array_buffer_;  // empty until it is asked for
  View* view_ = nullptr;                             // of array_buffer_
};

// Adds createMemory and adoptMemory.
void InitMemory(Napi::Env env, Napi::Object exports);

}  // namespace mycelium
