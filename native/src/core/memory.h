// A shared mapping of a memory file: the region of a Node program, the RAM of a guest, an image.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "core/page_bitmap.h"

namespace mycelium {

class Memory {
 public:
  // A new memfd (close-on-exec, sealed against shrinking and growing), mapped read-write.
  // `bytes` is a positive multiple of the machine's page size.
  // Throws std::invalid_argument, std::system_error.
  static std::shared_ptr<Memory> Create(size_t bytes, const std::string& name);
  // Duplicates `fd` and maps its first `bytes`; refuses a file that is shorter.
  static std::shared_ptr<Memory> Adopt(int fd, size_t bytes, bool writable);

  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory();

  uint8_t* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  size_t pages() const { return bytes_ / kPageBytes; }
  int fd() const { return fd_; }
  bool writable() const { return writable_; }

  // Pages that may hold something else than zeroes (SEEK_DATA): reading the others through the
  // mapping would make the kernel allocate them.
  void PopulatedPages(PageBitmap& out) const;

 private:
  Memory(uint8_t* data, size_t bytes, int fd, bool writable)
      : data_(data), bytes_(bytes), fd_(fd), writable_(writable) {}

  uint8_t* data_;
  size_t bytes_;
  int fd_;
  bool writable_;
};

}  // namespace mycelium
