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

 private:
  void Compare(PageBitmap& out) {
    const Memory& memory = *target_.memory;
    PageBitmap populated(memory.pages());
    memory.PopulatedPages(populated);
    for (size_t page = 0; page < memory.pages(); ++page) {
      uint8_t* shadow = shadow_.data() + page * kPageBytes;
      if (populated.Test(page)) {
        const uint8_t* now = memory.data() + page * kPageBytes;
        if (std::memcmp(now, shadow, kPageBytes) == 0) continue;
        // Later than the comparison: what is written in between is in the copy and reported, what
        // is written during the copy differs from it at the next scan.
        std::memcpy(shadow, now, kPageBytes);
        copied_.Set(page);
        out.Set(page);
      } else if (copied_.Test(page)) {  // became a hole, which is zeroes; reading would populate it
        shadow_.Zero(page * kPageBytes, kPageBytes);
        copied_.Clear(page);
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
