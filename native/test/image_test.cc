#include "core/image.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "generator.h"
#include "harness.h"
#include "page_codec_reference.h"
#include "replica.h"
#include "small_tmpfs.h"

using namespace mycelium;
using harness::ContentOf;
using harness::Generator;
using harness::HashesOf;
using harness::RootOf;

namespace {

constexpr size_t kPages = 16 * 4;
using Bytes = std::vector<uint8_t>;

std::shared_ptr<Memory> NewMemory(size_t pages = kPages) {
  return Memory::Create(pages * kPageBytes, "image-test");
}

// A chunk's payload of what `add` puts into it.
template <typename F>
Bytes Payload(F add) {
  ChunkWriter writer({false, size_t{1} << 20}, std::make_shared<ChunkPool>());
  add(writer);
  writer.Flush();
  const std::vector<Chunk> chunks = writer.TakeChunks();
  CHECK_EQ(chunks.size(), 1U);
  const auto payload = harness::PayloadOf(chunks[0]);
  return {payload.begin(), payload.end()};
}

Bytes Page(uint8_t value) { return Bytes(kPageBytes, value); }

void Put(Bytes& content, size_t page, const Bytes& value) {
  std::copy(value.begin(), value.end(), content.begin() + static_cast<long>(page * kPageBytes));
}

size_t Stage(Image& image, const Bytes& payload) {
  return image.Stage(payload, HashBytes(payload));
}

TEST("image: new memory has root 0; other memory is hashed first") {
  const auto memory = NewMemory();
  CHECK_EQ(Image(memory).root(), 0U);
  std::memset(memory->data() + 5 * kPageBytes + 77, 3, 9000);
  const Image image(memory);
  CHECK_EQ(image.root(), RootOf(ContentOf(*memory)));
  CHECK(harness::SameItems(image.hashes(), HashesOf(ContentOf(*memory))));
}

TEST("image: refuses memory that it cannot write") {
  const auto memory = NewMemory();
  const auto view = Memory::Adopt(memory->fd(), memory->bytes(), false);
  CHECK_THROWS(std::invalid_argument, Image(view));
}

TEST("image: staged chunks are applied in order, and only by Apply") {
  const auto memory = NewMemory();
  Image image(memory);
  Bytes second = Page(1);
  second[8] = 2;
  CHECK_EQ(Stage(image, Payload([](ChunkWriter& writer) {
                   writer.AddComplete(1, Page(1).data());
                   writer.AddComplete(2, Page(9).data());
                   writer.AddComplete(3, Page(9).data());
                 })),
           3U);
  // A difference from what the first chunk brings, and a page that is zero after all.
  CHECK_EQ(Stage(image, Payload([&](ChunkWriter& writer) {
                   const uint8_t* body = nullptr;
                   CHECK(writer.AddChanged(1, second.data(), Page(1).data(), body) ==
                         RecordKind::kWords);
                   writer.AddZero(2);
                 })),
           2U);
  CHECK_EQ(image.staged_pages(), 3U);
  CHECK_EQ(image.root(), 0U);
  CHECK(ContentOf(*memory) == Bytes(memory->bytes()));
  Bytes expected(memory->bytes());
  Put(expected, 1, second);
  Put(expected, 3, Page(9));
  CHECK_EQ(image.Apply(RootOf(expected)), 3U);
  CHECK(ContentOf(*memory) == expected);
  CHECK_EQ(image.root(), RootOf(expected));
  CHECK_EQ(image.staged_pages(), 0U);
  CHECK_EQ(image.Apply(std::nullopt), 0U);  // nothing staged: nothing happens
}

TEST("image: a difference is put on what was staged as zero, not on what is applied") {
  const auto memory = NewMemory();
  Image image(memory);
  Stage(image, Payload([](ChunkWriter& writer) { writer.AddComplete(4, Page(7).data()); }));
  image.Apply(std::nullopt);
  Stage(image, Payload([](ChunkWriter& writer) { writer.AddZero(4); }));
  Bytes page = Page(0);
  page[100] = 1;
  Stage(image, Payload([&](ChunkWriter& writer) {
          const uint8_t* body = nullptr;
          writer.AddChanged(4, page.data(), Page(0).data(), body);
        }));
  image.Apply(std::nullopt);
  CHECK_EQ(std::memcmp(memory->data() + 4 * kPageBytes, page.data(), kPageBytes), 0);
}

TEST("image: another root than announced changes nothing; the right one still applies") {
  const auto memory = NewMemory();
  Image image(memory);
  Stage(image, Payload([](ChunkWriter& writer) { writer.AddComplete(1, Page(1).data()); }));
  image.Apply(std::nullopt);
  const Bytes before = ContentOf(*memory);
  const uint64_t root = image.root();
  const std::vector<uint64_t> hashes(image.hashes().begin(), image.hashes().end());
  Stage(image, Payload([](ChunkWriter& writer) {
          writer.AddComplete(1, Page(2).data());
          writer.AddComplete(9, Page(2).data());
        }));
  const std::string text = CHECK_THROWS(RootError, image.Apply(root));
  CHECK(text.find("image hash") != std::string::npos);
  CHECK(ContentOf(*memory) == before);
  CHECK_EQ(image.root(), root);
  CHECK(harness::SameItems(image.hashes(), hashes));
  CHECK_EQ(image.staged_pages(), 2U);
  Bytes expected = before;
  Put(expected, 1, Page(2));
  Put(expected, 9, Page(2));
  image.Apply(RootOf(expected));
  CHECK(ContentOf(*memory) == expected);
}

TEST("image: what is discarded leaves no trace") {
  const auto memory = NewMemory();
  Image image(memory);
  Stage(image, Payload([](ChunkWriter& writer) { writer.AddComplete(1, Page(1).data()); }));
  image.Discard();
  CHECK_EQ(image.staged_pages(), 0U);
  CHECK_EQ(image.Apply(0), 0U);
  CHECK(ContentOf(*memory) == Bytes(memory->bytes()));
}

TEST("image: a chunk that is wrong anywhere changes nothing, chunks before it stay") {
  const auto memory = NewMemory();
  Image image(memory);
  Stage(image, Payload([](ChunkWriter& writer) { writer.AddComplete(1, Page(1).data()); }));
  Bytes bad = Payload([](ChunkWriter& writer) {
    writer.AddComplete(1, Page(2).data());
    writer.AddZero(3);
    writer.AddComplete(4, Page(2).data());
  });
  bad.pop_back();
  CHECK_THROWS(ChunkError, Stage(image, bad));
  CHECK_EQ(image.staged_pages(), 1U);
  const Bytes good = Payload([](ChunkWriter& writer) { writer.AddComplete(5, Page(5).data()); });
  CHECK_THROWS(ChunkError, image.Stage(good, HashBytes(good) + 1));
  CHECK_THROWS(ChunkError, Stage(image, {}));
  image.Apply(std::nullopt);
  Bytes expected(memory->bytes());
  Put(expected, 1, Page(1));
  CHECK(ContentOf(*memory) == expected);
  CHECK_EQ(image.root(), RootOf(expected));
}

TEST("image: a damaged lz4 block is refused whole") {
  const auto memory = NewMemory();
  Image image(memory);
  // 2 bytes: a block of one literal, not a page.
  const Bytes payload = {3 | 5 << 3, 0, 0, 0, 2, 0, 0x10, 0x41};
  CHECK_THROWS(ChunkError, Stage(image, payload));
  CHECK_EQ(image.staged_pages(), 0U);
}

TEST("image: long runs of zeroes give their memory back") {
  const auto memory = NewMemory();
  Image image(memory);
  std::vector<Chunk> chunks;
  Stage(image, Payload([](ChunkWriter& writer) {
          for (size_t page = 0; page < kPages; ++page) writer.AddComplete(page, Page(5).data());
        }));
  image.Apply(std::nullopt);
  Stage(image, Payload([](ChunkWriter& writer) {
          for (size_t page = 0; page < kPages; ++page) writer.AddZero(page);
        }));
  image.Apply(0);
  CHECK_EQ(image.root(), 0U);
  struct stat status;
  CHECK_EQ(fstat(memory->fd(), &status), 0);
  CHECK_EQ(status.st_blocks, 0);
  CHECK(ContentOf(*memory) == Bytes(memory->bytes()));
}

TEST("image: zeroes for what is a hole already allocate nothing") {
  const auto memory = NewMemory();
  Image image(memory);
  Stage(image, Payload([](ChunkWriter& writer) {
          for (size_t page = 0; page < kPages; page += 2) writer.AddZero(page);
        }));
  CHECK_EQ(image.Apply(0), kPages / 2);
  struct stat status;
  CHECK_EQ(fstat(memory->fd(), &status), 0);
  CHECK_EQ(status.st_blocks, 0);
}

// Payloads that were right before something happened to them. `pages`: what they may name.
class Fuzzer {
 public:
  Fuzzer(Generator& generator, std::vector<Bytes> corpus)
      : generator_(generator), corpus_(std::move(corpus)) {}

