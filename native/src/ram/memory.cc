#include "ram/memory.h"

#include <string>
#include <utility>
#include <vector>

#include "core/page_hash.h"
#include "ram/addon_data.h"
#include "ram/integers.h"
#include "ram/values.h"

namespace mycelium {

namespace {

constexpr napi_type_tag kTag = {0x6d7963656c69756d, 0x72616d2e6d656d31};

// Of the whole image, as it is now. Holes are not read: that would populate them.
std::vector<uint64_t> HashesOf(const Memory& memory) {
  PageBitmap populated(memory.pages());
  memory.PopulatedPages(populated);
  std::vector<uint64_t> hashes(memory.pages());
  populated.ForEach(
      [&](size_t page) { hashes[page] = HashPage(memory.data() + page * kPageBytes, page); });
  return hashes;
}

std::shared_ptr<Memory> MakeCore(const Napi::CallbackInfo& info) {
  return OrThrowJs(info.Env(), [&] {
    if (info.Length() < 3) {  // createMemory
      if (!info[1].IsString()) throw Napi::TypeError::New(info.Env(), "name must be a string");
      return Memory::Create(ReadSize(info[0], "bytes"), info[1].As<Napi::String>().Utf8Value());
    }
    if (!info[2].IsBoolean()) throw Napi::TypeError::New(info.Env(), "writable must be a boolean");
    return Memory::Adopt(ReadDescriptor(info[0], "fd"), ReadSize(info[1], "bytes"),
                         info[2].As<Napi::Boolean>().Value());
  });
}

}  // namespace

MemoryObject::MemoryObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<MemoryObject>(info), core_(MakeCore(info)), bytes_(core_->bytes()) {
  info.This().As<Napi::Object>().TypeTag(&kTag);
}

const MemoryObject& MemoryObject::Require(const Napi::Value& value, const char* name) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kTag)) {
    throw Napi::TypeError::New(value.Env(), std::string(name) + " must be a NativeMemory");
  }
  return *Unwrap(value.As<Napi::Object>());
}

std::shared_ptr<Memory> MemoryObject::core() const {
  if (core_ == nullptr) throw CodedError(Env(), "ERR_RAM_CLOSED", "the memory is closed");
  return core_;
}

Napi::Value MemoryObject::Bytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(bytes_));
}

Napi::Value MemoryObject::Fd(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), core()->fd());
}

Napi::Value MemoryObject::ArrayBuffer(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::shared_ptr<Memory> memory = core();
  if (!memory->writable()) {
    // A write through it would end the whole process.
    throw CodedError(env, "ERR_RAM_READ_ONLY", "the memory was adopted read-only");
  }
  if (!array_buffer_.IsEmpty()) return array_buffer_.Value();
  auto view = std::make_unique<View>(View{memory});
  const auto buffer = Napi::ArrayBuffer::New(
      env, memory->data(), memory->bytes(), [](Napi::Env, void*, View* gone) { delete gone; },
      view.get());
  view_ = view.release();
  array_buffer_ = Napi::Persistent(buffer);
  return buffer;
}

Napi::Value MemoryObject::HashPages(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (core_ == nullptr) return RejectedPromise(env, "ERR_RAM_CLOSED", "the memory is closed");
  return RunOnPool(
      env, {slot_}, [memory = core_] { return HashesOf(*memory); },
      [](Napi::Env env, const std::vector<uint64_t>& hashes) { return HashesToJs(env, hashes); });
}

void MemoryObject::Close(const Napi::CallbackInfo& info) {
  if (core_ == nullptr) return;
  std::vector<std::shared_ptr<Memory>> owners = {std::exchange(core_, nullptr)};
  if (!array_buffer_.IsEmpty()) {
    Napi::ArrayBuffer buffer = array_buffer_.Value();
    // Where a script has transferred it, the mapping lives on with what it was transferred to.
    if (!buffer.IsDetached()) {
      owners.push_back(std::exchange(view_->memory, nullptr));
      buffer.Detach();
    }
    view_ = nullptr;
    array_buffer_.Reset();
  }
  // On the pool: to unmap much memory takes milliseconds.
  RunOnPool(
      info.Env(), {}, [owners = std::move(owners)] { return true; },
      [](Napi::Env env, bool) { return env.Undefined(); });
}

void InitMemory(Napi::Env env, Napi::Object exports) {
  const Napi::Function constructor = MemoryObject::DefineClass(
      env, "NativeMemory",
      {
          MemoryObject::InstanceAccessor<&MemoryObject::Bytes>("bytes"),
          MemoryObject::InstanceAccessor<&MemoryObject::Fd>("fd"),
          MemoryObject::InstanceMethod<&MemoryObject::ArrayBuffer>("arrayBuffer"),
          MemoryObject::InstanceMethod<&MemoryObject::HashPages>("hashPages"),
          MemoryObject::InstanceMethod<&MemoryObject::Close>("close"),
      });
  env.GetInstanceData<AddonData>()->memory = Napi::Persistent(constructor);
  const auto create = [](const Napi::CallbackInfo& info) -> Napi::Value {
    return info.Env().GetInstanceData<AddonData>()->memory.New({info[0], info[1]});
  };
  const auto adopt = [](const Napi::CallbackInfo& info) -> Napi::Value {
    return info.Env().GetInstanceData<AddonData>()->memory.New({info[0], info[1], info[2]});
  };
  exports.Set("createMemory", Napi::Function::New(env, create, "createMemory"));
  exports.Set("adoptMemory", Napi::Function::New(env, adopt, "adoptMemory"));
}

}  // namespace mycelium
