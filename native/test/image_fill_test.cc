// Image::Fill: complete pages that come outside of epochs.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "core/image.h"
#include "generator.h"
#include "harness.h"
#include "replica.h"
#include "small_tmpfs.h"

using namespace mycelium;
using harness::ContentOf;
using harness::Generator;
using harness::HashesOf;
using harness::RootOf;

namespace {

// More than are written with one system call.
constexpr size_t kPages = 2100;
using Bytes = std::vector<uint8_t>;

std::shared_ptr<Memory> NewMemory(size_t pages = kPages) {
  return Memory::Create(pages * kPageBytes, "fill-test");
}

// The payloads of what `add` puts into chunks.
template <typename F>
std::vector<Bytes> Payloads(bool lz4, F add) {
  ChunkWriter writer({lz4, size_t{16} << 20}, std::make_shared<ChunkPool>());
  add(writer);
  writer.Flush();
  std::vector<Bytes> payloads;
  for (const Chunk& chunk : writer.TakeChunks()) {
    const auto payload = harness::PayloadOf(chunk);
    payloads.emplace_back(payload.begin(), payload.end());
  }
  return payloads;
}

template <typename F>
Bytes Payload(F add) {
  std::vector<Bytes> payloads = Payloads(false, add);
  CHECK_EQ(payloads.size(), 1U);
  return std::move(payloads.front());
}

Bytes Page(uint8_t value) { return Bytes(kPageBytes, value); }

size_t Fill(Image& image, const Bytes& payload) { return image.Fill(payload, HashBytes(payload)); }

void CheckIs(const Image& image, const Bytes& expected) {
  CHECK(ContentOf(*image.memory()) == expected);
  CHECK(harness::SameItems(image.hashes(), HashesOf(expected)));
  CHECK_EQ(image.root(), RootOf(expected));
  CHECK_EQ(image.staged_pages(), 0U);
}

// What a source makes of a memory, by one fill after the other, over what was there before.
TEST("fill: gives at once what staging and applying give") {
  Generator generator(harness::Seed("fills"));
  for (size_t run = 0; run < harness::Rounds(8); ++run) {
    Image filled(NewMemory());
    Image staged(NewMemory());
    for (size_t round = 0; round < 4; ++round) {
      const auto payloads = Payloads(generator.OneIn(2), [&](ChunkWriter& writer) {
        Bytes content(kPageBytes);
        // Runs of neighbours, longer and shorter than what is written at once.
        const size_t first = generator.Below(100);
        const size_t gap = generator.Below(300) + 1;
        for (size_t page = first; page < kPages; ++page) {
          if (page % gap == 0 && gap > 1) continue;
          if (round > 0 && generator.OneIn(3)) {
            writer.AddZero(page);
            continue;
          }
          std::fill(content.begin(), content.end(), static_cast<uint8_t>(generator.Below(255) + 1));
          if (generator.OneIn(2)) generator.Fill(content.data(), generator.Below(kPageBytes) + 1);
          content[0] = 1;
          writer.AddComplete(page, content.data());
        }
      });
      for (const Bytes& payload : payloads) {
        CHECK_EQ(Fill(filled, payload), staged.Stage(payload, HashBytes(payload)));
      }
      staged.Apply(std::nullopt);
      CheckIs(filled, ContentOf(*staged.memory()));
    }
  }
}

TEST("fill: differences are put on it afterwards") {
  const auto memory = NewMemory(4);
  Image image(memory);
  CHECK_EQ(Fill(image, Payload([](ChunkWriter& writer) {
                  writer.AddComplete(1, Page(1).data());
                  writer.AddComplete(2, Page(2).data());
                })),
           2U);
  Bytes page = Page(2);
  page[9] = 7;
  const Bytes difference = Payload([&](ChunkWriter& writer) {
    const uint8_t* body = nullptr;
    CHECK(writer.AddChanged(2, page.data(), Page(2).data(), body) == RecordKind::kWords);
  });
  image.Stage(difference, HashBytes(difference));
  Bytes expected(memory->bytes());
  std::fill_n(expected.begin() + kPageBytes, kPageBytes, 1);
  std::copy(page.begin(), page.end(), expected.begin() + 2 * kPageBytes);
  image.Apply(RootOf(expected));
  CheckIs(image, expected);
}

TEST("fill: what is wrong anywhere changes nothing") {
  const auto memory = NewMemory(8);
  Image image(memory);
  Fill(image, Payload([](ChunkWriter& writer) { writer.AddComplete(1, Page(1).data()); }));
  const Bytes before = ContentOf(*memory);
  const Bytes good = Payload([](ChunkWriter& writer) {
    writer.AddComplete(0, Page(5).data());
    writer.AddZero(1);
  });
  CHECK_THROWS(ChunkError, image.Fill(good, HashBytes(good) + 1));
  CHECK_THROWS(ChunkError, Fill(image, {}));
  Bytes cut = good;
  cut.pop_back();
  CHECK_THROWS(ChunkError, Fill(image, cut));
  // A block of one literal, which is no page, and a difference, which a fill does not know.
  for (const Bytes& bad :
       {Bytes{3 | 5 << 3, 0, 0, 0, 2, 0, 0x10, 0x41}, Payload([](ChunkWriter& w) {
          const uint8_t* body = nullptr;
          Bytes page = Page(0);
          page[3] = 1;
          w.AddChanged(5, page.data(), Page(0).data(), body);
        })}) {
    Bytes payload = Payload([](ChunkWriter& writer) { writer.AddComplete(0, Page(5).data()); });
    payload.insert(payload.end(), bad.begin(), bad.end());
    CHECK_THROWS(ChunkError, Fill(image, payload));
  }
  CheckIs(image, before);
}

TEST("fill: not while chunks of an epoch are staged") {
  Image image(NewMemory(4));
  const Bytes payload = Payload([](ChunkWriter& writer) { writer.AddComplete(0, Page(1).data()); });
  image.Stage(payload, HashBytes(payload));
  CHECK_THROWS(CodedFailure, Fill(image, payload));
  CHECK_EQ(image.staged_pages(), 1U);
  image.Discard();
  CHECK_EQ(Fill(image, payload), 1U);
}

TEST("fill: long runs of zeroes give their memory back") {
  const auto memory = NewMemory(64);
  Image image(memory);
  Fill(image, Payload([](ChunkWriter& writer) {
         for (size_t page = 0; page < 64; ++page) writer.AddComplete(page, Page(3).data());
       }));
  Fill(image, Payload([](ChunkWriter& writer) {
         for (size_t page = 0; page < 64; ++page) writer.AddZero(page);
       }));
  CHECK_EQ(image.root(), 0U);
  struct stat status;
  CHECK_EQ(fstat(memory->fd(), &status), 0);
  CHECK_EQ(status.st_blocks, 0);
}

// Holes of a full tmpfs must not be read through a mapping; read(2) gives zeroes for them.
Bytes ContentOfFile(int fd, size_t bytes) {
  Bytes content(bytes);
  CHECK_EQ(pread(fd, content.data(), bytes, 0), static_cast<ssize_t>(bytes));
  return content;
}

void FillWithoutRoom() {
  constexpr size_t kBytes = 64 * 4 * kPageBytes;
  const int fd = open("ram", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  CHECK(fd >= 0);
  CHECK_EQ(ftruncate(fd, kBytes), 0);
  Image image(Memory::Adopt(fd, kBytes, true));
  const Bytes payload = Payload([&](ChunkWriter& writer) {
    for (size_t page = 0; page < kBytes / kPageBytes; ++page) {
      writer.AddComplete(page, Page(static_cast<uint8_t>(page + 1)).data());
    }
  });
  CHECK_THROWS(SystemFailure, Fill(image, payload));
  const auto is_consistent = [&] {
    const Bytes content = ContentOfFile(fd, kBytes);
    CHECK(harness::SameItems(image.hashes(), HashesOf(content)));
    CHECK_EQ(image.root(), RootOf(content));
  };
  is_consistent();
  CHECK(image.root() != 0U);  // some of it has found room
  CHECK_EQ(Fill(image, Payload([](ChunkWriter& writer) {
                  for (size_t page = 0; page < kBytes / kPageBytes; ++page) writer.AddZero(page);
                })),
           kBytes / kPageBytes);
  CHECK_EQ(image.root(), 0U);
  is_consistent();
}

TEST("fill: a file system without room says so, and the hashes are those of what is there") {
  harness::RunInSmallTmpfs(FillWithoutRoom);
}

}  // namespace
