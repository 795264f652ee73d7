// Tier A: the kernel notes writes in the page tables, nobody waits for anybody.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "core/descriptor.h"
#include "core/failure.h"
#include "core/kernel_abi.h"
#include "core/tracker_tiers.h"
#include "core/userfault.h"

namespace mycelium {
namespace {

constexpr uint64_t kFeatures = kernel::kFeaturePagefaultFlagWp | kernel::kFeatureWpHugetlbfsShmem |
                               kernel::kFeatureWpUnpopulated | kernel::kFeatureWpAsync;

// Regions per call of the kernel. 4,096 of them take 96 KiB and more would save nothing: the
// kernel itself works on 512 at a time.
constexpr size_t kRegionsPerCall = 4096;

class AsyncTracker final : public DirtyTracker {
 public:
  AsyncTracker(TrackerTarget target, uint64_t start, UniqueFd pagemap, UniqueFd uffd)
      : target_(std::move(target)),
        start_(start),
        pagemap_(std::move(pagemap)),
        uffd_(std::move(uffd)),
        regions_(kRegionsPerCall) {}

  TrackerTier tier() const override { return TrackerTier::kAsync; }

  void Scan(PageBitmap& out) override {
    const uint64_t end = start_ + target_.memory->bytes();
    for (uint64_t at = start_; at < end;) at = ScanOnce(at, end, out);
    CheckAddressSpace();
  }

 private:
  // Gets and protects again in one step. Exactly these masks: they take the kernel's fast path,
  // which also reports entries of the page table that are not populated.
  uint64_t ScanOnce(uint64_t from, uint64_t end, PageBitmap& out) {
    kernel::PagemapScanArg scan{};
    scan.size = sizeof(scan);
    scan.flags = kernel::kScanWpMatching | kernel::kScanCheckWpAsync;
    scan.start = from;
    scan.end = end;
    scan.vec = reinterpret_cast<uint64_t>(regions_.data());
    scan.vec_len = regions_.size();
    scan.category_mask = kernel::kPageIsWritten;
    scan.return_mask = kernel::kPageIsWritten;
    const int count = ioctl(pagemap_.get(), kernel::kPagemapScan, &scan);
    if (count < 0 && errno == ESRCH) ThrowEnded();
    if (count < 0) {
      ThrowErrno("ioctl", errno == EPERM ? "PAGEMAP_SCAN: the memory was mapped anew and is not "
                                           "watched any more"
                                         : "PAGEMAP_SCAN");
    }
    for (int index = 0; index < count; ++index) {
      const kernel::PageRegion& region = regions_[static_cast<size_t>(index)];
      // Regions are whole machine pages, which may be several of ours.
      out.SetRange((region.start - start_) / kPageBytes, (region.end - start_) / kPageBytes);
    }
    if (scan.walk_end <= from) throw SystemFailure(EIO, "ioctl", "PAGEMAP_SCAN does not advance");
    return scan.walk_end;
  }

  // On some kernels a scan of an address space that is gone finds nothing and succeeds (6.18 says
  // ESRCH). So what was found counts only if the address space is still there afterwards: a read
  // of pagemap then gives an entry, else end of file. (The process itself is no witness: it loses
  // its address space first, and it keeps its number when it executes another program.)
  void CheckAddressSpace() const {
    if (target_.process == nullptr) return;
    uint64_t entry = 0;
    const auto offset =
        static_cast<off_t>(start_ / static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) * sizeof(entry));
    const ssize_t got = pread(pagemap_.get(), &entry, sizeof(entry), offset);
    if (got < 0) ThrowErrno("pread", "pagemap");
    if (got == sizeof(entry)) return;
    ThrowEnded();
  }

  [[noreturn]] void ThrowEnded() const {
    const pid_t pid = target_.process == nullptr ? getpid() : target_.process->pid();
    throw SystemFailure(ESRCH, "ioctl", "process " + std::to_string(pid) + " has ended");
  }

  TrackerTarget target_;
  uint64_t start_;
  UniqueFd pagemap_;
  UniqueFd uffd_;  // the watch lasts as long as it is open
  std::vector<kernel::PageRegion> regions_;
};

}  // namespace

std::unique_ptr<DirtyTracker> MakeAsyncTracker(const TrackerTarget& target) {
  const ProcessWatch* process = target.process.get();
  const uint64_t start = process == nullptr ? reinterpret_cast<uint64_t>(target.memory->data())
                                            : FindMapping(*process, *target.memory);
  const std::string who = process == nullptr ? "self" : std::to_string(process->pid());
  UniqueFd pagemap(open(("/proc/" + who + "/pagemap").c_str(), O_RDONLY | O_CLOEXEC));
  if (!pagemap.valid()) ThrowErrno("open", "/proc/" + who + "/pagemap");
  if (process != nullptr) process->CheckAlive();
  UniqueFd uffd = process == nullptr
                      ? OpenUserfaultfd(FaultScope::kUserMode)
                      : DescriptorOf(*process, target.options, FaultScope::kUserMode);
  EnableFeatures(uffd.get(), kFeatures);
  RegisterForWriteProtection(uffd.get(), start, target.memory->bytes());
  auto tracker = std::make_unique<AsyncTracker>(target, start, std::move(pagemap), std::move(uffd));
  // Nothing is protected yet, so nothing is lost: the first scan of the caller reports whatever
  // is populated, and protects.
  return tracker;
}

}  // namespace mycelium
