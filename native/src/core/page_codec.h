// Pages as records of a chunk, and the loops over page bytes that need speed.
//
// FORMAT. The payload of a chunk is a sequence of one or more records without padding. Integers are
// little-endian. A record begins with a head of 4 bytes: bits 0-2 are the kind, bits 3-31 the
// number of a page of 4,096 bytes. Then follows, by kind:
//
//   0 zero   u32 count: pages number .. number + count - 1 are zeroes
//   1 raw    the 4,096 bytes of the page
//   2 words  the words of 8 bytes in which the page differs from what the receiver has:
//              u64 block mask: bit i stands for the 64 bytes from 64 i on; not 0
//              for each set bit, ascending:
//                u8 word mask: bit j stands for the 8 bytes from 8 j on of that block; not 0
//                for each set bit, ascending: the new 8 bytes
//            shorter than 2,048 bytes from the block mask on
//   3 lz4    u16 size (1 .. 3,584), then an LZ4 block of so many bytes that gives the page
//
// Page numbers ascend strictly within a payload; a zero record counts with its last page. So each
// page stands at most once, and records do not depend on each other. Kinds 4-7 do not exist.
// `words` is meant for what the receiver has after the chunks staged before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/failure.h"
#include "core/page_bitmap.h"

namespace mycelium {

enum class RecordKind : uint8_t { kZero = 0, kRaw = 1, kWords = 2, kLz4 = 3 };

inline constexpr size_t kRecordHeadBytes = 4;
// Page numbers have 29 bits: 2 TiB.
inline constexpr size_t kPagesMax = size_t{1} << 29;
// A difference is as long as this bound or longer: the page goes complete. Half a page: beyond it
// the sender's work per byte saved, and the receiver's, exceeds what copying costs.
inline constexpr size_t kWordsBytesEnd = 2048;
// Room that a difference may touch, whatever it comes to: the last block before the bound is
// written in full, by stores of up to 32 bytes.
inline constexpr size_t kWordsRoomBytes = kWordsBytesEnd + 128;
// An lz4 record must save at least 1/8 of a page, or it is not worth the receiver's time.
inline constexpr size_t kLz4BytesMax = kPageBytes - kPageBytes / 8;
inline constexpr size_t kRecordBytesMax = kRecordHeadBytes + kPageBytes;

// Loops over a page. All variants give the same results, to the bit.
struct PageOps {
  const char* isa;  // `avx2`, `neon` or `portable`
  bool (*is_zero)(const uint8_t* page);
  bool (*equal)(const uint8_t* page, const uint8_t* base);
  // Writes the body of a `words` record to `out` (kWordsRoomBytes). Returns its size, 0 for equal
  // pages, kWordsBytesEnd if it would not be shorter than that (then `out` holds nothing of use).
  size_t (*difference)(const uint8_t* page, const uint8_t* base, uint8_t* out);
};

// The fastest that this machine can run.
const PageOps& BestPageOps();
// All that this machine can run, `portable` last.
std::vector<const PageOps*> UsablePageOps();

// Size of the body of a `words` record at the start of `bytes`; 0 if it is not one.
size_t CheckDifference(std::span<const uint8_t> bytes);
// Puts the changed words of a body that CheckDifference passed into `page`.
void ApplyDifference(const uint8_t* body, uint8_t* page);

// A payload that is not of the format, or does not fit the image. what(): which record and why.
class ChunkError : public CodedFailure {
 public:
  explicit ChunkError(const std::string& message) : CodedFailure("ERR_RAM_CHUNK", message) {}
};

struct PageRecord {
  RecordKind kind;
  uint32_t page;
  uint32_t count;                 // kZero: pages of the run; otherwise 1
  std::span<const uint8_t> body;  // within the payload; kZero: empty
};

// Goes through a payload record by record and checks each before it hands it out: kinds, lengths,
// page numbers, order. What only decompression can tell is not checked here.
class RecordReader {
 public:
  // `payload` must outlive the reader. `pages`: of the image.
  RecordReader(std::span<const uint8_t> payload, size_t pages) : payload_(payload), pages_(pages) {}

  // False at the end. Throws ChunkError; the reader is of no use afterwards.
  bool Next(PageRecord& out);

 private:
  [[noreturn]] void Refuse(const char* reason) const;
  std::span<const uint8_t> Take(size_t bytes);
  void TakeBody(PageRecord& out);

  std::span<const uint8_t> payload_;
  size_t pages_;
  size_t offset_ = 0;
  size_t record_offset_ = 0;
  size_t page_next_ = 0;
};

// Gives the page of an lz4 record. False: the block is damaged; `page` then holds anything.
bool DecompressPage(std::span<const uint8_t> body, uint8_t* page);

// LZ4 with its working memory.
class PageCompressor {
 public:
  PageCompressor();
  // Writes the LZ4 block of a page to `out` (kLz4BytesMax). Returns its size, 0 if it is larger.
  size_t Compress(const uint8_t* page, uint8_t* out);

 private:
  std::vector<uint64_t> state_;
};

namespace page_ops {
#if defined(__x86_64__)
extern const PageOps kAvx2;
#endif
#if defined(__aarch64__)
extern const PageOps kNeon;
#endif
extern const PageOps kPortable;
}  // namespace page_ops

}  // namespace mycelium
