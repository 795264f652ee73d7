#include "core/source.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "generator.h"
#include "harness.h"
#include "replica.h"

using namespace mycelium;
using harness::ContentOf;
using harness::Generator;
using harness::HashesOf;
using harness::RootOf;
using harness::ToldTracker;

namespace {

// A multiple of every machine's page size (64 KiB at most), with a partial word of bitmap.
constexpr size_t kPages = 16 * 13;

struct Bench {
  explicit Bench(size_t pages = kPages)
      : memory(Memory::Create(pages * kPageBytes, "source-test")),
        tracker(std::make_shared<ToldTracker>(pages)),
        source(memory, tracker) {}

  uint8_t* Page(size_t page) { return memory->data() + page * kPageBytes; }
  void Write(size_t page, uint8_t value) {
    std::memset(Page(page), value, kPageBytes);
    tracker->written.Set(page);
  }
  size_t AllocatedBytes() const {
    struct stat status;
    CHECK_EQ(fstat(memory->fd(), &status), 0);
    return static_cast<size_t>(status.st_blocks) * 512;
  }

  std::shared_ptr<Memory> memory;
  std::shared_ptr<ToldTracker> tracker;
  Source source;
};

std::vector<size_t> Members(const PageBitmap& pages) {
  std::vector<size_t> out;
  pages.ForEach([&](size_t page) { out.push_back(page); });
  return out;
}

using Numbers = std::vector<size_t>;

TEST("source: must be seeded first") {
  Bench bench;
  CHECK_THROWS(NotSeededError, bench.source.Capture());
  CHECK_THROWS(NotSeededError, bench.source.Encode({}));
  CHECK_THROWS(NotSeededError, bench.source.EncodeShadow(PageBitmap(kPages), {}));
  bench.source.Seed();
  CHECK_EQ(bench.source.Capture(), 0U);
}

TEST("source: a seed arms the tracker, copies what is populated, allocates nothing") {
  Bench bench;
  bench.Write(3, 7);
  bench.Write(kPages - 1, 8);
  bench.Write(9, 0);
  const size_t allocated = bench.AllocatedBytes();
  bench.source.Seed();
  CHECK_EQ(bench.tracker->scans, 1);
  CHECK_EQ(bench.AllocatedBytes(), allocated);
  CHECK_EQ(Members(bench.source.ShadowPages()), (Numbers{3, kPages - 1}));
  const auto content = ContentOf(*bench.memory);
  CHECK_EQ(bench.source.root(), RootOf(content));
  CHECK(harness::SameItems(bench.source.hashes(), HashesOf(content)));
  CHECK_EQ(bench.source.Capture(), 0U);  // what the seed's scan found is not found again
}

// A write before the tracker is armed is not reported: the copy must have it.
TEST("source: a seed copies only after the tracker is armed") {
  Bench bench;
  bench.tracker->on_scan = [&] { bench.Page(6)[0] = 1; };
  bench.source.Seed();
  CHECK_EQ(Members(bench.source.ShadowPages()), (Numbers{6}));
}

TEST("source: a capture copies only after its scan") {
  Bench bench;
  bench.source.Seed();
  bench.Write(6, 1);
  bench.tracker->on_scan = [&] { bench.Page(6)[5] = 2; };
  bench.source.Capture();
  bench.source.Encode({});
  CHECK_EQ(bench.source.root(), RootOf(ContentOf(*bench.memory)));
}

uint64_t SumOf(const EncodedBytes& bytes) {
  return bytes.zero + bytes.words + bytes.raw + bytes.lz4;
}

uint64_t PayloadBytesOf(const std::vector<Chunk>& chunks) {
  uint64_t sum = 0;
  for (const Chunk& chunk : chunks) sum += chunk.bytes - kChunkHeadBytes;
  return sum;
}

TEST("source: a second seed takes the memory as it is, zeroes included") {
  Bench bench;
  for (size_t page = 0; page < kPages; ++page) bench.Write(page, 5);
  bench.source.Seed();
  bench.Write(1, 6);
  bench.source.Capture();
  CHECK_EQ(fallocate(bench.memory->fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                     kPages / 2 * kPageBytes),
           0);
  bench.Write(kPages - 1, 0);
  bench.source.Seed();
  CHECK_EQ(bench.source.staged_pages(), 0U);
  CHECK_EQ(bench.source.root(), RootOf(ContentOf(*bench.memory)));
  CHECK_EQ(bench.source.ShadowPages().Count(), kPages / 2 - 1);
}

TEST("source: captures are merged, the later content counts") {
  Bench bench;
  bench.source.Seed();
  bench.Write(1, 1);
  bench.Write(2, 1);
  CHECK_EQ(bench.source.Capture(), 2U);
  bench.Write(2, 2);
  bench.Write(4, 2);
  CHECK_EQ(bench.source.Capture(), 2U);
  CHECK_EQ(bench.source.staged_pages(), 3U);
  std::memset(bench.Page(1), 99, kPageBytes);  // after the capture: not part of it
  const Encoding encoding = bench.source.Encode({});
  CHECK_EQ(Members(encoding.changed), (Numbers{1, 2, 4}));
  std::vector<uint8_t> expected(bench.memory->bytes());
  std::memset(expected.data() + 1 * kPageBytes, 1, kPageBytes);
  std::memset(expected.data() + 2 * kPageBytes, 2, kPageBytes);
  std::memset(expected.data() + 4 * kPageBytes, 2, kPageBytes);
  CHECK_EQ(encoding.root, RootOf(expected));
  CHECK_EQ(bench.source.staged_pages(), 0U);
}

TEST("source: each encoding is chosen where it belongs, and counted") {
  Bench bench;
  Generator generator(harness::Seed("source encodings"));
  for (const size_t page : {0, 1, 2, 3, 4}) {
    generator.Fill(bench.Page(page), kPageBytes);
  }
  bench.source.Seed();
  for (size_t page = 0; page < 7; ++page) bench.tracker->written.Set(page);
  std::memset(bench.Page(0), 0, kPageBytes);    // zero
  bench.Page(2)[9] ^= 1;                        // words; page 1 is equal
  generator.Fill(bench.Page(3), kPageBytes);    // raw
  std::memset(bench.Page(4), 'x', kPageBytes);  // lz4
  bench.Page(5)[4095] = 1;                      // words, from zeroes
  CHECK_EQ(bench.source.Capture(), 7U);         // page 6: zeroes as before
  const Encoding encoding = bench.source.Encode({true, kChunkBytesMin});
  CHECK_EQ(encoding.counts.zero, 1U);
  CHECK_EQ(encoding.counts.equal, 2U);
  CHECK_EQ(encoding.counts.words, 2U);
  CHECK_EQ(encoding.counts.raw, 1U);
  CHECK_EQ(encoding.counts.lz4, 1U);
  const EncodedBytes& bytes = encoding.counts.bytes;
  CHECK_EQ(bytes.zero, 8U);
  CHECK_EQ(bytes.words, 2U * (4 + 8 + 1 + 8));
  CHECK_EQ(bytes.raw, 4U + kPageBytes);
  CHECK(bytes.lz4 > 6 && bytes.lz4 < 100);
  CHECK_EQ(SumOf(bytes), PayloadBytesOf(encoding.chunks));
  CHECK_EQ(Members(encoding.changed), (Numbers{0, 2, 3, 4, 5}));
  CHECK_EQ(bench.source.root(), RootOf(ContentOf(*bench.memory)));
}

TEST("source: nothing changed makes no chunk") {
  Bench bench;
  bench.source.Seed();
  bench.Write(2, 0);
  bench.source.Capture();
  const Encoding encoding = bench.source.Encode({});
  CHECK_EQ(encoding.chunks.size(), 0U);
  CHECK_EQ(encoding.counts.equal, 1U);
  CHECK_EQ(encoding.changed.Count(), 0U);
}

TEST("source: holes are not read, not even pages that became holes") {
  Bench bench;
  for (size_t page = 0; page < 64; ++page) bench.Write(page, 5);
  bench.source.Seed();
  CHECK_EQ(
      fallocate(bench.memory->fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 32 * kPageBytes),
      0);
  const size_t allocated = bench.AllocatedBytes();
  for (size_t page = 0; page < kPages; ++page) bench.tracker->written.Set(page);
  CHECK_EQ(bench.source.Capture(), kPages);
  CHECK_EQ(bench.AllocatedBytes(), allocated);
  const Encoding encoding = bench.source.Encode({});
  CHECK_EQ(encoding.counts.zero, 32U);
  CHECK_EQ(encoding.chunks.size(), 1U);
  CHECK_EQ(encoding.chunks[0].bytes, kChunkHeadBytes + 8);  // one run
  CHECK_EQ(bench.source.root(), RootOf(ContentOf(*bench.memory)));
  // Populated once more.
  bench.Write(7, 1);
  bench.Write(100, 1);
  bench.source.Capture();
  CHECK_EQ(Members(bench.source.Encode({}).changed), (Numbers{7, 100}));
}

TEST("source: what a failed capture found is not lost") {
  Bench bench;
  bench.source.Seed();
  bench.Write(5, 5);
  bench.tracker->fails = true;
  CHECK_THROWS(std::system_error, bench.source.Capture());
  bench.tracker->fails = false;
  CHECK_EQ(bench.source.Capture(), 1U);
}

TEST("source: refuses sets and bounds that do not fit") {
  Bench bench;
  bench.source.Seed();
  CHECK_THROWS(std::out_of_range, bench.source.EncodeShadow(PageBitmap(kPages + 1), {}));
  CHECK_THROWS(std::out_of_range, bench.source.Encode({false, kChunkBytesMin - 1}));
  CHECK_EQ(bench.source.Capture(), 0U);  // and is still of use
}

// Random epochs: a backup that gets all of them, and one that is filled from the shadow, hold what
// the source holds.
TEST("source and image: replicas follow through random epochs") {
  Generator generator(harness::Seed("epochs"));
  for (size_t run = 0; run < harness::Rounds(20); ++run) {
    Bench bench;
    for (size_t page = 0; page < kPages; ++page) {
      if (generator.OneIn(2)) harness::FillPage(generator, bench.Page(page));
    }
    bench.source.Seed();
    Image image(Memory::Create(bench.memory->bytes(), "image-test"));
    PageBitmap left = bench.source.ShadowPages();
    while (left.Count() > 0) {
      ShadowEncoding fill = bench.source.EncodeShadow(left, {generator.OneIn(2), kChunkBytesMin});
      CHECK(fill.chunk.has_value());
      CHECK(fill.left.Count() + fill.chunk->pages == left.Count());
      CHECK(fill.chunk->bytes <= kChunkBytesMin);
      CHECK_EQ(SumOf(fill.counts.bytes), fill.chunk->bytes - kChunkHeadBytes);
      CHECK_EQ(image.Stage(harness::PayloadOf(*fill.chunk), fill.chunk->checksum),
               fill.chunk->pages);
      left = std::move(fill.left);
    }
    CHECK(!bench.source.EncodeShadow(left, {}).chunk.has_value());
    image.Apply(bench.source.root());
    CHECK(ContentOf(*bench.memory) == ContentOf(*image.memory()));
    for (size_t epoch = 0; epoch < 12; ++epoch) {
      for (size_t capture = generator.Below(3) + 1; capture > 0; --capture) {
        for (size_t count = generator.Below(60); count > 0; --count) {
          const size_t page = generator.Below(kPages);
          harness::MutatePage(generator, bench.Page(page));
          bench.tracker->written.Set(page);
        }
        bench.source.Capture();
      }
      const std::vector<uint8_t> sealed = ContentOf(*bench.memory);
      const size_t bound = kChunkBytesMin << generator.Below(6);
      const Encoding encoding = bench.source.Encode({generator.OneIn(2), bound});
      for (const Chunk& chunk : encoding.chunks) CHECK(chunk.bytes <= bound);
      const EncodingCounts& counts = encoding.counts;
      CHECK_EQ(counts.zero + counts.words + counts.raw + counts.lz4, encoding.changed.Count());
      CHECK_EQ(SumOf(counts.bytes), PayloadBytesOf(encoding.chunks));
      CHECK_EQ(encoding.root, RootOf(sealed));
      harness::StageAll(image, encoding.chunks);
      image.Apply(encoding.root);
      CHECK(ContentOf(*image.memory()) == sealed);
      CHECK(harness::SameItems(image.hashes(), HashesOf(sealed)));
      CHECK(harness::SameItems(bench.source.hashes(), HashesOf(sealed)));
    }
  }
}

// What a page held before it was zero must not shine through when it is written again.
TEST("source and image: a page that was zero for a while") {
  Bench bench;
  Generator generator(harness::Seed("zero for a while"));
  std::vector<uint8_t> content(kPageBytes);
  generator.Fill(content.data(), kPageBytes);
  bench.source.Seed();
  Image image(Memory::Create(bench.memory->bytes(), "image-test"));
  const auto replicate = [&] {
    bench.tracker->written.Set(3);
    bench.source.Capture();
    const Encoding encoding = bench.source.Encode({});
    harness::StageAll(image, encoding.chunks);
    image.Apply(encoding.root);
    CHECK(ContentOf(*bench.memory) == ContentOf(*image.memory()));
  };
  for (size_t round = 0; round < 2; ++round) {
    std::memcpy(bench.Page(3), content.data(), kPageBytes);
    replicate();
    std::memset(bench.Page(3), 0, kPageBytes);
    replicate();
    bench.Page(3)[8] = 1;
    replicate();
  }
}

// More pages than one step of the staging area holds, then few again.
TEST("source: the staging area grows with a peak, and every page comes through") {
  constexpr size_t kMany = 5000;
  Bench bench(kMany / 16 * 16);
  bench.source.Seed();
  for (size_t epoch = 0; epoch < 20; ++epoch) {
    const size_t count = epoch == 1 ? bench.source.pages() : 10;
    for (size_t page = 0; page < count; ++page) {
      bench.Write(page, static_cast<uint8_t>(epoch + 1 + page % 3));
    }
    CHECK_EQ(bench.source.Capture(), count);
    CHECK_EQ(bench.source.Encode({}).changed.Count(), count);
    CHECK_EQ(bench.source.root(), RootOf(ContentOf(*bench.memory)));
  }
}

// A real tracker, with a writer that comes between its scan and what the source does then.
class InterruptedTracker final : public DirtyTracker {
 public:
  explicit InterruptedTracker(std::shared_ptr<DirtyTracker> inner) : inner_(std::move(inner)) {}
  TrackerTier tier() const override { return inner_->tier(); }
  void Scan(PageBitmap& out) override {
    inner_->Scan(out);
    if (after_scan) after_scan();
  }
  void Taken(size_t page, const uint8_t* copy) override { inner_->Taken(page, copy); }

