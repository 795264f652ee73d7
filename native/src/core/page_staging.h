// Pages kept aside: on the way out between capture and encoding, on the way in between arrival and
// applying. Memory grows in steps, stays for the next time, and is given back after a peak.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/anonymous_memory.h"
#include "core/page_bitmap.h"

namespace mycelium {

class PageStaging {
 public:
  // A place for the content of one page. kZeroSlot needs no place.
  using Slot = uint32_t;
  static constexpr Slot kZeroSlot = 0;

  // For pages 0 .. pages - 1. Throws std::out_of_range beyond kPagesMax, SystemFailure.
  explicit PageStaging(size_t pages);

  const PageBitmap& pages() const { return staged_; }
  size_t count() const { return count_; }
  bool Has(size_t page) const { return staged_.Test(page); }
  // kZeroSlot also if the page is not staged.
  Slot SlotOf(size_t page) const { return staged_.Test(page) ? Slots()[page] : kZeroSlot; }
  // kPageBytes, valid until the slot is dropped.
  const uint8_t* Data(Slot slot) const;
  // The same for writing; not for kZeroSlot.
  uint8_t* Room(Slot slot);

  // A slot with any content. Throws SystemFailure or std::bad_alloc: nothing has changed.
  Slot Take();
  // For a slot that was taken and not given to a page.
  void Drop(Slot slot);
  // The page's content is from now on that of `slot`; what it had before is dropped.
  void Assign(size_t page, Slot slot);
  // No page is staged any more.
  void Clear();
  // What is taken from the system for contents.
  size_t memory_bytes() const { return segments_.size() * segment_pages_ * kPageBytes; }

 private:
  Slot* Slots() const;

  PageBitmap staged_;
  size_t count_ = 0;
  AnonymousMemory slots_;  // a Slot per page, meaningful where `staged_` has the page
  std::vector<AnonymousMemory> segments_;
  size_t segment_pages_;
  std::vector<Slot> free_;
  size_t used_ = 0;         // slots that were ever taken since Clear
  size_t recent_peak_ = 0;  // of `used_`, decaying
};

}  // namespace mycelium
