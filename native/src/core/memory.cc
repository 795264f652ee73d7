#include "core/memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <limits>
#include <stdexcept>

#include "core/failure.h"
#include "core/unique_fd.h"

namespace mycelium {
namespace {

// What /proc/PID/maps shows; the kernel's own bound is 249 bytes.
constexpr size_t kNameBytesMax = 64;

void CheckBytes(size_t bytes) {
  const auto host_page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const auto bytes_max = static_cast<size_t>(std::numeric_limits<off_t>::max());
  if (bytes != 0 && bytes % host_page == 0 && bytes <= bytes_max) return;
  throw std::invalid_argument("bytes must be a positive multiple of the page size " +
                              std::to_string(host_page) + ", got " + std::to_string(bytes));
}

uint8_t* Map(int fd, size_t bytes, bool writable) {
  const int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  void* data = mmap(nullptr, bytes, protection, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED) ThrowErrno("mmap", std::to_string(bytes) + " bytes");
  return static_cast<uint8_t*>(data);
}

}  // namespace

std::shared_ptr<Memory> Memory::Create(size_t bytes, const std::string& name) {
  CheckBytes(bytes);
  if (name.size() > kNameBytesMax || name.find('\0') != std::string::npos) {
    throw std::invalid_argument("name must have at most 64 bytes and no zero byte, got " +
                                std::to_string(name.size()) + " bytes");
  }
  UniqueFd fd(memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) ThrowErrno("memfd_create");
  if (ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    ThrowErrno("ftruncate", std::to_string(bytes) + " bytes");
  }
  // Nobody who gets the descriptor can make reads of the mapping fail with SIGBUS.
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) ThrowErrno("fcntl");
  uint8_t* data = Map(fd.get(), bytes, true);
  return std::shared_ptr<Memory>(new Memory(data, bytes, fd.release(), true));
}

std::shared_ptr<Memory> Memory::Adopt(int fd, size_t bytes, bool writable) {
  CheckBytes(bytes);
  UniqueFd own(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!own.valid()) ThrowErrno("fcntl", "descriptor " + std::to_string(fd));
  // statx, because fstat of a new libc is bound to a version that older systems do not have.
  struct statx status {};
  if (statx(own.get(), "", AT_EMPTY_PATH, STATX_TYPE | STATX_SIZE, &status) != 0) {
    ThrowErrno("statx", "descriptor " + std::to_string(fd));
  }
  if (!S_ISREG(status.stx_mode)) {
    throw std::invalid_argument("fd must be a regular file or a memfd, got mode " +
                                std::to_string(status.stx_mode & S_IFMT));
  }
  if (status.stx_size < bytes) {
    throw std::invalid_argument("bytes must be at most the length of the file, " +
                                std::to_string(status.stx_size) + ", got " + std::to_string(bytes));
  }
  uint8_t* data = Map(own.get(), bytes, writable);
  return std::shared_ptr<Memory>(new Memory(data, bytes, own.release(), writable));
}

Memory::~Memory() {
  munmap(data_, bytes_);
  close(fd_);
}

void Memory::PopulatedPages(PageBitmap& out) const {
  // Each seek gives an absolute position, so threads that share the file position (a duplicated
  // descriptor does) do not disturb each other.
  const auto end = static_cast<off_t>(bytes_);
  off_t position = 0;
  while (position < end) {
    const off_t data = lseek(fd_, position, SEEK_DATA);
    if (data < 0 && errno == ENXIO) return;  // holes up to the end
    if (data < 0 && errno != EINVAL) ThrowErrno("lseek");
    if (data < 0) {  // a file system that knows no holes
      out.SetRange(static_cast<size_t>(position) / kPageBytes, pages());
      return;
    }
    if (data >= end) return;
    off_t hole = lseek(fd_, data, SEEK_HOLE);
    if (hole < 0 && errno == ENXIO) {  // punched in between: look again from there
      position = data + static_cast<off_t>(kPageBytes);
      out.Set(static_cast<size_t>(data) / kPageBytes);
      continue;
    }
    if (hole < 0) ThrowErrno("lseek");
    if (hole > end) hole = end;
    const auto first = static_cast<size_t>(data) / kPageBytes;
    out.SetRange(first, (static_cast<size_t>(hole) + kPageBytes - 1) / kPageBytes);
    position = hole;
  }
}

}  // namespace mycelium
