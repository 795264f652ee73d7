#include "core/tracee.h"

#include <elf.h>
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace mycelium {
namespace {

// A thread in an uninterruptible wait (a dead NFS server) cannot be stopped.
constexpr int64_t kStopNsMax = 2'000'000'000;

// Once its registers are changed, letting go would break it: then only patience helps. Longer than
// any pause by a CPU quota or a snapshot of the machine.
constexpr int64_t kFinishNsMax = 30'000'000'000;

// Stops that are none of ours (signals that were on their way): more than a process can hold
// pending of the standard ones.
constexpr int kForeignStopsMax = 128;

// Waiting is by asking again: this often without sleeping, for a stop takes some microseconds.
constexpr int kAsksAwakeMax = 200;
constexpr long kAskPauseNs = 50'000;

// The kernel's set of signals has 64 bits.
constexpr size_t kSignalMaskBytes = 8;

// The first bytes of a vDSO that are searched; it has 8 KiB on x86-64 and 4 KiB on arm64.
constexpr size_t kSearchBytesMax = 32768;

int64_t NowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

#if defined(__x86_64__)

constexpr std::array<uint8_t, 2> kSyscallInstruction = {0x0f, 0x05};  // syscall
constexpr size_t kInstructionAlignment = 1;  // it works as well in the middle of another one

void PrepareCall(user_regs_struct& registers, uint64_t instruction, uint64_t number,
                 const std::array<uint64_t, 3>& arguments) {
  registers.rip = instruction;
  registers.rax = number;
  registers.orig_rax = ~uint64_t{0};  // in no system call: nothing to restart
  registers.rdi = arguments[0];
  registers.rsi = arguments[1];
  registers.rdx = arguments[2];
}

long ResultOf(const user_regs_struct& registers) { return static_cast<long>(registers.rax); }

#elif defined(__aarch64__)

constexpr std::array<uint8_t, 4> kSyscallInstruction = {0x01, 0x00, 0x00, 0xd4};  // svc #0
constexpr size_t kInstructionAlignment = 4;

// The kernel has already turned back to the interrupted call when it shows us the registers, and
// has forgotten its number: to restore them is enough. Only a timeout of an interrupted wait then
// begins anew.
void PrepareCall(user_regs_struct& registers, uint64_t instruction, uint64_t number,
                 const std::array<uint64_t, 3>& arguments) {
  registers.pc = instruction;
  registers.regs[8] = number;
  registers.regs[0] = arguments[0];
  registers.regs[1] = arguments[1];
  registers.regs[2] = arguments[2];
}

long ResultOf(const user_regs_struct& registers) { return static_cast<long>(registers.regs[0]); }

#else
#error "ptrace injection knows x86-64 and aarch64"
#endif

}  // namespace

bool Tracee::FailWith(int error, const char* step) {
  if (failure_.error == 0) failure_ = {error, step};
  return false;
}

bool Tracee::Fail(const char* step) { return FailWith(errno, step); }

// The next stop; kNone if none comes.
Tracee::Stop Tracee::Wait(int64_t deadline_ns, int& signal) {
  for (int asks = 0;; ++asks) {
    siginfo_t info{};
    if (waitid(P_PID, static_cast<id_t>(pid_), &info, WSTOPPED | WNOHANG | __WALL) != 0) {
      if (errno == EINTR) continue;
      FailWith(errno == ECHILD ? ESRCH : errno, "waitid");
      return Stop::kNone;
    }
    if (info.si_pid == pid_) {
      signal = info.si_status & 0x7f;
      if (info.si_status >> 8 == PTRACE_EVENT_STOP) return Stop::kEvent;
      return info.si_status == (SIGTRAP | 0x80) ? Stop::kSyscall : Stop::kSignal;
    }
    // Has it ended? Only a look: its end stays for its parent to see. (A tracer is shown stops
    // here too, asked or not.)
    siginfo_t ended{};
    if (waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0 &&
        ended.si_pid == pid_ && ended.si_code != CLD_TRAPPED && ended.si_code != CLD_STOPPED) {
      FailWith(ESRCH, "waitid");
      return Stop::kNone;
    }
    if (NowNs() >= deadline_ns) {
      FailWith(ETIMEDOUT, "waitid");
      return Stop::kNone;
    }
    if (asks < kAsksAwakeMax) {
      sched_yield();
    } else {
      const timespec pause{0, kAskPauseNs};
      nanosleep(&pause, nullptr);
    }
  }
}

// The stop that PTRACE_INTERRUPT asked for. Signals that come first are delivered.
bool Tracee::WaitForEvent(int64_t deadline_ns) {
  for (int stops = 0; stops < kForeignStopsMax; ++stops) {
    int signal = 0;
    const Stop stop = Wait(deadline_ns, signal);
    if (stop == Stop::kNone) return false;
    if (stop == Stop::kEvent) return true;
    const int deliver = stop == Stop::kSignal ? signal : 0;
    if (ptrace(PTRACE_CONT, pid_, nullptr, deliver) != 0) return Fail("PTRACE_CONT");
  }
  return FailWith(EBUSY, "PTRACE_INTERRUPT");
}

bool Tracee::WaitForSyscallStop(int64_t deadline_ns) {
  for (int stops = 0; stops < kForeignStopsMax; ++stops) {
    int signal = 0;
    const Stop stop = Wait(deadline_ns, signal);
    if (stop == Stop::kNone) return false;
    if (stop == Stop::kSyscall) return true;
    // All signals are blocked but SIGSTOP, which stops the process once we let it go.
    const int deliver = stop == Stop::kSignal ? signal : 0;
    if (ptrace(PTRACE_SYSCALL, pid_, nullptr, deliver) != 0) return Fail("PTRACE_SYSCALL");
  }
  return FailWith(EBUSY, "PTRACE_SYSCALL");
}

bool Tracee::GetRegisters(user_regs_struct& registers) {
  iovec part{&registers, sizeof(registers)};
  if (ptrace(PTRACE_GETREGSET, pid_, NT_PRSTATUS, &part) != 0) return Fail("PTRACE_GETREGSET");
  // A 32-bit process has fewer registers.
  return part.iov_len == sizeof(registers) || FailWith(ENOTSUP, "PTRACE_GETREGSET");
}

bool Tracee::SetRegisters(user_regs_struct registers) {
  iovec part{&registers, sizeof(registers)};
  return ptrace(PTRACE_SETREGSET, pid_, NT_PRSTATUS, &part) == 0 || Fail("PTRACE_SETREGSET");
}

bool Tracee::Hold() {
  if (ptrace(PTRACE_SEIZE, pid_, nullptr, PTRACE_O_TRACESYSGOOD) != 0) return Fail("PTRACE_SEIZE");
  seized_ = true;
  if (ptrace(PTRACE_INTERRUPT, pid_, nullptr, nullptr) != 0) return Fail("PTRACE_INTERRUPT");
  if (!WaitForEvent(NowNs() + kStopNsMax)) return false;
  held_ = true;
  if (!GetRegisters(saved_)) return false;
  if (ptrace(PTRACE_GETSIGMASK, pid_, kSignalMaskBytes, &signal_mask_) != 0) {
    return Fail("PTRACE_GETSIGMASK");
  }
  uint64_t all = ~uint64_t{0};
  if (ptrace(PTRACE_SETSIGMASK, pid_, kSignalMaskBytes, &all) != 0) {
    return Fail("PTRACE_SETSIGMASK");
  }
  changed_ = true;
  return true;
}

bool Tracee::Call(uint64_t instruction, uint64_t number, std::array<uint64_t, 3> arguments,
                  long& result) {
  user_regs_struct registers = saved_;
  PrepareCall(registers, instruction, number, arguments);
  if (!SetRegisters(registers)) return false;
  const int64_t deadline = NowNs() + kFinishNsMax;
  for (int side = 0; side < 2; ++side) {  // entry, exit
    if (ptrace(PTRACE_SYSCALL, pid_, nullptr, nullptr) != 0) return Fail("PTRACE_SYSCALL");
    if (!WaitForSyscallStop(deadline)) return false;
  }
  if (!GetRegisters(registers)) return false;
  result = ResultOf(registers);
  return true;
}

// Registers are restored in the same kind of stop in which they were saved, on the way out of
// signal handling: from there the kernel restarts an interrupted system call. At the exit from a
// system call it would not, and the program would see the kernel's inner code for "restart me".
bool Tracee::Restore() {
  if (ptrace(PTRACE_INTERRUPT, pid_, nullptr, nullptr) != 0) return Fail("PTRACE_INTERRUPT");
  // This fails if it runs already, after a failure in the middle of a call; the stop comes anyway.
  ptrace(PTRACE_CONT, pid_, nullptr, nullptr);
  if (!WaitForEvent(NowNs() + kFinishNsMax) || !SetRegisters(saved_)) return false;
  return ptrace(PTRACE_SETSIGMASK, pid_, kSignalMaskBytes, &signal_mask_) == 0 ||
         Fail("PTRACE_SETSIGMASK");
}

bool Tracee::Release() {
  if (!seized_) return true;
  seized_ = false;
  const bool restored = !changed_ || Restore();
  if (!held_) return restored;  // it is let go when the tracing thread ends
  if (ptrace(PTRACE_DETACH, pid_, nullptr, nullptr) != 0) return Fail("PTRACE_DETACH");
  return restored;
}

uint64_t FindSyscallInstruction(pid_t pid, uint64_t start, uint64_t end) {
  std::array<uint8_t, kSearchBytesMax> bytes;
  iovec here{bytes.data(), std::min<uint64_t>(end - start, bytes.size())};
  // SAFETY: an address of the other process, never used as a pointer here.
  iovec there{reinterpret_cast<void*>(start), here.iov_len};
  const ssize_t got = process_vm_readv(pid, &here, 1, &there, 1, 0);
  for (size_t at = 0; got > 0 && at + kSyscallInstruction.size() <= static_cast<size_t>(got);
       at += kInstructionAlignment) {
    if (std::memcmp(bytes.data() + at, kSyscallInstruction.data(), kSyscallInstruction.size()) ==
        0) {
      return start + at;
    }
  }
  return 0;
}

}  // namespace mycelium
