// One suite for all tiers, for writes by this process and by another one.
#include "core/tracker.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "core/failure.h"
#include "core/tracker_tiers.h"
#include "harness.h"
#include "remote_writer.h"

namespace mycelium::test {
namespace {

constexpr size_t kPages = 1024;

// How long writers and scans run against each other.
constexpr auto kStormTime = std::chrono::milliseconds(800);
// For machines that are emulated: there 800 ms may be too short for a storm to reach all pages.
constexpr auto kStormTimeMax = std::chrono::seconds(60);

struct Place {
  const char* name;
  bool remote;
};

constexpr Place kPlaces[] = {{"own process", false}, {"other process", true}};
constexpr TrackerTier kTiers[] = {TrackerTier::kAsync, TrackerTier::kSync, TrackerTier::kHash,
                                  TrackerTier::kShadow};

bool SeesContentOnly(TrackerTier tier) {
  return tier == TrackerTier::kHash || tier == TrackerTier::kShadow;
}

size_t HostPages() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)) / kPageBytes; }

// Only what a kernel or a lack of privilege explains is a reason to skip. A self-test that fails
// (ENOTSUP) is none: it may have found a fault of ours.
void SkipOrRethrow(const SystemFailure& failure) {
  const int error = failure.code().value();
  if (error != EPERM && error != ENOSYS && error != EINVAL) throw failure;
  SKIP(failure.what());
}

// A tracker of one tier, or the case is skipped with the reason why there is none.
struct Setup {
  Setup(TrackerTier tier, const Place& place, size_t pages = kPages)
      : memory(Memory::Create(pages * kPageBytes, "tracker-test")),
        writer(place.remote ? MakeRemoteWriter(memory) : MakeOwnWriter(memory)) {
    TrackerOptions options;
    options.tier = tier;
    options.pid = writer->pid();
    try {
      tracker = MakeTracker(memory, options).tracker;
    } catch (const SystemFailure& failure) {
      SkipOrRethrow(failure);
    }
  }

  // Populates all pages and forgets about it.
  void Settle() {
    for (size_t page = 0; page < memory->pages(); ++page) writer->WriteByUser(page, page + 1);
    Scan();
  }

  std::set<size_t> Scan() {
    PageBitmap found(memory->pages());
    tracker->Scan(found);
    std::set<size_t> pages;
    found.ForEach([&](size_t page) { pages.insert(page); });
    return pages;
  }

  // The pages that a write to `pages` is reported as.
  std::set<size_t> Reported(const std::set<size_t>& pages) const {
    if (SeesContentOnly(tracker->tier())) return pages;
    std::set<size_t> runs;
    for (const size_t page : pages) {
      const size_t first = page / HostPages() * HostPages();
      for (size_t index = 0; index < HostPages(); ++index) runs.insert(first + index);
    }
    return runs;
  }

  std::shared_ptr<Memory> memory;
  std::unique_ptr<Writer> writer;
  std::shared_ptr<DirtyTracker> tracker;
};

std::string Text(const std::set<size_t>& pages) {
  std::string text;
  for (const size_t page : pages) text += std::to_string(page) + " ";
  return text;
}

void ReportsExactly(TrackerTier tier, const Place& place) {
  Setup setup(tier, place);
  CHECK(setup.tracker->tier() == tier);
  setup.Settle();
  CHECK_EQ(Text(setup.Scan()), "");
  const std::set<std::set<size_t>> rounds = {
      {0}, {kPages - 1}, {63, 64, 65}, {1, 2, 3, 500, 700}, {0, 512, 513, kPages - 1}};
  uint64_t value = 1'000'000;
  for (const std::set<size_t>& pages : rounds) {
    for (const size_t page : pages) setup.writer->WriteByUser(page, ++value);
    CHECK_EQ(Text(setup.Scan()), Text(setup.Reported(pages)));
    CHECK_EQ(Text(setup.Scan()), "");
  }
}

void ReportsWritesBeforeTheFirstScan(TrackerTier tier, const Place& place) {
  Setup setup(tier, place);
  setup.writer->WriteByUser(7, 1);
  setup.writer->WriteByUser(900, 1);
  const std::set<size_t> found = setup.Scan();
  CHECK(found.contains(7));
  CHECK(found.contains(900));
  setup.Scan();
  CHECK_EQ(Text(setup.Scan()), "");
}

void ReportsWritesByTheKernel(TrackerTier tier, const Place& place) {
  Setup setup(tier, place);
  setup.Settle();
  setup.writer->WriteByKernel(10 * kPageBytes, 1, 0xaa);
  // From the middle of page 20 to the middle of page 23.
  setup.writer->WriteByKernel(20 * kPageBytes + 2048, 3 * kPageBytes, 0xbb);
  CHECK_EQ(Text(setup.Scan()), Text(setup.Reported({10, 20, 21, 22, 23})));
  CHECK_EQ(Text(setup.Scan()), "");
  CHECK(setup.memory->data()[23 * kPageBytes + 2047] == 0xbb);
}

