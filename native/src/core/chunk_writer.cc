#include "core/chunk_writer.h"

#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "core/page_hash.h"

namespace mycelium {

ChunkWriter::ChunkWriter(const EncodeOptions& options, std::shared_ptr<ChunkPool> pool)
    : options_(options), pool_(std::move(pool)) {
  if (options.chunk_bytes_max < kChunkBytesMin || options.chunk_bytes_max > kChunkBytesMax) {
    throw std::out_of_range("bound on a chunk: " + std::to_string(options.chunk_bytes_max));
  }
  if (options.lz4) compressor_.emplace();
}

void ChunkWriter::MakeRoom() {
  if (IsFull()) Flush();
  if (data_ != nullptr) return;
  data_ = pool_->Take(options_.chunk_bytes_max);
  capacity_ = options_.chunk_bytes_max;
  std::memset(data_.get(), 0, kChunkHeadBytes);
  at_ = kChunkHeadBytes;
  pages_ = 0;
  zero_run_at_ = 0;
}

void ChunkWriter::PutHead(RecordKind kind, size_t page) {
  const uint32_t head = static_cast<uint32_t>(kind) | static_cast<uint32_t>(page) << 3;
  std::memcpy(data_.get() + at_, &head, sizeof head);
  at_ += sizeof head;
  ++pages_;
  zero_run_at_ = 0;
}

void ChunkWriter::AddZero(size_t page) {
  ++counts_.zero;
  if (zero_run_at_ != 0 && page == zero_run_next_) {
    uint32_t count;
    std::memcpy(&count, data_.get() + zero_run_at_, sizeof count);
    ++count;
    std::memcpy(data_.get() + zero_run_at_, &count, sizeof count);
    ++pages_;
  } else {
    MakeRoom();
    PutHead(RecordKind::kZero, page);
    const uint32_t count = 1;
    std::memcpy(data_.get() + at_, &count, sizeof count);
    zero_run_at_ = at_;
    at_ += sizeof count;
    counts_.bytes.zero += kRecordHeadBytes + sizeof count;
  }
  zero_run_next_ = page + 1;
}

void ChunkWriter::AddComplete(size_t page, const uint8_t* content) {
  MakeRoom();
  uint8_t* const body = data_.get() + at_ + kRecordHeadBytes;
  if (compressor_.has_value()) {
    const size_t bytes = compressor_->Compress(content, body + sizeof(uint16_t));
    if (bytes > 0) {
      PutHead(RecordKind::kLz4, page);
      const uint16_t size = static_cast<uint16_t>(bytes);
      std::memcpy(body, &size, sizeof size);
      at_ += sizeof size + bytes;
      ++counts_.lz4;
      counts_.bytes.lz4 += kRecordHeadBytes + sizeof size + bytes;
      return;
    }
  }
  PutHead(RecordKind::kRaw, page);
  std::memcpy(body, content, kPageBytes);
  at_ += kPageBytes;
  ++counts_.raw;
  counts_.bytes.raw += kRecordHeadBytes + kPageBytes;
}

RecordKind ChunkWriter::AddChanged(size_t page, const uint8_t* content, const uint8_t* base,
                                   const uint8_t*& body) {
  static_assert(kRecordHeadBytes + kWordsRoomBytes <= kRoomBytes);
  MakeRoom();
  uint8_t* const out = data_.get() + at_ + kRecordHeadBytes;
  const size_t bytes = ops_.difference(content, base, out);
  if (bytes == 0) {
    ++counts_.equal;
    return RecordKind::kZero;
  }
  if (bytes < kWordsBytesEnd) {
    PutHead(RecordKind::kWords, page);
    at_ += bytes;
    ++counts_.words;
    counts_.bytes.words += kRecordHeadBytes + bytes;
    body = out;
    return RecordKind::kWords;
  }
  const uint64_t lz4_before = counts_.lz4;
  AddComplete(page, content);
  return counts_.lz4 > lz4_before ? RecordKind::kLz4 : RecordKind::kRaw;
}

void ChunkWriter::Flush() {
  if (data_ != nullptr && pages_ > 0) Finish();
  data_.reset();
  zero_run_at_ = 0;
}

void ChunkWriter::Finish() {
  Chunk chunk;
  chunk.bytes = at_;
  chunk.pages = pages_;
  chunk.checksum = HashBytes({data_.get() + kChunkHeadBytes, at_ - kChunkHeadBytes});
  if (at_ <= capacity_ / 2) {
    // A copy of the right size, or a few records would hold on to a large buffer.
    chunk.data.reset(static_cast<uint8_t*>(std::malloc(at_)));
    if (chunk.data == nullptr) throw std::bad_alloc();
    std::memcpy(chunk.data.get(), data_.get(), at_);
  } else {
    chunk.data = std::move(data_);
  }
  chunks_.push_back(std::move(chunk));
}

}  // namespace mycelium
