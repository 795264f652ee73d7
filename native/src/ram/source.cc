#include "ram/source.h"

#include <stdexcept>
#include <utility>

#include "ram/addon_data.h"
#include "ram/memory.h"
#include "ram/tracker.h"
#include "ram/values.h"

namespace mycelium {

namespace {

Napi::Value RootToJs(Napi::Env env, uint64_t root) { return Napi::BigInt::New(env, root); }

Napi::Value CountToJs(Napi::Env env, size_t count) {
  return Napi::Number::New(env, static_cast<double>(count));
}

}  // namespace

SourceObject::SourceObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<SourceObject>(info) {
  OrThrowJs(info.Env(), [&] {
    const MemoryObject& memory = MemoryObject::Require(info[0], "memory");
    const TrackerObject& tracker = TrackerObject::Require(info[1], "tracker");
    if (tracker.memory() != memory.core()) {
      throw std::invalid_argument("tracker must be one of the same memory");
    }
    tracker_slot_ = tracker.slot();
    state_->core = std::make_shared<Source>(memory.core(), tracker.core());
  });
}

// One call at a time, and none beside a call on the tracker: a capture scans with it.
template <typename Work, typename Convert>
Napi::Value SourceObject::Run(Napi::Env env, Work work, Convert convert) {
  if (state_->core == nullptr) {
    return RejectedPromise(env, "ERR_RAM_CLOSED", "the source is closed");
  }
  return RunOnPool(
      env, {slot_, tracker_slot_},
      [core = state_->core, work = std::move(work)]() mutable { return work(*core); },
      std::move(convert));
}

const Source& SourceObject::RequireIdle(Napi::Env env) const {
  if (state_->core == nullptr) throw CodedError(env, "ERR_RAM_CLOSED", "the source is closed");
  if (slot_->busy()) {
    throw CodedError(env, "ERR_RAM_BUSY", "another call on this object is at work");
  }
  return *state_->core;
}

Napi::Value SourceObject::Root(const Napi::CallbackInfo& info) {
  return RootToJs(info.Env(), state_->root);
}

Napi::Value SourceObject::Seed(const Napi::CallbackInfo& info) {
  return Run(
      info.Env(),
      [](Source& core) {
        const size_t pages = core.Seed();
        return std::pair(pages, core.root());
      },
      [state = state_](Napi::Env env, std::pair<size_t, uint64_t> result) {
        state->root = result.second;
        return CountToJs(env, result.first);
      });
}

Napi::Value SourceObject::Capture(const Napi::CallbackInfo& info) {
  return Run(
      info.Env(), [](Source& core) { return core.Capture(); }, CountToJs);
}

Napi::Value SourceObject::Encode(const Napi::CallbackInfo& info) {
  return Run(
      info.Env(),
      [options = ReadEncodeOptions(info[0])](Source& core) { return core.Encode(options); },
      [state = state_](Napi::Env env, Encoding encoding) {
        state->root = encoding.root;
        Napi::Object out = Napi::Object::New(env);
        out.Set("chunks", ChunksToJs(env, std::move(encoding.chunks)));
        out.Set("changed", PagesToJs(env, encoding.changed));
        out.Set("counts", CountsToJs(env, encoding.counts));
        out.Set("root", RootToJs(env, encoding.root));
        return out;
      });
}

Napi::Value SourceObject::EncodeShadow(const Napi::CallbackInfo& info) {
  if (state_->core == nullptr) {
    return RejectedPromise(info.Env(), "ERR_RAM_CLOSED", "the source is closed");
  }
  PageBitmap pages = ReadPages(info[0], state_->core->pages(), "pages");
  return Run(
      info.Env(),
      [pages = std::move(pages), options = ReadEncodeOptions(info[1])](Source& core) mutable {
        return core.EncodeShadow(std::move(pages), options);
      },
      [](Napi::Env env, ShadowEncoding encoding) {
        Napi::Object out = Napi::Object::New(env);
        if (encoding.chunk.has_value()) {
          out.Set("chunk", ChunkToJs(env, std::move(*encoding.chunk)));
        }
        out.Set("counts", CountsToJs(env, encoding.counts));
        out.Set("left", PagesToJs(env, encoding.left));
        return out;
      });
}

Napi::Value SourceObject::ShadowHashes(const Napi::CallbackInfo& info) {
  return HashesToJs(info.Env(), RequireIdle(info.Env()).hashes());
}

Napi::Value SourceObject::ShadowPages(const Napi::CallbackInfo& info) {
  return PagesToJs(info.Env(), RequireIdle(info.Env()).ShadowPages());
}

void SourceObject::Close(const Napi::CallbackInfo& info) {
  if (state_->core == nullptr) return;
  // On the pool: to unmap gigabytes takes tens of milliseconds.
  RunOnPool(
      info.Env(), {}, [core = std::exchange(state_->core, nullptr)] { return true; },
      [](Napi::Env env, bool) { return env.Undefined(); });
}

void InitSource(Napi::Env env, Napi::Object exports) {
  const Napi::Function constructor = SourceObject::DefineClass(
      env, "NativeSource",
      {
          SourceObject::InstanceAccessor<&SourceObject::Root>("root"),
          SourceObject::InstanceMethod<&SourceObject::Seed>("seed"),
          SourceObject::InstanceMethod<&SourceObject::Capture>("capture"),
          SourceObject::InstanceMethod<&SourceObject::Encode>("encode"),
          SourceObject::InstanceMethod<&SourceObject::EncodeShadow>("encodeShadow"),
          SourceObject::InstanceMethod<&SourceObject::ShadowHashes>("shadowHashes"),
          SourceObject::InstanceMethod<&SourceObject::ShadowPages>("shadowPages"),
          SourceObject::InstanceMethod<&SourceObject::Close>("close"),
      });
  env.GetInstanceData<AddonData>()->source = Napi::Persistent(constructor);
  exports.Set("createSource",
              Napi::Function::New(
                  env,
                  [](const Napi::CallbackInfo& info) {
                    return info.Env().GetInstanceData<AddonData>()->source.New({info[0], info[1]});
                  },
                  "createSource"));
}

}  // namespace mycelium
