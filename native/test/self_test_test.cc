// Trackers that do not do what they promise must not pass.
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "core/failure.h"
#include "core/tracker_tiers.h"
#include "harness.h"

namespace mycelium::test {
namespace {

size_t HostPageBytes() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

// What becomes of a scan. The number counts the scans of one tracker, from 1.
using Fault = std::function<void(const std::shared_ptr<Memory>&, PageBitmap&, int)>;

// A tracker that works everywhere, but for its fault.
class FaultyTracker : public DirtyTracker {
 public:
  FaultyTracker(TrackerTier tier, const TrackerTarget& target, Fault fault)
      : tier_(tier),
        memory_(target.memory),
        tracker_(MakeShadowTracker(target)),
        fault_(std::move(fault)) {}

  TrackerTier tier() const override { return tier_; }

  void Scan(PageBitmap& out) override {
    tracker_->Scan(out);
    fault_(memory_, out, ++scans_);
  }

 private:
  TrackerTier tier_;
  std::shared_ptr<Memory> memory_;
  std::unique_ptr<DirtyTracker> tracker_;
  Fault fault_;
  int scans_ = 0;
};

TrackerFactory With(Fault fault) {
  return [fault = std::move(fault)](TrackerTier tier, const TrackerTarget& target) {
    return std::make_unique<FaultyTracker>(tier, target, fault);
  };
}

Fault None() {
  return [](const std::shared_ptr<Memory>&, PageBitmap&, int) {};
}

Fault Missing(size_t page) {
  return [page](const std::shared_ptr<Memory>&, PageBitmap& out, int) { out.Clear(page); };
}

Fault ReportingEverything() {
  return [](const std::shared_ptr<Memory>&, PageBitmap& out, int) { out.SetRange(0, out.pages()); };
}

// As a tracker would that takes the right to write away and does not give it back to the kernel.
Fault BreakingWritesByTheKernel() {
  return [](const std::shared_ptr<Memory>& memory, PageBitmap&, int) {
    mprotect(memory->data() + 17 * HostPageBytes(), HostPageBytes(), PROT_READ);
  };
}

// The text with which the self-test refuses; it must be a lack of support, nothing worse.
std::string Refusal(const Fault& fault) {
  try {
    SelfTest(TrackerTier::kShadow, With(fault));
  } catch (const SystemFailure& failure) {
    CHECK_EQ(failure.code().value(), ENOTSUP);
    return failure.what();
  }
  harness::Fail(__FILE__, __LINE__, "it passed");
}

bool Says(const std::string& text, const std::string& what) {
  return text.find(what) != std::string::npos;
}

TEST("self-test: passes a tracker that works") { SelfTest(TrackerTier::kShadow, With(None())); }

TEST("self-test: refuses a tracker that misses a write, by user mode or by the kernel") {
  // The first page, one in the middle, the last, and the one that the kernel writes.
  for (const size_t host_page : {0, 5, 31, 17}) {
    const size_t page = host_page * HostPageBytes() / kPageBytes;
    const std::string text = Refusal(Missing(page));
    CHECK(Says(text, "tier 'shadow': misses a write to page " + std::to_string(page) + ":"));
  }
}

TEST("self-test: refuses a tracker that sees a write one scan too late") {
  const auto before = std::make_shared<PageBitmap>(1);
  const std::string text =
      Refusal([before](const std::shared_ptr<Memory>&, PageBitmap& out, int scan) {
        if (scan == 1) return;
        if (scan == 2) *before = PageBitmap(out.pages());
        std::swap(*before, out);
      });
  CHECK(Says(text, "misses a write to page 0"));
}

TEST("self-test: refuses a tracker that keeps reporting what nobody wrote") {
  const std::string reason = "tier 'shadow': reports pages that nobody wrote";
  CHECK(Says(Refusal(ReportingEverything()), reason));
  // One page is enough, also if only the scan after the writes has it.
  const Fault late = [](const std::shared_ptr<Memory>&, PageBitmap& out, int scan) {
    if (scan % 2 == 1) out.Set(3);
  };
  CHECK(Says(Refusal(late), reason));
}

TEST("self-test: bears a page too many once") {
  const Fault once = [](const std::shared_ptr<Memory>&, PageBitmap& out, int scan) {
    if (scan <= 3) out.Set(3);
  };
  SelfTest(TrackerTier::kShadow, With(once));
}

TEST("self-test: refuses a tracker under which writes by the kernel fail") {
  CHECK(Says(Refusal(BreakingWritesByTheKernel()),
             "tier 'shadow': a write by the kernel fails with EFAULT"));
}

TEST("make tracker: goes on to the next tier with the reason, and says so if none is left") {
  const TrackerFactory broken_but_shadow = [](TrackerTier tier, const TrackerTarget& target) {
    const Fault faults[] = {Missing(0), ReportingEverything(), BreakingWritesByTheKernel(), None()};
    return With(faults[static_cast<size_t>(tier)])(tier, target);
  };
  const auto memory = Memory::Create(16 * HostPageBytes(), "self-test-test");
  const TrackerReport report = ChooseTracker(memory, {}, broken_but_shadow);
  CHECK(report.tracker->tier() == TrackerTier::kShadow);
  CHECK_EQ(report.rejected.size(), size_t{3});
  const char* const reasons[] = {"'async': misses a write", "'sync': reports pages",
                                 "'hash': a write by the kernel fails with EFAULT"};
  for (size_t index = 0; index < 3; ++index) {
    CHECK(report.rejected[index].tier == static_cast<TrackerTier>(index));
    CHECK(Says(report.rejected[index].reason, reasons[index]));
  }
  TrackerOptions forced;
  forced.tier = TrackerTier::kSync;
  CHECK(Says(CHECK_THROWS(SystemFailure, ChooseTracker(memory, forced, broken_but_shadow)),
             "'sync': reports pages"));
  CHECK(Says(CHECK_THROWS(SystemFailure, ChooseTracker(memory, {}, With(Missing(0)))),
             "no tracker serves: self-test of tier 'shadow': misses a write"));
}

}  // namespace
}  // namespace mycelium::test
