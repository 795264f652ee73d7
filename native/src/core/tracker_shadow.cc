// Tier D: a copy of the memory to compare with. Depends on nothing at all, and costs the memory a
// second time. Reports the pages whose content changed.
#include <cstring>

#include "core/anonymous_memory.h"
#include "core/tracker_tiers.h"

namespace mycelium {
namespace {

class ShadowTracker final : public DirtyTracker {
 public:
  explicit ShadowTracker(const TrackerTarget& target)
      : target_(target), shadow_(target.memory->bytes()), copied_(target.memory->pages()) {
    PageBitmap ignored(target.memory->pages());
    Compare(ignored);
  }

  TrackerTier tier() const override { return TrackerTier::kShadow; }

  void Scan(PageBitmap& out) override {
    Compare(out);
    if (target_.process != nullptr) target_.process->CheckAlive();
  }

  void Taken(size_t page, const uint8_t* copy) override {
    if (copy != nullptr) {
      Keep(page, copy);
    } else if (copied_.Test(page)) {
      Forget(page);
    }
  }

 private:
  void Keep(size_t page, const uint8_t* content) {
    std::memcpy(shadow_.data() + page * kPageBytes, content, kPageBytes);
    copied_.Set(page);
  }

  void Forget(size_t page) {
    shadow_.Zero(page * kPageBytes, kPageBytes);
    copied_.Clear(page);
  }

  void Compare(PageBitmap& out) {
    const Memory& memory = *target_.memory;
    PageBitmap populated(memory.pages());
    memory.PopulatedPages(populated);
    for (size_t page = 0; page < memory.pages(); ++page) {
      const uint8_t* const shadow = shadow_.data() + page * kPageBytes;
      if (populated.Test(page)) {
        const uint8_t* now = memory.data() + page * kPageBytes;
        if (std::memcmp(now, shadow, kPageBytes) == 0) continue;
        // Later than the comparison: what is written in between is in the copy and reported, what
        // is written during the copy differs from it at the next scan.
        Keep(page, now);
        out.Set(page);
      } else if (copied_.Test(page)) {  // became a hole, which is zeroes; reading would populate it
        Forget(page);
        out.Set(page);
      }
    }
  }

  TrackerTarget target_;
  AnonymousMemory shadow_;
  PageBitmap copied_;  // pages of the shadow that were ever written
};

}  // namespace

std::unique_ptr<DirtyTracker> MakeShadowTracker(const TrackerTarget& target) {
  return std::make_unique<ShadowTracker>(target);
}

}  // namespace mycelium
