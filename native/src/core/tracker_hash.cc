// Tier C: a hash of each page. Works everywhere, costs a read of all populated memory per scan,
// and reports the pages whose content changed. Two contents of a page with the same hash are taken
// for equal: 2^-64 for each page that changed.
#include <vector>

#include "core/page_hash.h"
#include "core/tracker_tiers.h"

namespace mycelium {
namespace {

class HashTracker final : public DirtyTracker {
 public:
  explicit HashTracker(const TrackerTarget& target)
      : target_(target), hashes_(target.memory->pages()) {
    PageBitmap ignored(target.memory->pages());
    Compare(ignored);
  }

  TrackerTier tier() const override { return TrackerTier::kHash; }

  void Scan(PageBitmap& out) override {
    Compare(out);
    if (target_.process != nullptr) target_.process->CheckAlive();
  }

  void Taken(size_t page, const uint8_t* copy) override {
    hashes_[page] = copy == nullptr ? 0 : HashPage(copy, page);
  }

 private:
  // A page that is written while it is hashed gets the hash of a mixture, which the next scan will
  // find to differ, unless it was read as it then stays; in both cases it is reported.
  void Compare(PageBitmap& out) {
    const Memory& memory = *target_.memory;
    PageBitmap populated(memory.pages());
    memory.PopulatedPages(populated);
    for (size_t page = 0; page < memory.pages(); ++page) {
      // Reading a hole would populate it. It counts as a page of zeroes, whose hash is 0.
      const uint64_t hash =
          populated.Test(page) ? HashPage(memory.data() + page * kPageBytes, page) : 0;
      if (hash == hashes_[page]) continue;
      hashes_[page] = hash;
      out.Set(page);
    }
  }

  TrackerTarget target_;
  std::vector<uint64_t> hashes_;
};

}  // namespace

std::unique_ptr<DirtyTracker> MakeHashTracker(const TrackerTarget& target) {
  return std::make_unique<HashTracker>(target);
}

}  // namespace mycelium
