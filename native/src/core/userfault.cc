#include "core/userfault.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "core/failure.h"
#include "core/kernel_abi.h"

namespace mycelium {
namespace {

// EAGAIN means that the address space is changing right now (an event is being delivered); we ask
// for no events, so it should never be seen at all.
constexpr int kAttemptsMax = 1000;

// On the machines of those who may open it, no capability is needed.
UniqueFd OpenByDevice() {
  const UniqueFd device(open("/dev/userfaultfd", O_RDWR | O_CLOEXEC));
  if (!device.valid()) return UniqueFd();
  return UniqueFd(ioctl(device.get(), kernel::kUserfaultfdNew, O_CLOEXEC | O_NONBLOCK));
}

}  // namespace

UniqueFd OpenUserfaultfd(FaultScope scope) {
  unsigned flags = O_CLOEXEC | O_NONBLOCK;
  if (scope == FaultScope::kUserMode) flags |= kernel::kUffdUserModeOnly;
  UniqueFd uffd(static_cast<int>(syscall(SYS_userfaultfd, flags)));
  if (uffd.valid()) return uffd;
  const int error = errno;
  if (error == EPERM && scope == FaultScope::kKernelToo) {
    UniqueFd by_device = OpenByDevice();
    if (by_device.valid()) return by_device;
    throw SystemFailure(error, "userfaultfd",
                        "userfaultfd for writes by the kernel needs CAP_SYS_PTRACE, "
                        "vm.unprivileged_userfaultfd=1 or access to /dev/userfaultfd");
  }
  errno = error;
  ThrowErrno("userfaultfd", error == ENOSYS ? "this kernel has none" : "");
}

void EnableFeatures(int uffd, uint64_t features) {
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = features;
  if (ioctl(uffd, UFFDIO_API, &api) != 0) {
    if (errno == EINVAL) {
      throw SystemFailure(EINVAL, "ioctl",
                          (features & kernel::kFeatureWpAsync) != 0
                              ? "UFFDIO_API: the kernel lacks asynchronous write protection "
                                "(needs Linux 6.7, on arm64 6.10)"
                              : "UFFDIO_API: the kernel lacks write protection of shared memory "
                                "(needs Linux 5.19)");
    }
    ThrowErrno("ioctl", "UFFDIO_API");
  }
}

void RegisterForWriteProtection(int uffd, uint64_t start, uint64_t bytes) {
  uffdio_register area{};
  area.range = {start, bytes};
  area.mode = UFFDIO_REGISTER_MODE_WP;
  if (ioctl(uffd, UFFDIO_REGISTER, &area) != 0) {
    ThrowErrno("ioctl", errno == EBUSY ? "UFFDIO_REGISTER: the memory is already watched by "
                                         "another tracker"
                                       : "UFFDIO_REGISTER");
  }
}

void Unregister(int uffd, uint64_t start, uint64_t bytes) {
  uffdio_range range{start, bytes};
  // It fails only when the address space is gone, and then there is nothing to undo.
  ioctl(uffd, UFFDIO_UNREGISTER, &range);
}

void SetWriteProtection(int uffd, uint64_t start, uint64_t bytes, bool is_protected) {
  uffdio_writeprotect change{};
  change.range = {start, bytes};
  change.mode = is_protected ? UFFDIO_WRITEPROTECT_MODE_WP : 0;
  for (int attempt = 1; ioctl(uffd, UFFDIO_WRITEPROTECT, &change) != 0; ++attempt) {
    if (errno == ESRCH) {
      throw SystemFailure(ESRCH, "ioctl", "UFFDIO_WRITEPROTECT: the process has ended");
    }
    if (errno == ENOENT) {
      throw SystemFailure(EFAULT, "ioctl", "UFFDIO_WRITEPROTECT: the memory is mapped no more");
    }
    if (errno != EAGAIN || attempt == kAttemptsMax) ThrowErrno("ioctl", "UFFDIO_WRITEPROTECT");
  }
}

}  // namespace mycelium
