// Private memory of zeroes that costs nothing until it is written.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mycelium {

class AnonymousMemory {
 public:
  AnonymousMemory() = default;
  // `bytes` > 0. Throws SystemFailure.
  explicit AnonymousMemory(size_t bytes);
  AnonymousMemory(AnonymousMemory&& other) noexcept;
  AnonymousMemory& operator=(AnonymousMemory&& other) noexcept;
  ~AnonymousMemory();

  uint8_t* data() const { return data_; }
  size_t bytes() const { return bytes_; }

  // Asks for huge pages and takes the memory now instead of at the first writes. Only a hint.
  void Populate();
  // A hint for a range of which at least half will be written: memory comes in huge pages there.
  void PreferHuge(size_t offset, size_t bytes);
  // Gives the memory of a range back if that is worth a system call: what the range holds is lost
  // either way. True: it is zero now.
  bool GiveBack(size_t offset, size_t bytes);
  // Makes a range zero, by giving it back or by writing.
  void Zero(size_t offset, size_t bytes);

 private:
  uint8_t* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace mycelium
