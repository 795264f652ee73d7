// Integers from JavaScript, with checks. Each throws Napi::TypeError or Napi::RangeError that
// begins with the name of the argument.
#pragma once

#include <napi.h>
#include <sys/types.h>

#include <cmath>
#include <cstddef>
#include <limits>
#include <string>

namespace mycelium {

inline double ReadInteger(const Napi::Value& value, const char* name, double least, double most) {
  if (!value.IsNumber()) {
    throw Napi::TypeError::New(value.Env(), std::string(name) + " must be a number");
  }
  const double number = value.As<Napi::Number>().DoubleValue();
  if (number >= least && number <= most && number == std::floor(number)) return number;
  throw Napi::RangeError::New(value.Env(), std::string(name) + " must be an integer of at least " +
                                               std::to_string(static_cast<long>(least)) + ", got " +
                                               value.ToString().Utf8Value());
}

// Bytes of a memory; whether they are whole pages is checked by the core.
inline size_t ReadSize(const Napi::Value& value, const char* name) {
  constexpr double kSafeIntegerMax = 9007199254740991.0;
  return static_cast<size_t>(ReadInteger(value, name, 1, kSafeIntegerMax));
}

inline int ReadDescriptor(const Napi::Value& value, const char* name) {
  return static_cast<int>(ReadInteger(value, name, 0, std::numeric_limits<int>::max()));
}

inline pid_t ReadPid(const Napi::Value& value, const char* name) {
  return static_cast<pid_t>(ReadInteger(value, name, 1, std::numeric_limits<pid_t>::max()));
}

}  // namespace mycelium