void LeavesHolesAlone(TrackerTier tier, const Place& place) {
  constexpr size_t kSparsePages = 65536;  // 256 MiB
  Setup setup(tier, place, kSparsePages);
  const std::set<size_t> written = {0, 1000, 40000, kSparsePages - 1};
  for (const size_t page : written) setup.writer->WriteByUser(page, 5);
  const std::set<size_t> found = setup.Scan();
  for (const size_t page : written) CHECK(found.contains(page));
  setup.Scan();
  for (const size_t page : written) setup.writer->WriteByUser(page, 6);
  CHECK_EQ(Text(setup.Scan()), Text(setup.Reported(written)));
  PageBitmap populated(kSparsePages);
  setup.memory->PopulatedPages(populated);
  // Where the kernel gives huge pages to shared memory, a write may populate 512 pages.
  CHECK(populated.Count() <= written.size() * 512);
}

void ReportsWritesToPunchedPages(TrackerTier tier, const Place& place) {
  Setup setup(tier, place);
  setup.Settle();
  setup.writer->PunchHole(100 / HostPages() * HostPages());
  setup.Scan();  // a discarded page may be reported
  setup.writer->WriteByUser(100, 77);
  CHECK(setup.Scan().contains(100));
  setup.writer->PunchHole(200 / HostPages() * HostPages());
  setup.writer->WriteByUser(200, 78);  // no scan in between
  CHECK(setup.Scan().contains(200));
}

void ReportsPagesThatBecomeZero(TrackerTier tier, const Place& place) {
  Setup setup(tier, place);
  setup.Settle();
  setup.writer->WriteByUser(40, 0);
  CHECK_EQ(Text(setup.Scan()), Text(setup.Reported({40})));
  setup.writer->WriteByUser(40, 41);  // what it was before
  CHECK_EQ(Text(setup.Scan()), Text(setup.Reported({40})));
  // Nobody writes when a page is discarded, so only who compares contents must see it.
  if (!SeesContentOnly(tier)) return;
  setup.writer->PunchHole(80 / HostPages() * HostPages());
  CHECK(setup.Scan().contains(80));
  CHECK_EQ(Text(setup.Scan()), "");
  setup.writer->WriteByUser(80, 81);
  CHECK(setup.Scan().contains(80));
}

// The proof that matters: a copy kept by scans while writers run is the memory itself in the end.
void MissesNothingInAStorm(TrackerTier tier, const Place& place) {
  Setup setup(tier, place, 4 * kPages);
  const size_t pages = setup.memory->pages();
  std::vector<uint8_t> copy(setup.memory->bytes());
  size_t copied = 0;
  const auto sync = [&] {
    for (const size_t page : setup.Scan()) {
      std::memcpy(copy.data() + page * kPageBytes, setup.memory->data() + page * kPageBytes,
                  kPageBytes);
      ++copied;
    }
  };
  setup.writer->StartStorm();
  const auto begin = std::chrono::steady_clock::now();
  const auto lasted = [&] { return std::chrono::steady_clock::now() - begin; };
  while (lasted() < kStormTime || (copied <= pages && lasted() < kStormTimeMax)) sync();
  setup.writer->StopStorm();
  sync();
  size_t missed = 0;
  for (size_t page = 0; page < pages; ++page) {
    const size_t at = page * kPageBytes;
    if (std::memcmp(copy.data() + at, setup.memory->data() + at, kPageBytes) != 0) ++missed;
  }
  CHECK_EQ(missed, size_t{0});
  CHECK(copied > pages);
}

void LetsWritersGoAtTheEnd(TrackerTier tier, const Place& place) {
  Setup setup(tier, place);
  setup.Settle();
  setup.writer->StartStorm();
  setup.Scan();
  setup.tracker.reset();
  setup.writer->WriteByUser(1, 2);
  setup.writer->StopStorm();  // hangs if a writer was forgotten
  setup.writer->WriteByUser(3, 4);
}

void CanFollowAnother(TrackerTier tier, const Place& place) {
  Setup setup(tier, place);
  setup.Settle();
  setup.tracker.reset();
  TrackerOptions options;
  options.tier = tier;
  options.pid = setup.writer->pid();
  setup.tracker = MakeTracker(setup.memory, options).tracker;
  setup.Scan();
  setup.writer->WriteByUser(9, 12345);
  CHECK_EQ(Text(setup.Scan()), Text(setup.Reported({9})));
}

void SaysThatTheProcessHasEnded(TrackerTier tier, const Place&) {
  Setup setup(tier, kPlaces[1]);
  setup.Settle();
  kill(setup.writer->pid(), SIGKILL);
  // It dies a little later; from then on every scan must fail, at the latest when its parent
  // could have seen it.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  for (;;) {
    try {
      setup.Scan();
    } catch (const SystemFailure& failure) {
      CHECK_EQ(failure.code().value(), ESRCH);
      break;
    }
    CHECK(std::chrono::steady_clock::now() < deadline);
  }
  CHECK_THROWS(SystemFailure, setup.Scan());
}

