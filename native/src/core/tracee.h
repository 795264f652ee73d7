// A thread of another process under ptrace. Takes no memory and throws nothing, because it works
// in a helper process that shares the address space of its parent.
#pragma once

#include <signal.h>
#include <sys/types.h>
#include <sys/user.h>

#include <array>
#include <cstdint>

namespace mycelium {

// Why a step could not be made.
struct TraceFailure {
  int error = 0;  // errno; 0: none
  const char* step = "";
};

class Tracee {
 public:
  explicit Tracee(pid_t pid) : pid_(pid) {}
  Tracee(const Tracee&) = delete;
  Tracee& operator=(const Tracee&) = delete;
  // Restores and lets go, if it is held.
  ~Tracee() { Release(); }

  // Stops it and saves its registers and signal mask.
  bool Hold();
  // Makes it execute a system call at the instruction found at `instruction`. False on failure to
  // do so; what the call itself returned (-errno) is in `result`.
  bool Call(uint64_t instruction, uint64_t number, std::array<uint64_t, 3> arguments, long& result);
  // Undoes all and lets it run on. Idempotent.
  bool Release();

  const TraceFailure& failure() const { return failure_; }

 private:
  enum class Stop { kEvent, kSyscall, kSignal, kNone };

  bool Fail(const char* step);
  bool FailWith(int error, const char* step);
  Stop Wait(int64_t deadline_ns, int& signal);
  bool WaitForEvent(int64_t deadline_ns);
  bool WaitForSyscallStop(int64_t deadline_ns);
  bool GetRegisters(user_regs_struct& registers);
  bool SetRegisters(user_regs_struct registers);
  bool Restore();

  pid_t pid_;
  bool seized_ = false;
  bool held_ = false;
  bool changed_ = false;
  user_regs_struct saved_{};
  uint64_t signal_mask_ = 0;
  TraceFailure failure_;
};

// An address in [start, end) of the process `pid` where a system call instruction stands; 0: none.
uint64_t FindSyscallInstruction(pid_t pid, uint64_t start, uint64_t end);

}  // namespace mycelium
