// Proves that a tier detects writes on this machine, before anything depends on it.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>

#include "core/failure.h"
#include "core/tracker_tiers.h"
#include "core/unique_fd.h"

namespace mycelium {
namespace {

constexpr size_t kHostPages = 32;

// Machine pages that are written, in both runs and by different hands.
constexpr std::array<size_t, 3> kByUser = {0, 5, kHostPages - 1};
constexpr size_t kByKernel = 17;

// Pages nobody wrote may be reported (the kernel is free to move pages about), but not always.
constexpr int kAttemptsMax = 3;

[[noreturn]] void Refuse(TrackerTier tier, const std::string& what) {
  throw SystemFailure(ENOTSUP, "self-test",
                      std::string("self-test of tier '") + TierName(tier) + "': " + what);
}

// read(2) into the memory: the kernel is the one who writes.
void WriteByKernel(TrackerTier tier, const UniqueFd& source, uint8_t* to, uint8_t value) {
  if (pwrite(source.get(), &value, 1, 0) != 1) ThrowErrno("pwrite");
  if (pread(source.get(), to, 1, 0) == 1 && *to == value) return;
  Refuse(tier, errno == EFAULT ? "a write by the kernel fails with EFAULT"
                               : "a write by the kernel fails");
}

class Trial {
 public:
  Trial(TrackerTier tier, const TrackerFactory& make)
      : tier_(tier),
        host_page_(static_cast<size_t>(sysconf(_SC_PAGESIZE))),
        memory_(Memory::Create(kHostPages * host_page_, "mycelium-self-test")),
        source_(memfd_create("mycelium-self-test-source", MFD_CLOEXEC)),
        expected_(memory_->pages()) {
    if (!source_.valid()) ThrowErrno("memfd_create");
    for (size_t page = 0; page < kHostPages; ++page) Write(page, 1);
    for (const size_t page : kByUser) Expect(page);
    Expect(kByKernel);
    tracker_ = make(tier, {memory_, nullptr, {}});
  }

  void Run() {
    Scan();  // what stood there before
    for (int attempt = 1; attempt <= kAttemptsMax; ++attempt) {
      if (Round(static_cast<uint8_t>(1 + attempt))) return;
    }
    Refuse(tier_, "reports pages that nobody wrote");
  }

 private:
  // False if pages were reported that nobody wrote.
  bool Round(uint8_t value) {
    for (const size_t page : kByUser) Write(page, value);
    WriteByKernel(tier_, source_, memory_->data() + kByKernel * host_page_, value);
    const PageBitmap first = Scan();
    const PageBitmap second = Scan();
    bool exact = second.Count() == 0;
    for (size_t page = 0; page < first.pages(); ++page) {
      if (expected_.Test(page) && !first.Test(page)) {
        Refuse(tier_, "misses a write to page " + std::to_string(page));
      }
      exact = exact && expected_.Test(page) == first.Test(page);
    }
    return exact;
  }

  PageBitmap Scan() {
    PageBitmap found(memory_->pages());
    tracker_->Scan(found);
    return found;
  }

  void Write(size_t host_page, uint8_t value) {
    *static_cast<volatile uint8_t*>(memory_->data() + host_page * host_page_) = value;
  }

  // Tiers that compare contents see the one page of ours that changed, the others the whole
  // machine page.
  void Expect(size_t host_page) {
    const bool by_content = tier_ == TrackerTier::kHash || tier_ == TrackerTier::kShadow;
    const size_t first = host_page * host_page_ / kPageBytes;
    expected_.SetRange(first, first + (by_content ? 1 : host_page_ / kPageBytes));
  }

  TrackerTier tier_;
  size_t host_page_;
  std::shared_ptr<Memory> memory_;
  UniqueFd source_;
  PageBitmap expected_;
  std::unique_ptr<DirtyTracker> tracker_;
};

}  // namespace

void SelfTest(TrackerTier tier, const TrackerFactory& make) { Trial(tier, make).Run(); }

}  // namespace mycelium
