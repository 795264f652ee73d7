/* LD_PRELOAD library for programs that must not be traced: makes a userfaultfd in the program's
 * own address space and sends it over the unix socket that MYCELIUM_UFFD_SOCKET names. The program
 * starts all the same if anything fails; whoever waits at the socket learns why, or times out.
 *
 * It serves the first program that loads it: start the program directly, not through a shell.
 * It takes itself out of the environment, so that children of the program do not load it. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "uffd_shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define USER_MODE_ONLY 1 /* UFFD_USER_MODE_ONLY; headers before Linux 5.11 lack it */

static int connect_to(const char *path) {
  struct sockaddr_un address;
  memset(&address, 0, sizeof(address));
  address.sun_family = AF_UNIX;
  if (strlen(path) >= sizeof(address.sun_path)) return -1;
  strcpy(address.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  int connected;
  do {
    connected = connect(fd, (struct sockaddr *)&address, sizeof(address));
  } while (connected != 0 && errno == EINTR);
  if (connected == 0) return fd;
  close(fd);
  return -1;
}

static void send_descriptor(int socket_fd, int uffd, struct mycelium_uffd_message *message) {
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control;
  memset(&control, 0, sizeof(control));
  struct iovec part = {message, sizeof(*message)};
  struct msghdr header;
  memset(&header, 0, sizeof(header));
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (uffd >= 0) {
    header.msg_control = control.bytes;
    header.msg_controllen = sizeof(control.bytes);
    struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(rights), &uffd, sizeof(int));
  }
  /* One small message into an empty socket: it goes as a whole or not at all. */
  while (sendmsg(socket_fd, &header, MSG_NOSIGNAL) < 0 && errno == EINTR) {
  }
}

__attribute__((constructor)) static void mycelium_uffd_shim(void) {
  const char *path = getenv("MYCELIUM_UFFD_SOCKET");
  if (path == NULL) return;
  struct mycelium_uffd_message message = {MYCELIUM_UFFD_MAGIC, MYCELIUM_UFFD_VERSION, getpid(), 0,
                                          0};
  /* With the privilege synchronous tracking works too; without it, the asynchronous one does. */
  int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
  if (uffd < 0) {
    message.user_mode = 1;
    uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | USER_MODE_ONLY);
  }
  if (uffd < 0) message.error = errno;
  int socket_fd = connect_to(path);
  if (socket_fd >= 0) {
    send_descriptor(socket_fd, uffd, &message);
    close(socket_fd);
  }
  if (uffd >= 0) close(uffd);
  unsetenv("LD_PRELOAD");
  unsetenv("MYCELIUM_UFFD_SOCKET");
}
