#include "ram/tracker.h"

#include <fcntl.h>

#include <array>
#include <optional>
#include <string>
#include <utility>

#include "core/failure.h"
#include "core/tracker_tiers.h"
#include "core/unique_fd.h"
#include "ram/addon_data.h"
#include "ram/integers.h"
#include "ram/memory.h"
#include "ram/values.h"

namespace mycelium {

namespace {

constexpr napi_type_tag kTag = {0x6d7963656c69756d, 0x72616d2e74726b31};

constexpr std::array kTiers = {TrackerTier::kAsync, TrackerTier::kSync, TrackerTier::kHash,
                               TrackerTier::kShadow};

[[noreturn]] void ThrowChoice(const Napi::Value& value, const char* name, const char* choices) {
  throw Napi::TypeError::New(value.Env(), std::string(name) + " must be " + choices + ", got " +
                                              value.ToString().Utf8Value());
}

std::string ReadString(const Napi::Value& value) {
  return value.IsString() ? value.As<Napi::String>().Utf8Value() : std::string();
}

std::optional<TrackerTier> ReadTier(const Napi::Value& value) {
  if (value.IsUndefined()) return std::nullopt;
  const std::string name = ReadString(value);
  for (const TrackerTier tier : kTiers) {
    if (name == TierName(tier)) return tier;
  }
  ThrowChoice(value, "options.tier", "'async', 'sync', 'hash' or 'shadow'");
}

DescriptorMethod ReadMethod(const Napi::Value& value) {
  if (value.IsUndefined()) return DescriptorMethod::kInject;
  const std::string name = ReadString(value);
  if (name == "inject") return DescriptorMethod::kInject;
  if (name == "shim") return DescriptorMethod::kShim;
  ThrowChoice(value, "options.method", "'inject' or 'shim'");
}

TrackerOptions ReadOptions(const Napi::Value& value) {
  if (!value.IsObject()) throw Napi::TypeError::New(value.Env(), "options must be an object");
  const auto object = value.As<Napi::Object>();
  TrackerOptions options;
  options.tier = ReadTier(object.Get("tier"));
  options.method = ReadMethod(object.Get("method"));
  const Napi::Value pid = object.Get("pid");
  if (!pid.IsUndefined()) options.pid = ReadPid(pid, "options.pid");
  const Napi::Value socket = object.Get("shimSocketFd");
  if (!socket.IsUndefined()) {
    options.shim_socket = ReadDescriptor(socket, "options.shimSocketFd");
  }
  if (options.method == DescriptorMethod::kShim && (pid.IsUndefined() || socket.IsUndefined())) {
    throw Napi::TypeError::New(value.Env(),
                               "options.pid and options.shimSocketFd must be given with the shim");
  }
  return options;
}

Napi::Value OpenTracker(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::shared_ptr<Memory> memory = MemoryObject::Require(info[0], "memory").core();
  TrackerOptions options = ReadOptions(info[1]);
  // Its own descriptor: the caller may close the socket at any moment.
  auto socket = std::make_shared<UniqueFd>();
  if (options.shim_socket >= 0) {
    socket->reset(fcntl(options.shim_socket, F_DUPFD_CLOEXEC, 0));
    if (!socket->valid()) OrThrowJs(env, [] { ThrowErrno("fcntl", "options.shimSocketFd"); });
    options.shim_socket = socket->get();
  }
  return RunOnPool(
      env, {},
      [memory = std::move(memory), options, socket = std::move(socket)] {
        return TrackerMade{MakeTracker(memory, options), memory};
      },
      [](Napi::Env env, TrackerMade made) -> Napi::Value {
        auto* data = env.GetInstanceData<AddonData>();
        data->tracker_made = &made;
        return data->tracker.New({});
      });
}

}  // namespace

TrackerObject::TrackerObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<TrackerObject>(info) {
  TrackerMade* made = std::exchange(info.Env().GetInstanceData<AddonData>()->tracker_made, nullptr);
  if (made == nullptr) throw Napi::TypeError::New(info.Env(), "openTracker makes trackers");
  made_ = std::move(*made);
  tier_ = made_.report.tracker->tier();
  info.This().As<Napi::Object>().TypeTag(&kTag);
}

const TrackerObject& TrackerObject::Require(const Napi::Value& value, const char* name) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kTag)) {
    throw Napi::TypeError::New(value.Env(), std::string(name) + " must be a NativeTracker");
  }
  return *Unwrap(value.As<Napi::Object>());
}

std::shared_ptr<DirtyTracker> TrackerObject::core() const {
  if (made_.report.tracker == nullptr) {
    throw CodedError(Env(), "ERR_RAM_CLOSED", "the tracker is closed");
  }
  return made_.report.tracker;
}

std::shared_ptr<Memory> TrackerObject::memory() const {
  core();
  return made_.memory;
}

Napi::Value TrackerObject::Tier(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), TierName(tier_));
}

Napi::Value TrackerObject::Rejected(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Napi::Array out = Napi::Array::New(env, made_.report.rejected.size());
  uint32_t index = 0;
  for (const TrackerRejection& rejection : made_.report.rejected) {
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("tier", Napi::String::New(env, TierName(rejection.tier)));
    entry.Set("reason", Napi::String::New(env, rejection.reason));
    out.Set(index++, entry);
  }
  return out;
}

Napi::Value TrackerObject::Scan(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (made_.report.tracker == nullptr) {
    return RejectedPromise(env, "ERR_RAM_CLOSED", "the tracker is closed");
  }
  return RunOnPool(
      env, {slot_},
      [tracker = made_.report.tracker, pages = made_.memory->pages()] {
        PageBitmap found(pages);
        tracker->Scan(found);
        return found;
      },
      [](Napi::Env env, const PageBitmap& found) { return PagesToJs(env, found); });
}

void TrackerObject::Close(const Napi::CallbackInfo& info) {
  if (made_.report.tracker == nullptr) return;
  // On the pool: it may wait for a thread, and free a copy of the memory.
  RunOnPool(
      info.Env(), {},
      [tracker = std::exchange(made_.report.tracker, nullptr),
       memory = std::exchange(made_.memory, nullptr)] { return true; },
      [](Napi::Env env, bool) { return env.Undefined(); });
}

void InitTracker(Napi::Env env, Napi::Object exports) {
  const Napi::Function constructor = TrackerObject::DefineClass(
      env, "NativeTracker",
      {
          TrackerObject::InstanceAccessor<&TrackerObject::Tier>("tier"),
          TrackerObject::InstanceAccessor<&TrackerObject::Rejected>("rejected"),
          TrackerObject::InstanceMethod<&TrackerObject::Scan>("scan"),
          TrackerObject::InstanceMethod<&TrackerObject::Close>("close"),
      });
  env.GetInstanceData<AddonData>()->tracker = Napi::Persistent(constructor);
  exports.Set("openTracker", Napi::Function::New<OpenTracker>(env, "openTracker"));
}

}  // namespace mycelium