  Bytes Next() {
    Bytes bytes = corpus_[generator_.Below(corpus_.size())];
    switch (generator_.Below(7)) {
      case 0:
        bytes.resize(generator_.Below(bytes.size()));
        break;
      case 1:
        for (size_t count = generator_.Below(4) + 1; count > 0; --count) {
          bytes[generator_.Below(bytes.size())] ^= static_cast<uint8_t>(1U << generator_.Below(8));
        }
        break;
      case 2:  // noise, with a head that may be right
        bytes.resize(generator_.Below(200) + 1);
        generator_.Fill(bytes.data(), bytes.size());
        if (bytes.size() >= 4) PutHead(bytes, 0);
        break;
      case 3:  // a hostile head over whatever is there
        PutHead(bytes, generator_.Below(bytes.size()));
        break;
      case 4:  // hostile lengths and counts
        PutExtreme(bytes, generator_.Below(bytes.size()));
        break;
      case 5: {  // a cut from the middle
        const size_t first = generator_.Below(bytes.size());
        const size_t count = generator_.Below(bytes.size() - first) + 1;
        bytes.erase(bytes.begin() + static_cast<long>(first),
                    bytes.begin() + static_cast<long>(first + count));
        break;
      }
      default: {  // two joined
        const Bytes& other = corpus_[generator_.Below(corpus_.size())];
        bytes.insert(bytes.end(), other.begin(), other.end());
      }
    }
    return bytes;
  }

