#include "core/descriptor.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <string>

#include "core/failure.h"
#include "core/inject.h"
#include "shim/uffd_shim.h"

namespace mycelium {
namespace {

// The shim sends before main() of its program runs, so only the start of the process is awaited.
constexpr int kShimMsMax = 5000;

// Descriptors that may come along; more than one is an error, but none of them may leak.
constexpr size_t kDescriptorsMax = 8;

int64_t NowMs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

void WaitReadable(int socket) {
  const int64_t deadline = NowMs() + kShimMsMax;
  for (;;) {
    pollfd readable{socket, POLLIN, 0};
    const int64_t left = deadline - NowMs();
    const int count = poll(&readable, 1, left > 0 ? static_cast<int>(left) : 0);
    if (count > 0) return;
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) ThrowErrno("poll");
    throw SystemFailure(ETIMEDOUT, "recvmsg",
                        "the shim sent nothing for 5 seconds: is it in LD_PRELOAD?");
  }
}

// The message and the first descriptor that came with it; further ones are closed.
UniqueFd Receive(int socket, mycelium_uffd_message& message) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kDescriptorsMax)> control{};
  iovec part{&message, sizeof(message)};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  const ssize_t got = recvmsg(socket, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (got < 0) ThrowErrno("recvmsg", "shim socket");
  UniqueFd first;
  for (cmsghdr* rights = CMSG_FIRSTHDR(&header); rights != nullptr;
       rights = CMSG_NXTHDR(&header, rights)) {
    if (rights->cmsg_level != SOL_SOCKET || rights->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t index = 0; index < count; ++index) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(rights) + index * sizeof(int), sizeof(int));
      UniqueFd owned(fd);
      if (!first.valid()) first = std::move(owned);
    }
  }
  if (got != sizeof(message) || message.magic != MYCELIUM_UFFD_MAGIC ||
      message.version != MYCELIUM_UFFD_VERSION) {
    throw SystemFailure(EPROTO, "recvmsg", "what came from the shim socket is not its message");
  }
  return first;
}

// A descriptor of another process would be registered there without an error, and watch the wrong
// memory. So the kernel says who connected; what the message says is for processes in other pid
// namespaces only a number.
void CheckPeer(int socket, const ProcessWatch& process) {
  ucred peer{};
  socklen_t bytes = sizeof(peer);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0) ThrowErrno("getsockopt");
  if (peer.pid == process.pid()) return;
  throw SystemFailure(EPROTO, "recvmsg",
                      "the shim that sent the descriptor is in process " +
                          std::to_string(peer.pid) + ", not in " + std::to_string(process.pid()));
}

UniqueFd ReceiveFromShim(const ProcessWatch& process, int socket, FaultScope scope) {
  WaitReadable(socket);
  mycelium_uffd_message message{};
  UniqueFd uffd = Receive(socket, message);
  CheckPeer(socket, process);
  if (message.error != 0) {
    throw SystemFailure(message.error, "userfaultfd", "the shim may not make a userfaultfd");
  }
  if (!uffd.valid()) throw SystemFailure(EPROTO, "recvmsg", "the shim sent no descriptor");
  if (message.user_mode != 0 && scope == FaultScope::kKernelToo) {
    throw SystemFailure(EPERM, "userfaultfd",
                        "the program of the shim needs CAP_SYS_PTRACE or "
                        "vm.unprivileged_userfaultfd=1 for writes by the kernel");
  }
  return uffd;
}

}  // namespace

UniqueFd DescriptorOf(const ProcessWatch& process, const TrackerOptions& options,
                      FaultScope scope) {
  return options.method == DescriptorMethod::kShim
             ? ReceiveFromShim(process, options.shim_socket, scope)
             : InjectUserfaultfd(process, scope);
}

}  // namespace mycelium
