// Packs page records into chunks: buffers with room for a header, of bounded size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "core/chunk_pool.h"
#include "core/page_codec.h"

namespace mycelium {

// Room at the start of each chunk for the header of whoever sends it.
inline constexpr size_t kChunkHeadBytes = 64;
// Room for the head and the largest record, and some.
inline constexpr size_t kChunkBytesMin = 8192;
// Bound on what one chunk may be asked to be: payload sizes stay far inside of 32 bits.
inline constexpr size_t kChunkBytesMax = size_t{1} << 30;

struct Chunk {
  ChunkBuffer data;
  size_t bytes = 0;  // kChunkHeadBytes of zeroes, then the payload
  size_t pages = 0;
  uint64_t checksum = 0;  // HashBytes of the payload
};

// By kind of record.
struct EncodedBytes {
  uint64_t zero = 0;
  uint64_t words = 0;
  uint64_t raw = 0;
  uint64_t lz4 = 0;
};

struct EncodingCounts {
  // Pages.
  uint64_t zero = 0;
  uint64_t equal = 0;  // no record
  uint64_t words = 0;
  uint64_t raw = 0;
  uint64_t lz4 = 0;
  // Of their records, heads included: the payloads of all chunks consist of these.
  EncodedBytes bytes;
};

struct EncodeOptions {
  bool lz4 = false;
  size_t chunk_bytes_max = size_t{1} << 20;
};

class ChunkWriter {
 public:
  // Throws std::out_of_range if the bound is outside of kChunkBytesMin .. kChunkBytesMax.
  ChunkWriter(const EncodeOptions& options, std::shared_ptr<ChunkPool> pool);

  // Pages must come in ascending order. All throw std::bad_alloc.
  void AddZero(size_t page);
  // `content` is not zero. As lz4 if that is wanted and worth it.
  void AddComplete(size_t page, const uint8_t* content);
  // `words` while short enough, otherwise complete. Returns kWords, kRaw or kLz4, or kZero for:
  // the pages are equal, nothing was written. `body` is then, for kWords, what was written.
  RecordKind AddChanged(size_t page, const uint8_t* content, const uint8_t* base,
                        const uint8_t*& body);

  // Whether the next record might not fit the current chunk.
  bool IsFull() const { return data_ != nullptr && capacity_ - at_ < kRoomBytes; }
  const EncodingCounts& counts() const { return counts_; }
  EncodingCounts& counts() { return counts_; }
  // Ends the current chunk, if any. Throws std::bad_alloc.
  void Flush();
  std::vector<Chunk> TakeChunks() { return std::move(chunks_); }

 private:
  // What the largest record needs, the size of an lz4 block included.
  static constexpr size_t kRoomBytes = kRecordBytesMax + sizeof(uint16_t);

  void MakeRoom();
  void Finish();
  void PutHead(RecordKind kind, size_t page);

  EncodeOptions options_;
  std::shared_ptr<ChunkPool> pool_;
  std::optional<PageCompressor> compressor_;
  const PageOps& ops_ = BestPageOps();
  ChunkBuffer data_;
  size_t capacity_ = 0;
  size_t at_ = 0;
  size_t pages_ = 0;
  size_t zero_run_at_ = 0;    // offset of the count of the last record if it is a zero run, or 0
  size_t zero_run_next_ = 0;  // the page that would continue it
  EncodingCounts counts_;
  std::vector<Chunk> chunks_;
};

}  // namespace mycelium
