// Between values of JavaScript and of the core, with checks.
#pragma once

#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/chunk_writer.h"
#include "core/page_bitmap.h"

namespace mycelium {

// All Read* functions throw Napi::TypeError or Napi::RangeError, with the name of the argument.

Napi::Uint8Array ReadBytes(const Napi::Value& value, const char* name);
// A bigint in 0 .. 2^64 - 1.
uint64_t ReadU64(const Napi::Value& value, const char* name);
// { lz4, chunkBytesMax }
EncodeOptions ReadEncodeOptions(const Napi::Value& value);
// One bit per page: exactly as many bytes as `pages` needs, no bit beyond.
PageBitmap ReadPages(const Napi::Value& value, size_t pages, const char* name);

Napi::Value PagesToJs(Napi::Env env, const PageBitmap& pages);
Napi::Value HashesToJs(Napi::Env env, std::span<const uint64_t> hashes);
Napi::Value CountsToJs(Napi::Env env, const EncodingCounts& counts);
// The bytes are not copied: JavaScript owns them from now on.
Napi::Value ChunkToJs(Napi::Env env, Chunk chunk);
Napi::Value ChunksToJs(Napi::Env env, std::vector<Chunk> chunks);

}  // namespace mycelium
