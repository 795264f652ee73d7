// Work on a thread of libuv's pool, seen from JavaScript as a promise.
#pragma once

#include <napi.h>

#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "ram/js_error.h"

namespace mycelium {

// Held while a call on an object is at work: one call at a time. Only the thread of the
// environment touches it, so it needs no lock.
class CallSlot {
 public:
  bool busy() const { return busy_; }
  void Take() { busy_ = true; }
  void Release() { busy_ = false; }

 private:
  bool busy_ = false;
};

using CallSlots = std::vector<std::shared_ptr<CallSlot>>;

// Deletes itself after completion. Node waits for work at hand before it ends an environment, and
// then completes it with JavaScript forbidden: so nothing may throw out of Complete.
template <typename Work, typename Convert>
class PromiseWorker {
 public:
  using Result = std::invoke_result_t<Work&>;
  static_assert(!std::is_void_v<Result>, "give back something, true for example");

  static Napi::Promise Start(Napi::Env env, CallSlots slots, Work work, Convert convert) {
    const auto deferred = Napi::Promise::Deferred::New(env);
    auto worker = std::unique_ptr<PromiseWorker>(
        new PromiseWorker(env, deferred, std::move(slots), std::move(work), std::move(convert)));
    napi_status status =
        napi_create_async_work(env, nullptr, Napi::String::New(env, "mycelium-ram"), Execute,
                               Complete, worker.get(), &worker->handle_);
    if (status != napi_ok) throw Napi::Error::New(env);
    status = napi_queue_async_work(env, worker->handle_);
    if (status != napi_ok) throw Napi::Error::New(env);
    for (const auto& slot : worker->slots_) slot->Take();
    worker.release();  // Complete owns it now
    return deferred.Promise();
  }

  PromiseWorker(const PromiseWorker&) = delete;
  PromiseWorker& operator=(const PromiseWorker&) = delete;
  ~PromiseWorker() {
    if (handle_ != nullptr) napi_delete_async_work(env_, handle_);
  }

 private:
  PromiseWorker(Napi::Env env, Napi::Promise::Deferred deferred, CallSlots slots, Work work,
                Convert convert)
      : env_(env),
        deferred_(deferred),
        slots_(std::move(slots)),
        work_(std::move(work)),
        convert_(std::move(convert)) {}

  static void Execute(napi_env, void* data) {
    auto* self = static_cast<PromiseWorker*>(data);
    try {
      self->result_.emplace((*self->work_)());
    } catch (...) {
      self->failure_ = std::current_exception();
    }
    // Here and not on the thread of the environment: the last owner of a mapping may be in it.
    self->work_.reset();
  }

  static void Complete(napi_env env, napi_status status, void* data) {
    const std::unique_ptr<PromiseWorker> self(static_cast<PromiseWorker*>(data));
    for (const auto& slot : self->slots_) slot->Release();
    if (status == napi_cancelled) return;
    try {
      const Napi::HandleScope scope(env);
      self->Settle();
    } catch (...) {
      // The environment is ending: there is nobody left to tell.
    }
  }

  void Settle() {
    const Napi::Env env(env_);
    Napi::Value value;
    try {
      if (failure_) std::rethrow_exception(failure_);
      value = convert_(env, std::move(*result_));
    } catch (...) {
      deferred_.Reject(CurrentExceptionToJs(env).Value());
      return;
    }
    deferred_.Resolve(value);
  }

  napi_env env_;
  napi_async_work handle_ = nullptr;
  Napi::Promise::Deferred deferred_;
  CallSlots slots_;
  std::optional<Work> work_;
  Convert convert_;
  std::optional<Result> result_;
  std::exception_ptr failure_;
};

// Runs `work()` on the pool, then `convert(env, result)` on the thread of the environment, and
// resolves to what it gives. What either throws rejects the promise: see CurrentExceptionToJs.
// Rejects with ERR_RAM_BUSY at once if one of `slots` is held; holds them until the end.
// `work` must own (shared_ptr) all it touches: the objects of JavaScript may be closed or
// collected meanwhile. It is destroyed on the pool.
template <typename Work, typename Convert>
Napi::Promise RunOnPool(Napi::Env env, CallSlots slots, Work work, Convert convert) {
  for (const auto& slot : slots) {
    if (!slot->busy()) continue;
    const auto deferred = Napi::Promise::Deferred::New(env);
    deferred.Reject(
        CodedError(env, "ERR_RAM_BUSY", "another call on this object is at work").Value());
    return deferred.Promise();
  }
  return PromiseWorker<Work, Convert>::Start(env, std::move(slots), std::move(work),
                                             std::move(convert));
}

// A promise that is rejected with a code, for calls on a closed object.
inline Napi::Promise RejectedPromise(Napi::Env env, const char* code, const char* message) {
  const auto deferred = Napi::Promise::Deferred::New(env);
  deferred.Reject(CodedError(env, code, message).Value());
  return deferred.Promise();
}

}  // namespace mycelium
