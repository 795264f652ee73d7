#include "core/page_codec.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "core/chunk_writer.h"
#include "generator.h"
#include "harness.h"
#include "page_codec_reference.h"

using namespace mycelium;
using harness::Generator;

namespace {

using Page = std::vector<uint8_t>;

// What difference() may touch, and a guard behind it that it must not.
constexpr size_t kGuardBytes = 64;

struct Room {
  std::vector<uint8_t> bytes = std::vector<uint8_t>(kWordsRoomBytes + kGuardBytes, 0xa5);
  bool IsIntact() const {
    for (size_t index = kWordsRoomBytes; index < bytes.size(); ++index) {
      if (bytes[index] != 0xa5) return false;
    }
    return true;
  }
};

void CheckAgainstReference(const PageOps& ops, const Page& page, const Page& base) {
  CHECK_EQ(ops.is_zero(page.data()), reference::IsZero(page.data()));
  CHECK_EQ(ops.equal(page.data(), base.data()), reference::Equal(page.data(), base.data()));
  Room room;
  const size_t bytes = ops.difference(page.data(), base.data(), room.bytes.data());
  CHECK(room.IsIntact());
  const std::vector<uint8_t> expected = reference::Difference(page.data(), base.data());
  if (expected.size() >= kWordsBytesEnd) {
    CHECK_EQ(bytes, kWordsBytesEnd);
    return;
  }
  CHECK_EQ(bytes, expected.size());
  CHECK(std::equal(expected.begin(), expected.end(), room.bytes.begin()));
  if (bytes == 0) return;
  CHECK_EQ(CheckDifference({room.bytes.data(), bytes}), bytes);
  Page applied = base;
  ApplyDifference(room.bytes.data(), applied.data());
  CHECK(applied == page);
}

// Runs for every variant that this machine has.
void ForEachIsa(const char* what, void (*run)(const PageOps&)) {
  for (const PageOps* ops : UsablePageOps()) {
    harness::Register("page codec (" + std::string(ops->isa) + "): " + what,
                      [ops, run] { run(*ops); });
  }
}

const bool registered = [] {
  ForEachIsa("random pages and mutations as the reference has them", [](const PageOps& ops) {
    Generator generator(harness::Seed("mutations"));
    Page base(kPageBytes);
    Page page(kPageBytes);
    for (size_t round = 0; round < harness::Rounds(20000); ++round) {
      harness::FillPage(generator, base.data());
      page = base;
      harness::MutatePage(generator, page.data());
      CheckAgainstReference(ops, page, base);
    }
  });
  ForEachIsa("each single bit of a page", [](const PageOps& ops) {
    const Page zeroes(kPageBytes);
    Page page(kPageBytes);
    for (size_t bit = 0; bit < kPageBytes * 8; ++bit) {
      page[bit / 8] = static_cast<uint8_t>(1U << bit % 8);
      CHECK(!ops.is_zero(page.data()));
      CHECK(!ops.equal(page.data(), zeroes.data()));
      Room room;
      CHECK_EQ(ops.difference(page.data(), zeroes.data(), room.bytes.data()), size_t{8 + 1 + 8});
      page[bit / 8] = 0;
    }
  });
  ForEachIsa("at the bound on a difference and one past it", [](const PageOps& ops) {
    // One word in each of 64 blocks, then more words: 8 + 64 + 8 n bytes. 246 words: 2,040.
    for (const size_t words : {246U, 247U}) {
      const Page base(kPageBytes);
      Page page(kPageBytes);
      for (size_t word = 0; word < words; ++word) page[(word % 64 * 8 + word / 64) * 8] = 1;
      CheckAgainstReference(ops, page, base);
      Room room;
      const size_t bytes = ops.difference(page.data(), base.data(), room.bytes.data());
      CHECK_EQ(bytes, words == 246 ? size_t{2040} : kWordsBytesEnd);
    }
    // Every size around the bound: 8 + blocks + 8 words bytes.
    const Page base(kPageBytes);
    for (size_t blocks = 33; blocks <= 64; ++blocks) {
      for (size_t words = 244; words <= 252; ++words) {
        Page page(kPageBytes);
        for (size_t word = 0; word < words; ++word) {
          page[(word % blocks * 8 + word / blocks) * 8 + 7] = 0x80;
        }
        CHECK_EQ(reference::Difference(page.data(), base.data()).size(), 8 + blocks + 8 * words);
        CheckAgainstReference(ops, page, base);
      }
    }
  });
  ForEachIsa("every word of a page changed", [](const PageOps& ops) {
    CheckAgainstReference(ops, Page(kPageBytes, 0xff), Page(kPageBytes));
  });
  ForEachIsa("pages at any address", [](const PageOps& ops) {
    Generator generator(harness::Seed("addresses"));
    std::vector<uint8_t> one(kPageBytes + 64);
    std::vector<uint8_t> two(kPageBytes + 64);
    for (size_t shift = 0; shift < 64; ++shift) {
      harness::FillPage(generator, one.data() + shift);
      std::memcpy(two.data() + 63 - shift, one.data() + shift, kPageBytes);
      CHECK(ops.equal(one.data() + shift, two.data() + 63 - shift));
      Room room;
      CHECK_EQ(ops.difference(one.data() + shift, two.data() + 63 - shift, room.bytes.data()), 0U);
    }
  });
  return true;
}();

TEST("page codec: a difference is refused for each way to be none") {
  const Page base(kPageBytes);
  Page page(kPageBytes);
  page[0] = 1;
  page[640] = 2;
  const std::vector<uint8_t> right = reference::Difference(page.data(), base.data());
  CHECK_EQ(CheckDifference(right), right.size());
  for (size_t bytes = 0; bytes < right.size(); ++bytes) {
    CHECK_EQ(CheckDifference({right.data(), bytes}), 0U);
  }
  std::vector<uint8_t> wrong = right;
  std::memset(wrong.data(), 0, 8);
  CHECK_EQ(CheckDifference(wrong), 0U);  // no block
  wrong = right;
  wrong[8] = 0;
  CHECK_EQ(CheckDifference(wrong), 0U);  // a block without a word
  std::vector<uint8_t> long_one(8 + 64 * 65, 0xff);
  CHECK_EQ(CheckDifference(long_one), 0U);  // every word: beyond the bound
}

TEST("page codec: lz4 gives the page back, or nothing") {
  Generator generator(harness::Seed("lz4"));
  PageCompressor compressor;
  Page page(kPageBytes);
  Page out(kPageBytes);
  std::vector<uint8_t> body(kLz4BytesMax);
  size_t compressed = 0;
  for (size_t round = 0; round < harness::Rounds(3000); ++round) {
    harness::FillPage(generator, page.data());
    harness::MutatePage(generator, page.data());
    const size_t bytes = compressor.Compress(page.data(), body.data());
    CHECK(bytes <= kLz4BytesMax);
    if (bytes == 0) continue;
    ++compressed;
    CHECK(DecompressPage({body.data(), bytes}, out.data()));
    CHECK(out == page);
    CHECK(!DecompressPage({body.data(), bytes - 1}, out.data()));
  }
  CHECK(compressed > 0);
  CHECK(!DecompressPage({}, out.data()));
}

TEST("page codec: noise does not compress") {
  Generator generator(harness::Seed("noise"));
  PageCompressor compressor;
  Page page(kPageBytes);
  std::vector<uint8_t> body(kLz4BytesMax);
  generator.Fill(page.data(), kPageBytes);
  CHECK_EQ(compressor.Compress(page.data(), body.data()), 0U);
}

std::vector<uint8_t> Record(uint32_t kind, uint32_t page, const std::vector<uint8_t>& body) {
  const uint32_t head = kind | page << 3;
  std::vector<uint8_t> out(4);
  std::memcpy(out.data(), &head, 4);
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

std::vector<uint8_t> Count(uint32_t count) {
  std::vector<uint8_t> out(4);
  std::memcpy(out.data(), &count, 4);
  return out;
}

std::vector<uint8_t> Join(const std::vector<std::vector<uint8_t>>& parts) {
  std::vector<uint8_t> out;
  for (const auto& part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

size_t ReadAll(std::span<const uint8_t> payload, size_t pages) {
  RecordReader reader(payload, pages);
  PageRecord record;
  size_t count = 0;
  while (reader.Next(record)) count += record.count;
  return count;
}

constexpr size_t kPages = 100;

TEST("page codec: records are read in order, at the bounds of the image") {
  const std::vector<uint8_t> raw(kPageBytes, 1);
  const std::vector<uint8_t> lz4 = {2, 0, 9, 9};
  CHECK_EQ(ReadAll(Join({Record(1, 0, raw), Record(0, 1, Count(98)), Record(3, 99, lz4)}), kPages),
           kPages);
  CHECK_EQ(ReadAll(Record(0, 0, Count(kPages)), kPages), kPages);
}

TEST("page codec: each malformed record is refused, and says why") {
  const std::vector<uint8_t> raw(kPageBytes, 1);
  const auto refused = [](const std::vector<uint8_t>& payload, const char* reason) {
    const std::string text = CHECK_THROWS(ChunkError, ReadAll(payload, kPages));
    if (text.find(reason) == std::string::npos) harness::Fail(__FILE__, __LINE__, text);
  };
  refused({}, "there is none");
  refused({1, 0, 0}, "truncated");
  for (uint32_t kind = 4; kind < 8; ++kind) refused(Record(kind, 0, raw), "unknown kind");
  refused(Record(1, kPages, raw), "beyond the image");
  refused(Record(1, 536870911, raw), "beyond the image");
  refused(Join({Record(1, 5, raw), Record(1, 5, raw)}), "ascend");
  refused(Join({Record(1, 5, raw), Record(1, 4, raw)}), "ascend");
  refused(Join({Record(0, 5, Count(3)), Record(1, 7, raw)}), "ascend");
  refused(Record(0, 5, Count(0)), "without a page");
  refused(Record(0, 5, Count(96)), "beyond the image");
  refused(Record(0, 5, Count(0xffffffff)), "beyond the image");
  refused(Record(0, 5, {1, 0, 0}), "truncated");
  refused(Record(1, 5, std::vector<uint8_t>(kPageBytes - 1)), "truncated");
  refused(Record(2, 5, {1, 0, 0, 0, 0, 0, 0, 0, 1}), "malformed difference");
  refused(Record(3, 5, {0, 0}), "out of range");
  refused(Record(3, 5, Join({{0x01, 0x0e}, raw})), "out of range");
  refused(Record(3, 5, {4, 0, 1, 2, 3}), "truncated");
  refused(Join({Record(1, 5, raw), {1}}), "record at byte 4100");
}

// What a record takes in its payload.
size_t RecordBytes(const PageRecord& record) {
  const size_t extra = record.kind == RecordKind::kZero  ? sizeof(uint32_t)
                       : record.kind == RecordKind::kLz4 ? sizeof(uint16_t)
                                                         : 0;
  return kRecordHeadBytes + extra + record.body.size();
}

// Chunks of whatever the generator gives, and what they must decode to.
TEST("chunk writer: chunks keep their bound, and hold every page once") {
  Generator generator(harness::Seed("chunk writer"));
  const std::vector<size_t> bounds = {kChunkBytesMin, kChunkBytesMin + 1, 20000, 1 << 20};
  for (const size_t bound : bounds) {
    for (const bool lz4 : {false, true}) {
      ChunkWriter writer({lz4, bound}, std::make_shared<ChunkPool>());
      Page page(kPageBytes);
      size_t next = 0;
      std::vector<size_t> written;
      for (size_t round = 0; round < 300; ++round) {
        next += generator.OneIn(3) ? generator.Below(50) : 0;
        harness::FillPage(generator, page.data());
        if (reference::IsZero(page.data())) {
          writer.AddZero(next);
        } else {
          writer.AddComplete(next, page.data());
        }
        written.push_back(next++);
      }
      writer.Flush();
      size_t pages = 0;
      std::vector<size_t> read;
      std::map<RecordKind, uint64_t> bytes;
      for (const Chunk& chunk : writer.TakeChunks()) {
        CHECK(chunk.bytes <= bound);
        CHECK(std::all_of(chunk.data.get(), chunk.data.get() + kChunkHeadBytes,
                          [](uint8_t byte) { return byte == 0; }));
        RecordReader reader({chunk.data.get() + kChunkHeadBytes, chunk.bytes - kChunkHeadBytes},
                            kPagesMax);
        PageRecord record;
        while (reader.Next(record)) {
          for (size_t index = 0; index < record.count; ++index) read.push_back(record.page + index);
          bytes[record.kind] += RecordBytes(record);
        }
        pages += chunk.pages;
      }
      CHECK(read == written);
      CHECK_EQ(pages, written.size());
      const EncodingCounts& counts = writer.counts();
      CHECK_EQ(counts.zero + counts.raw + counts.lz4, written.size());
      CHECK_EQ(counts.lz4 > 0, lz4);
      CHECK_EQ(counts.bytes.zero, bytes[RecordKind::kZero]);
      CHECK_EQ(counts.bytes.raw, bytes[RecordKind::kRaw]);
      CHECK_EQ(counts.bytes.lz4, bytes[RecordKind::kLz4]);
      CHECK_EQ(counts.bytes.words, 0U);
    }
  }
}

TEST("chunk writer: refuses bounds out of range") {
  CHECK_THROWS(std::out_of_range,
               ChunkWriter({false, kChunkBytesMin - 1}, std::make_shared<ChunkPool>()));
  CHECK_THROWS(std::out_of_range,
               ChunkWriter({false, kChunkBytesMax + 1}, std::make_shared<ChunkPool>()));
}

}  // namespace
