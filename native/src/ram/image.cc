#include "ram/image.h"

#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ram/addon_data.h"
#include "ram/memory.h"
#include "ram/values.h"

namespace mycelium {

namespace {

// A larger buffer is not kept from one chunk to the next.
constexpr size_t kPayloadBytesKept = size_t{16} << 20;

constexpr const char* kClosed = "the image is closed";

// What a call leaves behind, told to the thread of the environment.
struct Outcome {
  size_t pages;
  size_t staged_pages;
  uint64_t root;
};

Napi::Value CountToJs(Napi::Env env, size_t count) {
  return Napi::Number::New(env, static_cast<double>(count));
}

Napi::Uint8Array ReadPayload(const Napi::Value& value) {
  const Napi::Uint8Array bytes = ReadBytes(value, "payload");
  if (bytes.ByteLength() > kChunkBytesMax) {
    throw Napi::RangeError::New(value.Env(), "payload must have at most " +
                                                 std::to_string(kChunkBytesMax) + " bytes, got " +
                                                 std::to_string(bytes.ByteLength()));
  }
  return bytes;
}

// One payload of a call of `fill`, in memory of JavaScript.
struct Filling {
  std::span<const uint8_t> payload;
  uint64_t checksum;
};

void RootToJs(Napi::Env env, Napi::Object& out, const Outcome& outcome) {
  out.Set("root", Napi::BigInt::New(env, outcome.root));
}

}  // namespace

ImageObject::ImageObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ImageObject>(info) {
  state_->memory = MemoryObject::Require(info[0], "memory").core();
  if (state_->memory->writable()) return;
  throw Napi::RangeError::New(info.Env(), "the memory of an image must be writable");
}

// On the pool: it hashes the memory.
Napi::Value ImageObject::Open(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (state_->memory == nullptr) return RejectedPromise(env, "ERR_RAM_CLOSED", kClosed);
  if (state_->core != nullptr) return RejectedPromise(env, "ERR_RAM_ORDER", "the image is open");
  return RunOnPool(
      env, {slot_}, [memory = state_->memory] { return std::make_shared<Image>(memory); },
      [state = state_](Napi::Env env, std::shared_ptr<Image> core) {
        state->root = core->root();
        if (state->memory != nullptr) state->core = std::move(core);
        return env.Undefined();
      });
}

std::pair<const char*, const char*> ImageObject::Absence() const {
  if (state_->memory == nullptr) return {"ERR_RAM_CLOSED", kClosed};
  return {"ERR_RAM_ORDER", "the image is not open"};
}

template <typename Work, typename Convert>
Napi::Value ImageObject::Run(Napi::Env env, Work work, Convert convert) {
  if (state_->core == nullptr) {
    const auto [code, text] = Absence();
    return RejectedPromise(env, code, text);
  }
  return RunOnPool(
      env, {slot_},
      [core = state_->core, work = std::move(work)]() mutable {
        const size_t pages = work(*core);
        return Outcome{pages, core->staged_pages(), core->root()};
      },
      [state = state_, convert = std::move(convert)](Napi::Env env, const Outcome& outcome) {
        state->root = outcome.root;
        state->staged_pages = outcome.staged_pages;
        Napi::Object out = Napi::Object::New(env);
        out.Set("pages", CountToJs(env, outcome.pages));
        convert(env, out, outcome);
        return out;
      });
}

Image& ImageObject::RequireIdle(Napi::Env env) const {
  if (slot_->busy() && state_->memory != nullptr) {
    throw CodedError(env, "ERR_RAM_BUSY", "another call on this object is at work");
  }
  if (state_->core == nullptr) {
    const auto [code, text] = Absence();
    throw CodedError(env, code, text);
  }
  return *state_->core;
}

Napi::Value ImageObject::Root(const Napi::CallbackInfo& info) {
  return Napi::BigInt::New(info.Env(), state_->root);
}

Napi::Value ImageObject::StagedPages(const Napi::CallbackInfo& info) {
  return CountToJs(info.Env(), state_->staged_pages);
}

std::shared_ptr<ImageObject::Payload> ImageObject::TakePayload(const Napi::Uint8Array& bytes) {
  if (slot_->busy()) return nullptr;  // the call will be refused
  if (payload_->capacity() > kPayloadBytesKept) *payload_ = Payload();
  payload_->assign(bytes.Data(), bytes.Data() + bytes.ByteLength());
  return payload_;
}

Napi::Value ImageObject::Stage(const Napi::CallbackInfo& info) {
  const Napi::Uint8Array bytes = ReadPayload(info[0]);
  const uint64_t checksum = ReadU64(info[1], "checksum");
  return Run(
      info.Env(),
      [payload = TakePayload(bytes), checksum](Image& core) {
        return core.Stage(*payload, checksum);
      },
      [](Napi::Env, Napi::Object&, const Outcome&) {});
}

Napi::Value ImageObject::Fill(const Napi::CallbackInfo& info) {
  std::vector<Filling> fillings;
  std::vector<Napi::Reference<Napi::Uint8Array>> owners;
  if (!info[0].IsArray()) throw Napi::TypeError::New(info.Env(), "chunks must be an array");
  const auto chunks = info[0].As<Napi::Array>();
  for (uint32_t index = 0; index < chunks.Length(); ++index) {
    const Napi::Value chunk = chunks.Get(index);
    if (!chunk.IsObject()) throw Napi::TypeError::New(info.Env(), "chunks must be objects");
    const Napi::Uint8Array bytes = ReadPayload(chunk.As<Napi::Object>().Get("payload"));
    const uint64_t checksum = ReadU64(chunk.As<Napi::Object>().Get("checksum"), "checksum");
    fillings.push_back({{bytes.Data(), bytes.ByteLength()}, checksum});
    owners.push_back(Napi::Persistent(bytes));
  }
  return Run(
      info.Env(),
      // SAFETY: addon.ts has the caller leave the memory where it is until the promise settles, and
      // until then `owners` keep it, which are let go on the thread of the environment. Should its
      // bytes change meanwhile, pages come out wrong, but the core reads each length only once.
      [fillings = std::move(fillings)](Image& core) {
        size_t pages = 0;
        for (const Filling& one : fillings) pages += core.Fill(one.payload, one.checksum);
        return pages;
      },
      [owners = std::move(owners)](Napi::Env env, Napi::Object& out, const Outcome& outcome) {
        RootToJs(env, out, outcome);
      });
}

Napi::Value ImageObject::Apply(const Napi::CallbackInfo& info) {
  std::optional<uint64_t> root;
  if (!info[0].IsUndefined()) root = ReadU64(info[0], "root");
  return Run(
      info.Env(), [root](Image& core) { return core.Apply(root); }, RootToJs);
}

void ImageObject::Discard(const Napi::CallbackInfo& info) {
  RequireIdle(info.Env()).Discard();
  state_->staged_pages = 0;
}

Napi::Value ImageObject::Hashes(const Napi::CallbackInfo& info) {
  return HashesToJs(info.Env(), RequireIdle(info.Env()).hashes());
}

void ImageObject::Close(const Napi::CallbackInfo& info) {
  if (state_->memory == nullptr) return;
  // On the pool: to unmap much memory takes milliseconds.
  RunOnPool(
      info.Env(), {},
      [core = std::exchange(state_->core, nullptr),
       memory = std::exchange(state_->memory, nullptr)] { return true; },
      [](Napi::Env env, bool) { return env.Undefined(); });
}

void InitImage(Napi::Env env, Napi::Object exports) {
  const Napi::Function constructor = ImageObject::DefineClass(
      env, "NativeImage",
      {
          ImageObject::InstanceMethod<&ImageObject::Open>("open"),
          ImageObject::InstanceAccessor<&ImageObject::Root>("root"),
          ImageObject::InstanceAccessor<&ImageObject::StagedPages>("stagedPages"),
          ImageObject::InstanceMethod<&ImageObject::Stage>("stage"),
          ImageObject::InstanceMethod<&ImageObject::Fill>("fill"),
          ImageObject::InstanceMethod<&ImageObject::Apply>("apply"),
          ImageObject::InstanceMethod<&ImageObject::Discard>("discard"),
          ImageObject::InstanceMethod<&ImageObject::Hashes>("hashes"),
          ImageObject::InstanceMethod<&ImageObject::Close>("close"),
      });
  env.GetInstanceData<AddonData>()->image = Napi::Persistent(constructor);
  exports.Set("createImage",
              Napi::Function::New(
                  env,
                  [](const Napi::CallbackInfo& info) {
                    return info.Env().GetInstanceData<AddonData>()->image.New({info[0]});
                  },
                  "createImage"));
}

}  // namespace mycelium
