// Turns what the core throws into errors of JavaScript.
#pragma once

#include <napi.h>

#include <cerrno>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "core/failure.h"

namespace mycelium {

// `EPERM` for EPERM. (strerrorname_np needs a newer libc than Node itself does.)
inline std::string ErrnoName(int error) {
  static constexpr std::pair<int, const char*> kNames[] = {
      {EPERM, "EPERM"},
      {ENOENT, "ENOENT"},
      {ESRCH, "ESRCH"},
      {EINTR, "EINTR"},
      {EIO, "EIO"},
      {ENXIO, "ENXIO"},
      {EBADF, "EBADF"},
      {ECHILD, "ECHILD"},
      {EAGAIN, "EAGAIN"},
      {ENOMEM, "ENOMEM"},
      {EACCES, "EACCES"},
      {EFAULT, "EFAULT"},
      {EBUSY, "EBUSY"},
      {EEXIST, "EEXIST"},
      {ENODEV, "ENODEV"},
      {EINVAL, "EINVAL"},
      {ENFILE, "ENFILE"},
      {EMFILE, "EMFILE"},
      {ENOTTY, "ENOTTY"},
      {EFBIG, "EFBIG"},
      {ENOSPC, "ENOSPC"},
      {ESPIPE, "ESPIPE"},
      {EROFS, "EROFS"},
      {EPIPE, "EPIPE"},
      {EDOM, "EDOM"},
      {ERANGE, "ERANGE"},
      {ENOSYS, "ENOSYS"},
      {ENOTSUP, "ENOTSUP"},
      {EPROTO, "EPROTO"},
      {EBADMSG, "EBADMSG"},
      {EOVERFLOW, "EOVERFLOW"},
      {ETIMEDOUT, "ETIMEDOUT"},
      {ECONNRESET, "ECONNRESET"},
      {ENOTSOCK, "ENOTSOCK"},
      {ENOTCONN, "ENOTCONN"},
  };
  for (const auto& [value, name] : kNames) {
    if (value == error) return name;
  }
  return "E" + std::to_string(error);
}

inline Napi::Error CodedError(Napi::Env env, const std::string& code, const std::string& message) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, code));
  return error;
}

// Call it inside a catch block. std::invalid_argument becomes a RangeError, for types are checked
// before the core sees a value; an error of the system carries `code`, `errno` and `syscall`.
inline Napi::Error CurrentExceptionToJs(Napi::Env env) {
  try {
    throw;
  } catch (const Napi::Error& error) {
    return error;
  } catch (const CodedFailure& error) {
    return CodedError(env, error.code(), error.what());
  } catch (const std::system_error& error) {
    const std::string name = ErrnoName(error.code().value());
    Napi::Error thrown = CodedError(env, name, name + ": " + error.what());
    thrown.Set("errno", Napi::Number::New(env, error.code().value()));
    const auto* failure = dynamic_cast<const SystemFailure*>(&error);
    if (failure != nullptr) thrown.Set("syscall", Napi::String::New(env, failure->syscall()));
    return thrown;
  } catch (const std::invalid_argument& error) {
    return Napi::RangeError::New(env, error.what());
  } catch (const std::bad_alloc&) {
    return CodedError(env, "ENOMEM", "ENOMEM: not enough memory");
  } catch (const std::exception& error) {
    return Napi::Error::New(env, error.what());
  } catch (...) {
    return Napi::Error::New(env, "unknown native failure");
  }
}

// Runs `body`, for synchronous functions: what it throws arrives in JavaScript.
template <typename F>
auto OrThrowJs(Napi::Env env, F&& body) {
  try {
    return body();
  } catch (...) {
    throw CurrentExceptionToJs(env);
  }
}

}  // namespace mycelium
