// A set of page numbers. Pages are always kPageBytes long, whatever the page size of the machine:
// trackers of machines with larger pages report runs.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace mycelium {

inline constexpr size_t kPageBytes = 4096;

class PageBitmap {
 public:
  explicit PageBitmap(size_t pages) : pages_(pages), words_((pages + 63) / 64) {}

  size_t pages() const { return pages_; }
  std::span<const uint64_t> words() const { return words_; }
  std::span<uint64_t> words() { return words_; }

  bool Test(size_t page) const { return (words_[page / 64] >> (page % 64) & 1) != 0; }
  void Set(size_t page) { words_[page / 64] |= uint64_t{1} << (page % 64); }
  void Clear(size_t page) { words_[page / 64] &= ~(uint64_t{1} << (page % 64)); }
  void SetRange(size_t first, size_t end) {
    for (size_t page = first; page < end; ++page) Set(page);
  }
  void ClearAll() { words_.assign(words_.size(), 0); }
  size_t Count() const {
    size_t count = 0;
    for (const uint64_t word : words_) count += static_cast<size_t>(std::popcount(word));
    return count;
  }

  // Calls f(page) for each page of the set, ascending.
  template <typename F>
  void ForEach(F&& f) const {
    for (size_t index = 0; index < words_.size(); ++index) {
      for (uint64_t word = words_[index]; word != 0; word &= word - 1) {
        f(index * 64 + static_cast<size_t>(std::countr_zero(word)));
      }
    }
  }

 private:
  size_t pages_;
  std::vector<uint64_t> words_;
};

}  // namespace mycelium
