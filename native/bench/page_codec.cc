// Speed of the page codec on one core, each figure beside memcpy of the same pages in the same run.
// Prints one JSON object: { name, figures: [{ name, unit, samples, ours, oursSpread, peerName,
// peer, ratio }] }; speeds in GB/s of input, median and interquartile range, ratio = ours / peer.
//
// usage: page_codec [samples]
#include "core/page_codec.h"

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/image.h"
#include "core/memory.h"
#include "core/page_hash.h"
#include "core/source.h"

using namespace mycelium;

namespace {

// 128 MiB a copy: more than the caches of the machines that we know.
constexpr size_t kPages = 32768;
constexpr size_t kBytes = kPages * kPageBytes;

struct Figure {
  std::string name;
  std::vector<double> ours;
  std::vector<double> peer;
};

double Quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}

void Print(const Figure& figure, bool is_last) {
  const double ours = Quantile(figure.ours, 0.5);
  const double peer = Quantile(figure.peer, 0.5);
  std::printf(
      "{\"name\":\"%s\",\"unit\":\"GB/s\",\"samples\":%zu,\"ours\":%.3f,\"oursSpread\":%.3f,"
      "\"peerName\":\"memcpy\",\"peer\":%.3f,\"ratio\":%.3f}%s",
      figure.name.c_str(), figure.ours.size(), ours,
      Quantile(figure.ours, 0.75) - Quantile(figure.ours, 0.25), peer, ours / peer,
      is_last ? "" : ",");
}

double ThreadSeconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

// Of processor time, the kernel's share included: what else runs on the machine counts less.
double GigabytesPerSecond(const std::function<void()>& work) {
  const double begin = ThreadSeconds();
  work();
  return static_cast<double>(kBytes) / (ThreadSeconds() - begin) / 1e9;
}

uint64_t random_state = 1;

uint64_t Random() {
  random_state = random_state * 6364136223846793005U + 1442695040888963407U;
  return random_state >> 11;
}

// Half noise, half text: compresses to somewhat more than half, as memory often does.
void FillMixed(uint8_t* bytes) {
  for (size_t offset = 0; offset < kBytes; offset += 8) {
    const uint64_t value = offset / 64 % 2 == 0 ? Random() : 0x2020656c706d6173;
    std::memcpy(bytes + offset, &value, sizeof value);
  }
}

void ChangeWords(uint8_t* bytes, size_t words) {
  for (size_t page = 0; page < kPages; ++page) {
    for (size_t count = 0; count < words; ++count) {
      uint8_t* const word = bytes + page * kPageBytes + Random() % 512 * 8;
      word[Random() % 8] ^= static_cast<uint8_t>(Random() | 1);
    }
  }
}

class EverythingTracker : public DirtyTracker {
 public:
  TrackerTier tier() const override { return TrackerTier::kShadow; }
  void Scan(PageBitmap& out) override { out.SetRange(0, kPages); }
};

class Bench {
 public:
  explicit Bench(size_t samples)
      : samples_(samples),
        memory_(Memory::Create(kBytes, "bench")),
        source_(memory_, std::make_shared<EverythingTracker>()),
        image_(Memory::Create(kBytes, "bench-image")),
        base_(kBytes),
        copy_(kBytes) {
    FillMixed(memory_->data());
    std::memcpy(base_.data(), memory_->data(), kBytes);
    std::memcpy(copy_.data(), memory_->data(), kBytes);
  }

  // `prepare` is not timed.
  void Measure(const std::string& name, const std::function<void()>& prepare,
               const std::function<void()>& work) {
    Figure figure{name, {}, {}};
    for (size_t sample = 0; sample <= samples_; ++sample) {
      prepare();
      const double ours = GigabytesPerSecond(work);
      const double peer =
          GigabytesPerSecond([&] { std::memcpy(copy_.data(), base_.data(), kBytes); });
      if (sample == 0) continue;  // warms up
      figure.ours.push_back(ours);
      figure.peer.push_back(peer);
    }
    figures_.push_back(std::move(figure));
  }

