#include "core/page_staging.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "core/page_codec.h"

namespace mycelium {

namespace {

// 4 MiB: two huge pages; the cost of one step (a system call and zeroing) is then that of the
// zeroing alone.
constexpr size_t kSegmentPagesMax = 1024;

// What a peak needed is kept for about so many rounds.
constexpr size_t kPeakDecay = 8;

alignas(64) constexpr uint8_t kZeroPage[kPageBytes] = {};

}  // namespace

PageStaging::PageStaging(size_t pages)
    : staged_(pages),
      slots_(std::max<size_t>(pages, 1) * sizeof(Slot)),
      segment_pages_(std::clamp<size_t>(pages, 1, kSegmentPagesMax)) {
  if (pages > kPagesMax) throw std::out_of_range("more pages than a page number can name");
}

PageStaging::Slot* PageStaging::Slots() const {
  // SAFETY: a mapping is aligned to a page, and holds one Slot per page number.
  return reinterpret_cast<Slot*>(slots_.data());
}

const uint8_t* PageStaging::Data(Slot slot) const {
  if (slot == kZeroSlot) return kZeroPage;
  const size_t index = slot - 1;
  return segments_[index / segment_pages_].data() + index % segment_pages_ * kPageBytes;
}

uint8_t* PageStaging::Room(Slot slot) {
  const size_t index = slot - 1;
  return segments_[index / segment_pages_].data() + index % segment_pages_ * kPageBytes;
}

PageStaging::Slot PageStaging::Take() {
  if (!free_.empty()) {
    const Slot slot = free_.back();
    free_.pop_back();
    return slot;
  }
  if (used_ == segments_.size() * segment_pages_) {
    AnonymousMemory segment(segment_pages_ * kPageBytes);
    segment.Populate();
    segments_.push_back(std::move(segment));
    // Room for every slot to become free, so that Drop and Assign cannot fail.
    free_.reserve(segments_.size() * segment_pages_);
  }
  return static_cast<Slot>(++used_);
}

void PageStaging::Drop(Slot slot) {
  if (slot != kZeroSlot) free_.push_back(slot);
}

void PageStaging::Assign(size_t page, Slot slot) {
  if (staged_.Test(page)) {
    Drop(Slots()[page]);
  } else {
    staged_.Set(page);
    ++count_;
  }
  Slots()[page] = slot;
}

void PageStaging::Clear() {
  recent_peak_ = std::max(used_, recent_peak_ - recent_peak_ / kPeakDecay);
  used_ = 0;
  count_ = 0;
  free_.clear();
  staged_.ClearAll();
  // What was needed of late, and one step more: it is there already when the next capture, during
  // which a guest stands still, needs a little more.
  const size_t keep = (recent_peak_ + segment_pages_ - 1) / segment_pages_ + 1;
  if (segments_.size() > keep) {
    segments_.resize(keep);
    free_.shrink_to_fit();
    free_.reserve(segments_.size() * segment_pages_);
  }
}

}  // namespace mycelium
