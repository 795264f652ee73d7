// What the addon keeps for each environment (main thread or worker): nothing is static.
#pragma once

#include <napi.h>

namespace mycelium {

struct AddonData {
  Napi::FunctionReference memory;
  Napi::FunctionReference tracker;
  Napi::FunctionReference source;
  Napi::FunctionReference image;
};

}  // namespace mycelium
