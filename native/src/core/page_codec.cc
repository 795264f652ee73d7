#include "core/page_codec.h"

#include <bit>
#include <cstring>
#include <string>

#include "lz4.h"

namespace mycelium {

static_assert(std::endian::native == std::endian::little, "words and heads are stored as they are");

namespace {

constexpr size_t kWordBytes = 8;
constexpr size_t kBlockWords = 8;
constexpr size_t kBlockBytes = kWordBytes * kBlockWords;
constexpr size_t kBlocks = kPageBytes / kBlockBytes;
static_assert(kBlocks == 64, "one bit of the block mask each");

uint64_t LoadWord(const uint8_t* at) {
  uint64_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

uint32_t LoadU32(const uint8_t* at) {
  uint32_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

bool IsZeroPortable(const uint8_t* page) {
  for (size_t block = 0; block < kBlocks; ++block, page += kBlockBytes) {
    uint64_t any = 0;
    for (size_t word = 0; word < kBlockWords; ++word) any |= LoadWord(page + word * kWordBytes);
    if (any != 0) return false;
  }
  return true;
}

bool EqualPortable(const uint8_t* page, const uint8_t* base) {
  return std::memcmp(page, base, kPageBytes) == 0;
}

size_t DifferencePortable(const uint8_t* page, const uint8_t* base, uint8_t* out) {
  uint64_t block_mask = 0;
  uint8_t* at = out + sizeof block_mask;
  for (size_t block = 0; block < kBlocks; ++block) {
    const uint8_t* ours = page + block * kBlockBytes;
    const uint8_t* theirs = base + block * kBlockBytes;
    uint64_t any = 0;
    for (size_t word = 0; word < kBlockWords; ++word) {
      any |= LoadWord(ours + word * kWordBytes) ^ LoadWord(theirs + word * kWordBytes);
    }
    if (any == 0) continue;
    if (static_cast<size_t>(at - out) >= kWordsBytesEnd) return kWordsBytesEnd;
    block_mask |= uint64_t{1} << block;
    uint8_t* const word_mask = at++;
    unsigned mask = 0;
    for (size_t word = 0; word < kBlockWords; ++word) {
      const uint64_t value = LoadWord(ours + word * kWordBytes);
      const bool changed = value != LoadWord(theirs + word * kWordBytes);
      mask |= static_cast<unsigned>(changed) << word;
      std::memcpy(at, &value, sizeof value);
      at += changed ? kWordBytes : 0;
    }
    *word_mask = static_cast<uint8_t>(mask);
  }
  if (block_mask == 0) return 0;
  const size_t bytes = static_cast<size_t>(at - out);
  if (bytes >= kWordsBytesEnd) return kWordsBytesEnd;
  std::memcpy(out, &block_mask, sizeof block_mask);
  return bytes;
}

const PageOps& ChoosePageOps() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) return page_ops::kAvx2;
#elif defined(__aarch64__)
  return page_ops::kNeon;  // part of the base architecture
#endif
  return page_ops::kPortable;
}

}  // namespace

const PageOps page_ops::kPortable = {"portable", IsZeroPortable, EqualPortable, DifferencePortable};

const PageOps& BestPageOps() {
  static const PageOps& best = ChoosePageOps();
  return best;
}

std::vector<const PageOps*> UsablePageOps() {
  std::vector<const PageOps*> usable;
  if (&BestPageOps() != &page_ops::kPortable) usable.push_back(&BestPageOps());
  usable.push_back(&page_ops::kPortable);
  return usable;
}

size_t CheckDifference(std::span<const uint8_t> bytes) {
  if (bytes.size() < sizeof(uint64_t)) return 0;
  uint64_t block_mask = LoadWord(bytes.data());
  if (block_mask == 0) return 0;
  size_t offset = sizeof block_mask;
  for (; block_mask != 0; block_mask &= block_mask - 1) {
    if (offset >= bytes.size()) return 0;
    const uint8_t word_mask = bytes[offset];
    if (word_mask == 0) return 0;
    offset += 1 + static_cast<size_t>(std::popcount(word_mask)) * kWordBytes;
  }
  // At most 8 + 64 * 65 was added, so no sum overflows; the last block may still reach too far.
  return offset <= bytes.size() && offset < kWordsBytesEnd ? offset : 0;
}

void ApplyDifference(const uint8_t* body, uint8_t* page) {
  uint64_t block_mask = LoadWord(body);
  const uint8_t* at = body + sizeof block_mask;
  for (; block_mask != 0; block_mask &= block_mask - 1) {
    uint8_t* const block = page + static_cast<size_t>(std::countr_zero(block_mask)) * kBlockBytes;
    for (unsigned word_mask = *at++; word_mask != 0; word_mask &= word_mask - 1) {
      std::memcpy(block + static_cast<size_t>(std::countr_zero(word_mask)) * kWordBytes, at,
                  kWordBytes);
      at += kWordBytes;
    }
  }
}

void RecordReader::Refuse(const char* reason) const {
  throw ChunkError("record at byte " + std::to_string(record_offset_) + ": " + reason);
}

std::span<const uint8_t> RecordReader::Take(size_t bytes) {
  if (payload_.size() - offset_ < bytes) Refuse("truncated");
  const auto taken = payload_.subspan(offset_, bytes);
  offset_ += bytes;
  return taken;
}

bool RecordReader::Next(PageRecord& out) {
  record_offset_ = offset_;
  if (offset_ == payload_.size()) {
    if (offset_ == 0) Refuse("there is none");
    return false;
  }
  const uint32_t head = LoadU32(Take(kRecordHeadBytes).data());
  const uint32_t kind = head & 7;
  if (kind > static_cast<uint32_t>(RecordKind::kLz4)) Refuse("unknown kind");
  out.kind = static_cast<RecordKind>(kind);
  out.page = head >> 3;
  out.count = 1;
  if (out.page >= pages_) Refuse("page number beyond the image");
  if (out.page < page_next_) Refuse("page numbers do not ascend");
  TakeBody(out);
  page_next_ = size_t{out.page} + out.count;
  return true;
}

void RecordReader::TakeBody(PageRecord& out) {
  switch (out.kind) {
    case RecordKind::kZero:
      out.count = LoadU32(Take(sizeof(uint32_t)).data());
      out.body = {};
      if (out.count == 0) Refuse("zero run without a page");
      if (out.count > pages_ - out.page) Refuse("zero run beyond the image");
      return;
    case RecordKind::kRaw:
      out.body = Take(kPageBytes);
      return;
    case RecordKind::kWords: {
      const size_t bytes = CheckDifference(payload_.subspan(offset_));
      if (bytes == 0) Refuse("malformed difference");
      out.body = Take(bytes);
      return;
    }
    case RecordKind::kLz4: {
      const auto size = Take(sizeof(uint16_t));
      const size_t bytes = size[0] | size_t{size[1]} << 8;
      if (bytes == 0 || bytes > kLz4BytesMax) Refuse("size of an lz4 block out of range");
      out.body = Take(bytes);
      return;
    }
  }
}

bool DecompressPage(std::span<const uint8_t> body, uint8_t* page) {
  if (body.empty() || body.size() > kLz4BytesMax) return false;
  // SAFETY: char and uint8_t may alias; sizes are positive, so the function keeps within them.
  const int bytes =
      LZ4_decompress_safe(reinterpret_cast<const char*>(body.data()), reinterpret_cast<char*>(page),
                          static_cast<int>(body.size()), int{kPageBytes});
  return bytes == int{kPageBytes};
}

PageCompressor::PageCompressor()
    : state_((static_cast<size_t>(LZ4_sizeofState()) + sizeof(uint64_t) - 1) / sizeof(uint64_t)) {}

size_t PageCompressor::Compress(const uint8_t* page, uint8_t* out) {
  // SAFETY: char and uint8_t may alias; the state has the size asked for and the alignment of
  // its largest member. A block larger than the room given is not finished: result 0.
  const int bytes = LZ4_compress_fast_extState(state_.data(), reinterpret_cast<const char*>(page),
                                               reinterpret_cast<char*>(out), int{kPageBytes},
                                               int{kLz4BytesMax}, 1);
  return static_cast<size_t>(bytes);
}

}  // namespace mycelium
