#include "ram/values.h"

#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

namespace mycelium {

namespace {

Napi::Value BytesToJs(Napi::Env env, const void* data, size_t bytes) {
  Napi::Uint8Array out = Napi::Uint8Array::New(env, bytes);
  if (bytes > 0) std::memcpy(out.Data(), data, bytes);
  return out;
}

[[noreturn]] void ThrowType(Napi::Env env, const char* name, const char* expected) {
  throw Napi::TypeError::New(env, std::string(name) + " must be " + expected);
}

}  // namespace

Napi::Uint8Array ReadBytes(const Napi::Value& value, const char* name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    ThrowType(value.Env(), name, "a Uint8Array");
  }
  return value.As<Napi::Uint8Array>();
}

uint64_t ReadU64(const Napi::Value& value, const char* name) {
  if (!value.IsBigInt()) ThrowType(value.Env(), name, "a bigint");
  bool is_lossless = false;
  const uint64_t number = value.As<Napi::BigInt>().Uint64Value(&is_lossless);
  if (!is_lossless) {
    throw Napi::RangeError::New(value.Env(), std::string(name) + " must be in 0 .. 2^64 - 1");
  }
  return number;
}

EncodeOptions ReadEncodeOptions(const Napi::Value& value) {
  const Napi::Env env = value.Env();
  if (!value.IsObject()) ThrowType(env, "options", "an object");
  const auto object = value.As<Napi::Object>();
  const Napi::Value lz4 = object.Get("lz4");
  const Napi::Value chunk_bytes_max = object.Get("chunkBytesMax");
  if (!lz4.IsBoolean()) ThrowType(env, "options.lz4", "a boolean");
  if (!chunk_bytes_max.IsNumber()) ThrowType(env, "options.chunkBytesMax", "a number");
  const double bytes = chunk_bytes_max.As<Napi::Number>().DoubleValue();
  if (!(bytes >= double{kChunkBytesMin} && bytes <= double{kChunkBytesMax}) ||
      bytes != std::floor(bytes)) {
    throw Napi::RangeError::New(env, "options.chunkBytesMax must be an integer in " +
                                         std::to_string(kChunkBytesMin) + " .. " +
                                         std::to_string(kChunkBytesMax) + ", got " +
                                         chunk_bytes_max.ToString().Utf8Value());
  }
  return {lz4.As<Napi::Boolean>().Value(), static_cast<size_t>(bytes)};
}

PageBitmap ReadPages(const Napi::Value& value, size_t pages, const char* name) {
  const Napi::Uint8Array bytes = ReadBytes(value, name);
  const size_t expected = (pages + 7) / 8;
  if (bytes.ByteLength() != expected) {
    throw Napi::RangeError::New(value.Env(), std::string(name) + " must have " +
                                                 std::to_string(expected) + " bytes, got " +
                                                 std::to_string(bytes.ByteLength()));
  }
  PageBitmap out(pages);
  if (expected == 0) return out;
  if (pages % 8 != 0 && bytes[expected - 1] >> (pages % 8) != 0) {
    throw Napi::RangeError::New(value.Env(), std::string(name) + " has a bit beyond the last page");
  }
  std::memcpy(out.words().data(), bytes.Data(), expected);
  return out;
}

Napi::Value PagesToJs(Napi::Env env, const PageBitmap& pages) {
  return BytesToJs(env, pages.words().data(), (pages.pages() + 7) / 8);
}

Napi::Value HashesToJs(Napi::Env env, std::span<const uint64_t> hashes) {
  return BytesToJs(env, hashes.data(), hashes.size_bytes());
}

Napi::Value CountsToJs(Napi::Env env, const EncodingCounts& counts) {
  const auto set = [env](Napi::Object& to, const char* name, uint64_t count) {
    to.Set(name, Napi::Number::New(env, static_cast<double>(count)));
  };
  Napi::Object bytes = Napi::Object::New(env);
  set(bytes, "zero", counts.bytes.zero);
  set(bytes, "words", counts.bytes.words);
  set(bytes, "raw", counts.bytes.raw);
  set(bytes, "lz4", counts.bytes.lz4);
  Napi::Object out = Napi::Object::New(env);
  set(out, "zero", counts.zero);
  set(out, "equal", counts.equal);
  set(out, "words", counts.words);
  set(out, "raw", counts.raw);
  set(out, "lz4", counts.lz4);
  out.Set("bytes", bytes);
  return out;
}

Napi::Value ChunkToJs(Napi::Env env, Chunk chunk) {
  // Node accounts for the bytes of an external buffer as for its own.
  auto owner = std::make_unique<ChunkBuffer>(std::move(chunk.data));
  const auto buffer = Napi::ArrayBuffer::New(
      env, owner->get(), chunk.bytes, [](Napi::Env, void*, ChunkBuffer* held) { delete held; },
      owner.get());
  static_cast<void>(owner.release());
  Napi::Object out = Napi::Object::New(env);
  out.Set("bytes", Napi::Uint8Array::New(env, chunk.bytes, buffer, 0));
  out.Set("pages", Napi::Number::New(env, static_cast<double>(chunk.pages)));
  out.Set("checksum", Napi::BigInt::New(env, chunk.checksum));
  return out;
}

Napi::Value ChunksToJs(Napi::Env env, std::vector<Chunk> chunks) {
  Napi::Array out = Napi::Array::New(env, chunks.size());
  for (size_t index = 0; index < chunks.size(); ++index) {
    out.Set(static_cast<uint32_t>(index), ChunkToJs(env, std::move(chunks[index])));
  }
  return out;
}

}  // namespace mycelium