  void MeasureOps(const PageOps& ops) {
    const std::string isa = std::string(" (") + ops.isa + ")";
    const auto nothing = [] {};
    const auto each = [&](auto&& work) {
      return [this, work] {
        for (size_t offset = 0; offset < kBytes; offset += kPageBytes) work(offset);
      };
    };
    const std::vector<uint8_t> zeroes(kBytes);
    uint8_t* const memory = memory_->data();
    Measure("zero detection, zeroes" + isa, nothing,
            each([&](size_t offset) { sink_ += ops.is_zero(zeroes.data() + offset); }));
    std::memcpy(memory, base_.data(), kBytes);
    Measure("compare, equal pages" + isa, nothing, each([&](size_t offset) {
              sink_ += ops.equal(memory + offset, base_.data() + offset);
            }));
    std::vector<uint8_t> room(kWordsRoomBytes);
    for (const size_t words : {0, 2, 16, 64, 200}) {
      std::memcpy(memory, base_.data(), kBytes);
      ChangeWords(memory, words);
      Measure("difference, " + std::to_string(words) + " words" + isa, nothing,
              each([&](size_t offset) {
                sink_ += ops.difference(memory + offset, base_.data() + offset, room.data());
              }));
    }
  }

  void MeasureWhole() {
    uint8_t* const memory = memory_->data();
    Measure(
        "page hash", [] {},
        [&] {
          for (size_t page = 0; page < kPages; ++page) {
            sink_ += HashNonZeroPage(base_.data() + page * kPageBytes, page);
          }
        });
    source_.Seed();
    Measure(
        "capture", [&] { source_.Encode({}); }, [&] { source_.Capture(); });
    for (const size_t words : {0, 2, 16, 64, 200}) {
      Measure(
          "encode with shadow, hashes and chunks, " + std::to_string(words) + " words",
          [&] {
            ChangeWords(memory, words);
            source_.Capture();
            chunks_.clear();
          },
          [&] { chunks_ = source_.Encode({}).chunks; });
    }
    const auto refill = [&] {
      FillMixed(memory);
      source_.Capture();
      chunks_.clear();
    };
    Measure("encode with shadow, hashes and chunks, raw", refill,
            [&] { chunks_ = source_.Encode({}).chunks; });
    Measure("encode with shadow, hashes and chunks, lz4", refill, [&] {
      chunks_ = source_.Encode({true, size_t{1} << 20}).chunks;
    });
    MeasureShadow();
  }

  void Print() const {
    std::printf("{\"name\":\"encode\",\"figures\":[");
    for (const Figure& figure : figures_) ::Print(figure, &figure == &figures_.back());
    std::printf("]}\n");
  }

  size_t sink() const { return sink_; }

 private:
  void MeasureShadow() {
    Measure(
        "complete pages from the shadow", [&] { chunks_.clear(); },
        [&] {
          PageBitmap left = source_.ShadowPages();
          while (left.Count() > 0) {
            ShadowEncoding encoding = source_.EncodeShadow(std::move(left), {});
            chunks_.push_back(std::move(*encoding.chunk));
            left = std::move(encoding.left);
          }
        });
    const auto stage = [&] {
      for (const Chunk& chunk : chunks_) {
        image_.Stage({chunk.data.get() + kChunkHeadBytes, chunk.bytes - kChunkHeadBytes},
                     chunk.checksum);
      }
    };
    Measure(
        "stage, raw", [&] { image_.Discard(); }, stage);
    image_.Discard();
    Measure("apply", stage, [&] { image_.Apply(std::nullopt); });
  }

  size_t samples_;
  std::shared_ptr<Memory> memory_;
  Source source_;
  Image image_;
  std::vector<uint8_t> base_;
  std::vector<uint8_t> copy_;
  std::vector<Chunk> chunks_;
  std::vector<Figure> figures_;
  size_t sink_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  const size_t samples = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 9;
  if (samples == 0) {
    std::fprintf(stderr, "usage: page_codec [samples]\n");
    return 2;
  }
  Bench bench(samples);
  for (const PageOps* ops : UsablePageOps()) bench.MeasureOps(*ops);
  bench.MeasureWhole();
  bench.Print();
  std::fprintf(stderr, "# %zu\n", bench.sink());  // so that nothing is optimised away
  return 0;
}
