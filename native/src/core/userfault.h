// A userfaultfd and the operations of it that trackers need.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/unique_fd.h"

namespace mycelium {

// Whose writes must not fail while pages are protected.
enum class FaultScope {
  kUserMode,   // no privilege needed; enough for asynchronous write protection
  kKernelToo,  // also writes by the kernel (read(2) into the memory) can wait for a handler
};

// Of this process. Throws std::system_error (EPERM: no privilege for kKernelToo; ENOSYS).
UniqueFd OpenUserfaultfd(FaultScope scope);

// The first operation on a userfaultfd. Throws std::system_error (EINVAL: the kernel lacks one of
// `features`).
void EnableFeatures(int uffd, uint64_t features);

// Watches a range of the address space that `uffd` belongs to for write protection.
void RegisterForWriteProtection(int uffd, uint64_t start, uint64_t bytes);
void Unregister(int uffd, uint64_t start, uint64_t bytes);

// Sets or lifts write protection. Lifting wakes the writers that wait. Throws std::system_error
// (ESRCH: the address space is gone).
void SetWriteProtection(int uffd, uint64_t start, uint64_t bytes, bool is_protected);

}  // namespace mycelium
