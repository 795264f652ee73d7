// Registers the addon `ram`. The contract is packages/ram/src/addon.ts.
#include <napi.h>
#include <time.h>
#include <unistd.h>

#include "core/chunk_writer.h"
#include "core/page_bitmap.h"
#include "core/page_codec.h"
#include "core/page_hash.h"
#include "ram/addon_data.h"
#include "ram/image.h"
#include "ram/memory.h"
#include "ram/source.h"
#include "ram/tracker.h"
#include "ram/values.h"

namespace mycelium {
namespace {

Napi::Value BoottimeMs(const Napi::CallbackInfo& info) {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);  // cannot fail: every kernel that Node runs on has the clock
  return Napi::Number::New(
      info.Env(), static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6);
}

Napi::Value Hash64(const Napi::CallbackInfo& info) {
  const Napi::Uint8Array bytes = ReadBytes(info[0], "bytes");
  return Napi::BigInt::New(info.Env(), HashBytes({bytes.Data(), bytes.ByteLength()}));
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new AddonData());
  const auto set_number = [&](const char* name, size_t value) {
    exports.Set(name, Napi::Number::New(env, static_cast<double>(value)));
  };
  set_number("pageBytes", kPageBytes);
  set_number("hostPageBytes", static_cast<size_t>(sysconf(_SC_PAGESIZE)));
  set_number("chunkHeadBytes", kChunkHeadBytes);
  exports.Set("codecIsa", Napi::String::New(env, BestPageOps().isa));
  exports.Set("boottimeMs", Napi::Function::New<BoottimeMs>(env, "boottimeMs"));
  exports.Set("hash64", Napi::Function::New<Hash64>(env, "hash64"));
  InitMemory(env, exports);
  InitTracker(env, exports);
  InitSource(env, exports);
  InitImage(env, exports);
  return exports;
}

}  // namespace
}  // namespace mycelium

// The macro's names must be found outside of the namespace.
static Napi::Object InitRam(Napi::Env env, Napi::Object exports) {
  return mycelium::Init(env, exports);
}

NODE_API_MODULE(ram, InitRam)
