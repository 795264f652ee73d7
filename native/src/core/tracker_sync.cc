// Tier B: the first write to each page waits until a thread of ours has noted it.
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "core/blocked_signals.h"
#include "core/descriptor.h"
#include "core/failure.h"
#include "core/kernel_abi.h"
#include "core/tracker_tiers.h"
#include "core/userfault.h"

namespace mycelium {
namespace {

constexpr uint64_t kFeatures = kernel::kFeaturePagefaultFlagWp | kernel::kFeatureWpHugetlbfsShmem;

// Faults taken per read of the descriptor.
constexpr size_t kMessagesPerRead = 64;

// Words of the set that one turn of a scan takes while writers wait: 4,096 pages, some
// milliseconds if all of them are dirty.
constexpr size_t kWordsPerTurn = 64;

class SyncTracker final : public DirtyTracker {
 public:
  SyncTracker(TrackerTarget target, uint64_t start, UniqueFd uffd)
      : target_(std::move(target)),
        start_(start),
        host_page_(static_cast<uint64_t>(sysconf(_SC_PAGESIZE))),
        uffd_(std::move(uffd)),
        stop_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        written_(target_.memory->pages()) {
    if (!stop_.valid()) ThrowErrno("eventfd");
    StartHandler();
    try {
      SetWriteProtection(uffd_.get(), start_, target_.memory->bytes(), true);
    } catch (...) {
      StopHandler();
      throw;
    }
  }

  ~SyncTracker() override { StopHandler(); }

  TrackerTier tier() const override { return TrackerTier::kSync; }

  void Scan(PageBitmap& out) override {
    const size_t words = written_.words().size();
    for (size_t word = 0; word < words; word += kWordsPerTurn) {
      ScanTurn(word, std::min(word + kWordsPerTurn, words), out);
    }
    // The set is complete even if the process ended meanwhile: each write was noted before it was
    // let through.
    if (target_.process != nullptr) target_.process->CheckAlive();
  }

 private:
  // Takes pages and protects them again as one step, as the handler notes and lets through as one
  // step. Else it could let a page through that was just taken, and its next writes would be lost.
  void ScanTurn(size_t first_word, size_t end_word, PageBitmap& out) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (failure_) std::rethrow_exception(failure_);
    size_t run_first = 0;
    size_t run_end = 0;
    const auto protect = [&] {
      if (run_first == run_end) return;
      SetWriteProtection(uffd_.get(), start_ + run_first * kPageBytes,
                         (run_end - run_first) * kPageBytes, true);
    };
    for (size_t index = first_word; index < end_word; ++index) {
      // Left in the set until all is protected: if that fails, nothing is lost.
      for (uint64_t word = written_.words()[index]; word != 0; word &= word - 1) {
        const size_t page = index * 64 + static_cast<size_t>(std::countr_zero(word));
        out.Set(page);
        if (page != run_end) {
          protect();
          run_first = page;
        }
        run_end = page + 1;
      }
    }
    protect();
    std::fill(written_.words().begin() + static_cast<ptrdiff_t>(first_word),
              written_.words().begin() + static_cast<ptrdiff_t>(end_word), 0);
  }

  void StartHandler() {
    const BlockedSignals blocked;  // signals of the program are for its own threads
    handler_ = std::thread([this] { HandleFaults(); });
  }

  void StopHandler() {
    const uint64_t one = 1;
    // It cannot fail: the counter is far from its limit.
    [[maybe_unused]] const ssize_t written = write(stop_.get(), &one, sizeof(one));
    handler_.join();
    Unregister(uffd_.get(), start_, target_.memory->bytes());  // wakes writers that wait
  }

  void HandleFaults() {
    try {
      while (WaitForFaults()) ReadFaults();
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex_);
      failure_ = std::current_exception();
      // Nobody answers any more: let all writers go. Scans fail from now on.
      Unregister(uffd_.get(), start_, target_.memory->bytes());
    }
  }

  // False when the tracker ends.
  bool WaitForFaults() {
    std::array<pollfd, 2> sources{{{uffd_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}}};
    while (poll(sources.data(), sources.size(), -1) < 0) {
      if (errno != EINTR) ThrowErrno("poll");
    }
    if ((sources[0].revents & (POLLERR | POLLNVAL)) != 0) {
      throw SystemFailure(EIO, "poll", "the userfaultfd reports an error");
    }
    return sources[1].revents == 0;
  }

  void ReadFaults() {
    std::array<uffd_msg, kMessagesPerRead> messages;
    const ssize_t got = read(uffd_.get(), messages.data(), sizeof(messages));
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;  // the writer was woken otherwise
    if (got < 0) ThrowErrno("read", "userfaultfd");
    const size_t count = static_cast<size_t>(got) / sizeof(uffd_msg);
    for (size_t index = 0; index < count; ++index) {
      const uffd_msg& message = messages[index];
      if (message.event != UFFD_EVENT_PAGEFAULT) continue;
      const uint64_t address = message.arg.pagefault.address / host_page_ * host_page_;
      const std::lock_guard<std::mutex> lock(mutex_);
      const uint64_t first = (address - start_) / kPageBytes;
      written_.SetRange(first, first + host_page_ / kPageBytes);
      SetWriteProtection(uffd_.get(), address, host_page_, false);
    }
  }

  TrackerTarget target_;
  uint64_t start_;
  uint64_t host_page_;
  UniqueFd uffd_;
  UniqueFd stop_;
  std::mutex mutex_;  // guards the set together with the protection, and failure_
  PageBitmap written_;
  std::exception_ptr failure_;
  std::thread handler_;
};

}  // namespace

std::unique_ptr<DirtyTracker> MakeSyncTracker(const TrackerTarget& target) {
  const ProcessWatch* process = target.process.get();
  const uint64_t start = process == nullptr ? reinterpret_cast<uint64_t>(target.memory->data())
                                            : FindMapping(*process, *target.memory);
  // Without the privilege a write by the kernel into a protected page would fail with EFAULT: the
  // watched program would break. So then this tier does not serve.
  UniqueFd uffd = process == nullptr
                      ? OpenUserfaultfd(FaultScope::kKernelToo)
                      : DescriptorOf(*process, target.options, FaultScope::kKernelToo);
  EnableFeatures(uffd.get(), kFeatures);
  RegisterForWriteProtection(uffd.get(), start, target.memory->bytes());
  return std::make_unique<SyncTracker>(target, start, std::move(uffd));
}

}  // namespace mycelium