 private:
  void Put(Bytes& bytes, size_t at, const void* data, size_t count) {
    if (bytes.size() >= count) std::memcpy(&bytes[std::min(at, bytes.size() - count)], data, count);
  }
  void PutHead(Bytes& bytes, size_t at) {
    const size_t kind = generator_.Below(5);
    const uint32_t head = static_cast<uint32_t>(kind | generator_.Below(kPages + 2) << 3);
    Put(bytes, at, &head, sizeof head);
  }
  void PutExtreme(Bytes& bytes, size_t at) {
    static constexpr uint32_t kExtremes[] = {0,      1,      0x7fff,     0x8000,     0xffff,
                                             0x0e00, 0x0e01, 0x7fffffff, 0x80000000, 0xffffffff};
    Put(bytes, at, &kExtremes[generator_.Below(std::size(kExtremes))], generator_.OneIn(2) ? 2 : 4);
  }

  Generator& generator_;
  std::vector<Bytes> corpus_;
};

// Small chunks of every kind of record, so that a mutation often hits a head or a length.
std::vector<Bytes> Corpus(Generator& generator) {
  std::vector<Bytes> corpus;
  for (size_t index = 0; index < 64; ++index) {
    ChunkWriter writer({generator.OneIn(2), size_t{1} << 20}, std::make_shared<ChunkPool>());
    size_t page = generator.Below(8);
    for (size_t count = generator.Below(5) + 1; count > 0; --count) {
      Bytes content = Page(static_cast<uint8_t>(generator.Below(3)));
      const Bytes base = content;
      for (size_t words = generator.Below(6); words > 0; --words) {
        generator.Fill(&content[generator.Below(512) * 8], 8);
      }
      const uint8_t* body = nullptr;
      if (reference::IsZero(content.data())) {
        writer.AddZero(page);
      } else if (generator.OneIn(8)) {
        writer.AddComplete(page, content.data());
      } else {
        if (content == base) content[0] ^= 1;
        writer.AddChanged(page, content.data(), base.data(), body);
      }
      page += generator.Below(5) + 1;
    }
    writer.Flush();
    for (const Chunk& chunk : writer.TakeChunks()) {
      const auto payload = harness::PayloadOf(chunk);
      corpus.emplace_back(payload.begin(), payload.end());
    }
  }
  return corpus;
}

// The checksum is made right, so that each input comes to the decoder proper.
TEST("image: a million damaged chunks: refused or not, applied memory does not change") {
  Generator generator(harness::Seed("fuzz"));
  const auto memory = NewMemory();
  for (size_t page = 0; page < kPages; page += 3) {
    harness::FillPage(generator, memory->data() + page * kPageBytes);
  }
  Image image(memory);
  const Bytes before = ContentOf(*memory);
  const uint64_t root = image.root();
  Fuzzer fuzzer(generator, Corpus(generator));
  size_t refused = 0;
  size_t accepted = 0;
  for (size_t round = 0; round < harness::Rounds(1000000); ++round) {
    const Bytes payload = fuzzer.Next();
    const size_t staged = image.staged_pages();
    try {
      image.Stage(payload, HashBytes(payload));
      ++accepted;
    } catch (const ChunkError&) {
      ++refused;
      CHECK_EQ(image.staged_pages(), staged);
    }
    CHECK(image.staged_pages() <= kPages);
    if (round % 64 == 0) {
      CHECK_THROWS(RootError,
                   image.staged_pages() > 0 ? image.Apply(root ^ 1) : throw RootError(0, 0));
      image.Discard();
    }
    if (round % 4096 == 0) CHECK(ContentOf(*memory) == before);
  }
  std::printf("# %zu refused, %zu accepted\n", refused, accepted);
  CHECK(ContentOf(*memory) == before);
  CHECK_EQ(image.root(), root);
  CHECK(refused > accepted / 10);
  CHECK(accepted > refused / 100);
}

// What is accepted is applied as one would apply it by hand.
TEST("image: damaged chunks that are accepted give exactly the pages they say") {
  Generator generator(harness::Seed("accepted"));
  const auto memory = NewMemory();
  Image image(memory);
  Fuzzer fuzzer(generator, Corpus(generator));
  Bytes expected(memory->bytes());
  for (size_t round = 0; round < harness::Rounds(20000); ++round) {
    const Bytes payload = fuzzer.Next();
    try {
      image.Stage(payload, HashBytes(payload));
    } catch (const ChunkError&) {
      continue;
    }
    RecordReader reader(payload, kPages);
    PageRecord record;
    while (reader.Next(record)) {
      uint8_t* const page = expected.data() + record.page * kPageBytes;
      if (record.kind == RecordKind::kZero) std::memset(page, 0, record.count * kPageBytes);
      if (record.kind == RecordKind::kRaw) std::memcpy(page, record.body.data(), kPageBytes);
      if (record.kind == RecordKind::kWords) ApplyDifference(record.body.data(), page);
      if (record.kind == RecordKind::kLz4) CHECK(DecompressPage(record.body, page));
    }
    if (!generator.OneIn(20)) continue;
    image.Apply(RootOf(expected));
    CHECK(ContentOf(*memory) == expected);
    CHECK(harness::SameItems(image.hashes(), HashesOf(expected)));
  }
}

void ApplyWithoutRoom() {
  const int fd = open("ram", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  CHECK(fd >= 0);
  CHECK_EQ(ftruncate(fd, static_cast<off_t>(kPages * kPageBytes)), 0);
  const auto memory = Memory::Adopt(fd, kPages * kPageBytes, true);
  Image image(memory);
  const auto stage = [&](size_t count) {
    Stage(image, Payload([&](ChunkWriter& writer) {
            for (size_t page = 0; page < count; ++page)
              writer.AddComplete(2 * page, Page(1).data());
          }));
  };
  stage(20);
  CHECK_THROWS(SystemFailure, image.Apply(std::nullopt));
  CHECK_EQ(image.root(), 0U);
  CHECK_EQ(image.staged_pages(), 20U);
  struct stat status;  // not read: a hole that is read is allocated too
  CHECK_EQ(fstat(fd, &status), 0);
  CHECK_EQ(status.st_blocks, 0);
  image.Discard();
  stage(3);
  CHECK_EQ(image.Apply(std::nullopt), 3U);
  CHECK_EQ(memory->data()[4 * kPageBytes], 1);
}

TEST("image: a file system without room says so before anything is applied") {
  harness::RunInSmallTmpfs(ApplyWithoutRoom);
}

}  // namespace
