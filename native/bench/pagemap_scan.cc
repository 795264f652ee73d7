// Benchmark `scan`: DirtyTracker::Scan of tier A beside a bare loop over PAGEMAP_SCAN, the least
// that any user of the kernel's interface must do. Both in one process, each on a memory of its
// own, alternating, with the same pages dirtied before each.
//
// usage: pagemap_scan MEBIBYTES PERCENT SAMPLES
//
// Prints one JSON object: medians and spreads (interquartile) in nanoseconds.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/failure.h"
#include "core/kernel_abi.h"
#include "core/memory.h"
#include "core/tracker.h"
#include "core/userfault.h"

namespace {

using mycelium::Memory;
namespace kernel = mycelium::kernel;

constexpr size_t kWarmups = 3;

int64_t NowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// What our tracker does, without anything around it: no set of pages, no check.
class BareScan {
 public:
  explicit BareScan(const Memory& memory)
      : start_(reinterpret_cast<uint64_t>(memory.data())),
        end_(start_ + memory.bytes()),
        uffd_(mycelium::OpenUserfaultfd(mycelium::FaultScope::kUserMode)),
        pagemap_(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)),
        regions_(4096) {
    if (!pagemap_.valid()) mycelium::ThrowErrno("open");
    mycelium::EnableFeatures(uffd_.get(),
                             kernel::kFeaturePagefaultFlagWp | kernel::kFeatureWpHugetlbfsShmem |
                                 kernel::kFeatureWpUnpopulated | kernel::kFeatureWpAsync);
    mycelium::RegisterForWriteProtection(uffd_.get(), start_, memory.bytes());
  }

  // Bytes of pages that were written.
  uint64_t Run() {
    uint64_t bytes = 0;
    for (uint64_t at = start_; at < end_;) {
      kernel::PagemapScanArg scan{};
      scan.size = sizeof(scan);
      scan.flags = kernel::kScanWpMatching | kernel::kScanCheckWpAsync;
      scan.start = at;
      scan.end = end_;
      scan.vec = reinterpret_cast<uint64_t>(regions_.data());
      scan.vec_len = regions_.size();
      scan.category_mask = kernel::kPageIsWritten;
      scan.return_mask = kernel::kPageIsWritten;
      const int count = ioctl(pagemap_.get(), kernel::kPagemapScan, &scan);
      if (count < 0) mycelium::ThrowErrno("ioctl");
      for (int index = 0; index < count; ++index) {
        const kernel::PageRegion& region = regions_[static_cast<size_t>(index)];
        bytes += region.end - region.start;
      }
      at = scan.walk_end;
    }
    return bytes;
  }

 private:
  uint64_t start_;
  uint64_t end_;
  mycelium::UniqueFd uffd_;
  mycelium::UniqueFd pagemap_;
  std::vector<kernel::PageRegion> regions_;
};

void Dirty(const Memory& memory, const std::vector<size_t>& pages, uint64_t value) {
  for (const size_t page : pages) {
    *reinterpret_cast<volatile uint64_t*>(memory.data() + page * mycelium::kPageBytes) = value;
  }
}

struct Summary {
  int64_t median;
  int64_t spread;
};

Summary Summarise(std::vector<int64_t> samples) {
  std::sort(samples.begin(), samples.end());
  const size_t count = samples.size();
  return {samples[count / 2], samples[count * 3 / 4] - samples[count / 4]};
}

void Require(bool condition, const char* what) {
  if (!condition) throw std::runtime_error(what);
}

void Bench(size_t mebibytes, double percent, size_t samples) {
  const auto ours_memory = Memory::Create(mebibytes << 20, "bench-ours");
  const auto bare_memory = Memory::Create(mebibytes << 20, "bench-bare");
  std::vector<size_t> pages(ours_memory->pages());
  for (size_t page = 0; page < pages.size(); ++page) pages[page] = page;
  Dirty(*ours_memory, pages, 1);
  Dirty(*bare_memory, pages, 1);
  std::shuffle(pages.begin(), pages.end(), std::mt19937_64(1));
  pages.resize(static_cast<size_t>(static_cast<double>(pages.size()) * percent / 100));

  mycelium::TrackerOptions options;
  options.tier = mycelium::TrackerTier::kAsync;
  const auto tracker = mycelium::MakeTracker(ours_memory, options).tracker;
  BareScan bare(*bare_memory);
  mycelium::PageBitmap found(ours_memory->pages());
  tracker->Scan(found);
  bare.Run();

  std::vector<int64_t> ours_ns;
  std::vector<int64_t> bare_ns;
  for (size_t sample = 0; sample < kWarmups + samples; ++sample) {
    Dirty(*ours_memory, pages, sample + 2);
    const int64_t ours_begin = NowNs();
    found.ClearAll();
    tracker->Scan(found);
    const int64_t ours_end = NowNs();
    Dirty(*bare_memory, pages, sample + 2);
    const int64_t bare_begin = NowNs();
    const uint64_t bytes = bare.Run();
    const int64_t bare_end = NowNs();
    Require(found.Count() >= pages.size(), "the tracker missed pages");
    Require(bytes >= pages.size() * mycelium::kPageBytes, "the bare loop missed pages");
    if (sample < kWarmups) continue;
    ours_ns.push_back(ours_end - ours_begin);
    bare_ns.push_back(bare_end - bare_begin);
  }
  const Summary ours = Summarise(ours_ns);
  const Summary peer = Summarise(bare_ns);
  std::printf(
      "{\"mebibytes\":%zu,\"percent\":%g,\"dirtyPages\":%zu,\"samples\":%zu,\"oursNs\":%lld,"
      "\"oursSpreadNs\":%lld,\"peerNs\":%lld,\"peerSpreadNs\":%lld,\"ratio\":%.4f}\n",
      mebibytes, percent, pages.size(), samples, static_cast<long long>(ours.median),
      static_cast<long long>(ours.spread), static_cast<long long>(peer.median),
      static_cast<long long>(peer.spread),
      static_cast<double>(ours.median) / static_cast<double>(std::max<int64_t>(peer.median, 1)));
}

}  // namespace

int main(int argc, char** argv) {
  const size_t mebibytes = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 256;
  const double percent = argc > 2 ? std::strtod(argv[2], nullptr) : 1;
  const size_t samples = argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 101;
  if (mebibytes == 0 || percent < 0 || percent > 100 || samples == 0) {
    std::fprintf(stderr, "usage: pagemap_scan MEBIBYTES PERCENT SAMPLES\n");
    return 2;
  }
  try {
    Bench(mebibytes, percent, samples);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "pagemap_scan: %s\n", error.what());
    return 1;
  }
  return 0;
}
