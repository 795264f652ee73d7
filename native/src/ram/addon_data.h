// What the addon keeps for each environment (main thread or worker): nothing is static.
#pragma once

#include <napi.h>

namespace mycelium {

struct TrackerMade;

struct AddonData {
  Napi::FunctionReference memory;
  Napi::FunctionReference tracker;
  Napi::FunctionReference source;
  Napi::FunctionReference image;
  // What the constructor of NativeTracker is to take, set only while openTracker calls it: scripts
  // cannot construct one.
  TrackerMade* tracker_made = nullptr;
};

}  // namespace mycelium