  std::function<void()> after_scan;

 private:
  std::shared_ptr<DirtyTracker> inner_;
};

// What trackers that compare content would take for unchanged, while the copy holds another.
void CheckWordThatToggles(TrackerTier tier, bool starts_empty) {
  const auto memory = Memory::Create(kPages * kPageBytes, "source-test");
  constexpr size_t kPage = 5;
  uint8_t* const page = memory->data() + kPage * kPageBytes;
  if (!starts_empty) page[0] = 9;
  TrackerOptions options;
  options.tier = tier;
  const auto tracker = std::make_shared<InterruptedTracker>(MakeTracker(memory, options).tracker);
  Source source(memory, tracker);
  const auto check = [&](auto copy, auto disturb) {
    const std::vector<uint8_t> before(page, page + kPageBytes);
    tracker->after_scan = disturb;
    copy();
    tracker->after_scan = nullptr;
    std::memcpy(page, before.data(), kPageBytes);
    source.Capture();
    source.Encode({});
    CHECK_EQ(source.root(), RootOf(ContentOf(*memory)));
  };
  const auto write = [&] { page[64] = 1; };
  check([&] { source.Seed(); }, write);
  page[64] = 2;  // so that the scan finds it
  check([&] { source.Capture(); }, write);
  page[64] = 3;
  check([&] { source.Capture(); },
        [&] {
          CHECK_EQ(fallocate(memory->fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                             kPage * kPageBytes, kPageBytes),
                   0);
        });
}

TEST("source: a word that is written and written back around a copy, seen by hashes") {
  CheckWordThatToggles(TrackerTier::kHash, false);
  CheckWordThatToggles(TrackerTier::kHash, true);
}

TEST("source: a word that is written and written back around a copy, seen by comparison") {
  CheckWordThatToggles(TrackerTier::kShadow, false);
  CheckWordThatToggles(TrackerTier::kShadow, true);
}

}  // namespace
