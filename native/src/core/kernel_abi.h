// Kernel interfaces that are newer than the headers of the oldest systems we build on (Debian 12:
// Linux 6.1). The values are the kernel's stable ABI; the names are ours, so that newer headers do
// not clash.
#pragma once

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#include <cstdint>

namespace mycelium::kernel {

// userfaultfd(2), flags of the call. With it the descriptor needs no privilege; faults that the
// kernel itself runs into are then refused (EFAULT) where a handler would have to answer, but in
// asynchronous write protection nobody has to.
inline constexpr unsigned kUffdUserModeOnly = 1;  // UFFD_USER_MODE_ONLY, Linux 5.11

// Features of UFFDIO_API.
inline constexpr uint64_t kFeaturePagefaultFlagWp = 1 << 0;    // Linux 5.7
inline constexpr uint64_t kFeatureWpHugetlbfsShmem = 1 << 12;  // Linux 5.19
inline constexpr uint64_t kFeatureWpUnpopulated = 1 << 13;     // Linux 6.4
inline constexpr uint64_t kFeatureWpAsync = 1 << 15;           // Linux 6.7

// /dev/userfaultfd, Linux 6.1: a descriptor without UFFD_USER_MODE_ONLY for whoever may open it.
inline constexpr unsigned long kUserfaultfdNew = _IO(0xAA, 0x00);  // USERFAULTFD_IOC_NEW

// ioctl PAGEMAP_SCAN on /proc/PID/pagemap, Linux 6.7 (arm64: 6.10, when it got uffd-wp).
struct PageRegion {
  uint64_t start;
  uint64_t end;
  uint64_t categories;
};
static_assert(sizeof(PageRegion) == 24);

struct PagemapScanArg {
  uint64_t size;
  uint64_t flags;
  uint64_t start;
  uint64_t end;
  uint64_t walk_end;
  uint64_t vec;
  uint64_t vec_len;
  uint64_t max_pages;
  uint64_t category_inverted;
  uint64_t category_mask;
  uint64_t category_anyof_mask;
  uint64_t return_mask;
};
static_assert(sizeof(PagemapScanArg) == 96);

inline constexpr unsigned long kPagemapScan = _IOWR('f', 16, PagemapScanArg);
static_assert(kPagemapScan == 0xc0606610);

inline constexpr uint64_t kScanWpMatching = 1 << 0;    // PM_SCAN_WP_MATCHING
inline constexpr uint64_t kScanCheckWpAsync = 1 << 1;  // PM_SCAN_CHECK_WPASYNC
inline constexpr uint64_t kPageIsWritten = 1 << 1;     // PAGE_IS_WRITTEN

}  // namespace mycelium::kernel
