/* What the shim sends, once, together with the descriptor (SCM_RIGHTS). Both ends run on one
 * machine, so the byte order is its own. Plain C: the shim is loaded into foreign programs. */
#ifndef MYCELIUM_UFFD_SHIM_H
#define MYCELIUM_UFFD_SHIM_H

#include <stdint.h>

#define MYCELIUM_UFFD_MAGIC 0x4446554dU /* "MUFD" */
#define MYCELIUM_UFFD_VERSION 1U

struct mycelium_uffd_message {
  uint32_t magic;
  uint32_t version;
  int32_t pid;
  int32_t error;      /* errno of userfaultfd(2), and then no descriptor comes along; else 0 */
  uint32_t user_mode; /* 1: the descriptor has UFFD_USER_MODE_ONLY */
};

#endif
