#include "core/anonymous_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <utility>

#include "core/failure.h"
#include "core/page_bitmap.h"

namespace mycelium {

namespace {

// Below this, one madvise and the faults that may follow cost more than the memory is worth.
constexpr size_t kGiveBackBytesMin = 16 * kPageBytes;

// Linux 5.14; not in the headers of every supported system. Older kernels answer EINVAL.
constexpr int kMadvPopulateWrite = 23;

size_t HostPageBytes() {
  static const size_t bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

}  // namespace

AnonymousMemory::AnonymousMemory(size_t bytes) : bytes_(bytes) {
  void* const data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) ThrowErrno("mmap", std::to_string(bytes) + " bytes");
  data_ = static_cast<uint8_t*>(data);
}

AnonymousMemory::AnonymousMemory(AnonymousMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

AnonymousMemory& AnonymousMemory::operator=(AnonymousMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

AnonymousMemory::~AnonymousMemory() {
  if (data_ != nullptr) munmap(data_, bytes_);
}

void AnonymousMemory::Populate() {
  madvise(data_, bytes_, MADV_HUGEPAGE);
  madvise(data_, bytes_, kMadvPopulateWrite);
}

void AnonymousMemory::PreferHuge(size_t offset, size_t bytes) {
  const size_t host = HostPageBytes();
  if (offset % host == 0 && bytes % host == 0) madvise(data_ + offset, bytes, MADV_HUGEPAGE);
}

bool AnonymousMemory::GiveBack(size_t offset, size_t bytes) {
  const size_t host = HostPageBytes();
  return bytes >= kGiveBackBytesMin && offset % host == 0 && bytes % host == 0 &&
         madvise(data_ + offset, bytes, MADV_DONTNEED) == 0;
}

void AnonymousMemory::Zero(size_t offset, size_t bytes) {
  if (!GiveBack(offset, bytes)) std::memset(data_ + offset, 0, bytes);
}

}  // namespace mycelium