void ReleasesEverything(TrackerTier tier, const Place& place) {
  Setup setup(tier, place);
  const auto count = [] {
    size_t open = 0;
    for (int fd = 0; fd < 1024; ++fd) open += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
    return open;
  };
  TrackerOptions options;
  options.tier = tier;
  options.pid = setup.writer->pid();
  setup.tracker.reset();
  const size_t before = count();
  for (int round = 0; round < 5; ++round) MakeTracker(setup.memory, options);
  CHECK_EQ(count(), before);
}

using Suite = void (*)(TrackerTier, const Place&);

constexpr std::pair<const char*, Suite> kSuite[] = {
    {"reports exactly the pages written", ReportsExactly},
    {"reports writes before the first scan", ReportsWritesBeforeTheFirstScan},
    {"reports writes by the kernel", ReportsWritesByTheKernel},
    {"leaves holes alone", LeavesHolesAlone},
    {"reports writes to punched pages", ReportsWritesToPunchedPages},
    {"reports pages that become zero", ReportsPagesThatBecomeZero},
    {"misses nothing in a storm of writes", MissesNothingInAStorm},
    {"lets writers go at the end", LetsWritersGoAtTheEnd},
    {"can follow another tracker", CanFollowAnother},
    {"releases all descriptors", ReleasesEverything},
};

const bool kRegistered = [] {
  for (const TrackerTier tier : kTiers) {
    const std::string name = std::string("tracker ") + TierName(tier) + ", ";
    for (const Place& place : kPlaces) {
      for (const auto& [what, run] : kSuite) {
        harness::Register(name + place.name + ": " + what,
                          [tier, &place, run = run] { run(tier, place); });
      }
    }
    harness::Register(name + "other process: says that it has ended",
                      [tier] { SaysThatTheProcessHasEnded(tier, kPlaces[1]); });
  }
  return true;
}();

TEST("make tracker: takes the best tier and says why better ones were refused") {
  const auto memory = Memory::Create(kPages * kPageBytes, "tracker-test");
  const TrackerReport report = MakeTracker(memory, {});
  size_t index = 0;
  for (const TrackerRejection& rejection : report.rejected) {
    CHECK(rejection.tier == kTiers[index++]);
    CHECK(!rejection.reason.empty());
  }
  CHECK(report.tracker->tier() == kTiers[index]);
}

TEST("make tracker: a process that does not exist is no reason to be content with less") {
  const auto memory = Memory::Create(kPages * kPageBytes, "tracker-test");
  Child child([] {});
  child.Join();
  TrackerOptions options;
  options.pid = child.pid();
  try {
    MakeTracker(memory, options);
    harness::Fail(__FILE__, __LINE__, "did not throw");
  } catch (const SystemFailure& failure) {
    CHECK_EQ(failure.code().value(), ESRCH);
  }
}

TEST("make tracker: a process without the memory is refused, not watched by other means") {
  TrackerOptions options;
  options.tier = TrackerTier::kAsync;
  const auto memory = Memory::Create(kPages * kPageBytes, "tracker-test");
  try {
    MakeTracker(memory, options);
  } catch (const SystemFailure& failure) {
    SkipOrRethrow(failure);  // then the mapping does not matter
  }
  const Child child([] { pause(); });
  const auto other = Memory::Create(kPages * kPageBytes, "tracker-test");
  options.tier.reset();
  options.pid = child.pid();
  CHECK_THROWS(MappingMissing, MakeTracker(other, options));
}

TEST("make tracker: refuses wrong arguments") {
  const auto memory = Memory::Create(kPages * kPageBytes, "tracker-test");
  CHECK_THROWS(std::invalid_argument, MakeTracker(nullptr, {}));
  TrackerOptions negative;
  negative.pid = -1;
  CHECK_THROWS(std::invalid_argument, MakeTracker(memory, negative));
  TrackerOptions shim;
  shim.method = DescriptorMethod::kShim;
  CHECK_THROWS(std::invalid_argument, MakeTracker(memory, shim));
  shim.pid = getpid();
  CHECK_THROWS(std::invalid_argument, MakeTracker(memory, shim));
}

TEST("make tracker: a second watch of the same mapping says so") {
  const auto memory = Memory::Create(kPages * kPageBytes, "tracker-test");
  TrackerOptions options;
  options.tier = TrackerTier::kAsync;
  std::shared_ptr<DirtyTracker> first;
  try {
    first = MakeTracker(memory, options).tracker;
  } catch (const SystemFailure& failure) {
    SkipOrRethrow(failure);
  }
  const std::string text = CHECK_THROWS(SystemFailure, MakeTracker(memory, options));
  CHECK(text.find("another tracker") != std::string::npos);
  // Left to choose, it takes one that can work beside the first.
  const TrackerReport report = MakeTracker(memory, {});
  CHECK(report.tracker->tier() == TrackerTier::kHash);
  CHECK_EQ(report.rejected.size(), size_t{2});
}

}  // namespace
}  // namespace mycelium::test
