#include "core/inject.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <thread>

#include "core/blocked_signals.h"
#include "core/failure.h"
#include "core/kernel_abi.h"
#include "core/tracee.h"

namespace mycelium {
namespace {

// Room for the helper: the search for the instruction takes 32 KiB of it. ASan needs more.
constexpr size_t kHelperStackBytes = size_t{512} << 10;

struct Injection {
  pid_t pid;
  int pidfd;
  uint64_t vdso_start;
  uint64_t vdso_end;
  unsigned flags;
  // Outcome. Until it ran: a failure.
  TraceFailure failure{EIO, "the helper process"};
  long remote_error = 0;  // errno of userfaultfd(2) over there
  int fd = -1;

  // Takes no memory and throws nothing: see Tracee.
  void Run() {
    failure = {};
    Tracee tracee(pid);
    Exchange(tracee);
    tracee.Release();
    if (failure.error == 0) failure = tracee.failure();
  }

 private:
  void Exchange(Tracee& tracee) {
    if (!tracee.Hold()) return;
    const uint64_t instruction = FindSyscallInstruction(pid, vdso_start, vdso_end);
    if (instruction == 0) {
      failure = {ENOTSUP, "looking for a system call instruction in the vDSO"};
      return;
    }
    long remote = -1;
    if (!tracee.Call(instruction, SYS_userfaultfd, {flags, 0, 0}, remote)) return;
    if (remote < 0) {
      remote_error = -remote;
      return;
    }
    fd = static_cast<int>(syscall(SYS_pidfd_getfd, pidfd, static_cast<int>(remote), 0));
    if (fd < 0) failure = {errno, "pidfd_getfd"};
    long closed = -1;
    tracee.Call(instruction, SYS_close, {static_cast<uint64_t>(remote), 0, 0}, closed);
  }
};

// In a helper process that shares our memory and descriptors, as vfork's child does. Not in a
// thread of ours: the stops of a traced child would be seen by every wait of this process, and
// libuv's for a child of Node takes a stop for its exit.
// False if no such helper can be had.
bool RunInHelper(Injection& injection) {
  void* stack = mmap(nullptr, kHelperStackBytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
  if (stack == MAP_FAILED) ThrowErrno("mmap");
  const auto body = [](void* data) -> int {
    static_cast<Injection*>(data)->Run();
    return 0;
  };
  const BlockedSignals blocked;  // handlers of the program must not run in the helper
  // No signal at its end (so nobody is told of a child it does not know), and this thread waits
  // until then: it returns only when the helper has ended.
  const pid_t helper = clone(body, static_cast<char*>(stack) + kHelperStackBytes,
                             CLONE_VM | CLONE_FILES | CLONE_VFORK, &injection);
  if (helper > 0) {
    while (waitpid(helper, nullptr, __WALL) < 0 && errno == EINTR) {
    }
  }
  munmap(stack, kHelperStackBytes);
  return helper > 0;
}

// While it lives, stops of children raise no SIGCHLD in this process.
class NoStopSignals {
 public:
  NoStopSignals() {
    sigaction(SIGCHLD, nullptr, &before_);
    struct sigaction quiet = before_;
    quiet.sa_flags |= SA_NOCLDSTOP;
    sigaction(SIGCHLD, &quiet, nullptr);
  }
  NoStopSignals(const NoStopSignals&) = delete;
  NoStopSignals& operator=(const NoStopSignals&) = delete;
  ~NoStopSignals() { sigaction(SIGCHLD, &before_, nullptr); }

 private:
  struct sigaction before_ {};
};

// In a thread of its own, whose end frees what it traces. Where Yama allows tracing of descendants
// only, a helper process may not, but this process may trace its children. What remains of the
// danger (see RunInHelper): another child ends within these microseconds, and the wait for the
// traced one that follows comes before ours.
void RunInThread(Injection& injection) {
  const NoStopSignals quiet;
  const BlockedSignals blocked;
  std::thread([&injection] { injection.Run(); }).join();
}

std::string WhatWouldHelp() {
  const UniqueFd fd(open("/proc/sys/kernel/yama/ptrace_scope", O_RDONLY | O_CLOEXEC));
  char scope = '\0';
  if (!fd.valid() || read(fd.get(), &scope, 1) != 1) {
    return "it must run as the same user and not be traced already, or this process needs "
           "CAP_SYS_PTRACE";
  }
  return std::string("kernel.yama.ptrace_scope is ") + scope +
         "; it must be 0 (or 1 for a child of this process), for a process of the same user that "
         "is not traced already, or this process needs CAP_SYS_PTRACE";
}

[[noreturn]] void ThrowFailure(const Injection& injection, FaultScope scope) {
  const std::string who = "process " + std::to_string(injection.pid);
  const int error = injection.failure.error;
  if (error == 0) {
    const auto remote = static_cast<int>(injection.remote_error);
    const bool lacks_privilege = remote == EPERM && scope == FaultScope::kKernelToo;
    throw SystemFailure(remote, "userfaultfd",
                        "userfaultfd in " + who +
                            (lacks_privilege ? " needs CAP_SYS_PTRACE there or "
                                               "vm.unprivileged_userfaultfd=1"
                                             : " is refused (its seccomp filter, or the kernel)"));
  }
  if (error == EPERM || error == EACCES) {
    throw SystemFailure(EPERM, "ptrace", "not permitted to trace " + who + ": " + WhatWouldHelp());
  }
  if (error == ESRCH) throw SystemFailure(ESRCH, "ptrace", who + " has ended");
  throw SystemFailure(error, "ptrace", "tracing " + who + " failed at " + injection.failure.step);
}

}  // namespace

UniqueFd InjectUserfaultfd(const ProcessWatch& process, FaultScope scope) {
  Injection injection{process.pid(), process.pidfd(), 0, 0, O_CLOEXEC | O_NONBLOCK};
  if (scope == FaultScope::kUserMode) injection.flags |= kernel::kUffdUserModeOnly;
  for (const ProcessMapping& mapping : ReadMappings(process)) {
    if (mapping.name != "[vdso]") continue;
    injection.vdso_start = mapping.start;
    injection.vdso_end = mapping.end;
  }
  if (!RunInHelper(injection) || injection.failure.error == EPERM) {
    process.CheckAlive();  // a zombie answers EPERM too
    RunInThread(injection);
  }
  UniqueFd uffd(injection.fd);
  if (injection.failure.error == 0 && uffd.valid()) return uffd;
  if (injection.failure.error != 0) process.CheckAlive();
  ThrowFailure(injection, scope);
}

}  // namespace mycelium
