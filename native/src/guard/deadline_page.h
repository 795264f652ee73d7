// The page that a host process and the guard of its QEMU share: one page of a memory file, mapped
// by both. Integers are of the machine's byte order, aligned, and each has one writer.
//
// packages/endophyte/src/guard.ts holds the same layout; its test compares the two.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace mycelium::guard {

inline constexpr std::size_t kPageBytes = 4096;
/// "MYCGUARD" in memory, read as a little-endian integer.
inline constexpr std::uint64_t kMagic = 0x44524155'4743594d;
inline constexpr std::uint64_t kVersion = 1;
inline constexpr std::size_t kReleaseBytesMax = 1024;

enum class State : std::uint64_t {
  kStarting = 0,
  kRunning = 1,  // the program runs: exec succeeded
  kDead = 2,     // reaped
  kFailed = 3,   // could not be started; `status` holds errno
};

/// Why the guarded process is dead.
enum class Reason : std::uint64_t {
  kNone = 0,
  kOwnExit = 1,      // it ended by itself
  kDeadline = 2,     // the deadline passed
  kHostDied = 3,     // the host process died
  kSignal = 4,       // the guard was asked to end
  kBadDeadline = 5,  // the deadline was beyond all reason
};

using Word = std::atomic<std::uint64_t>;
static_assert(Word::is_always_lock_free && sizeof(Word) == 8);

struct DeadlinePage {
  Word magic;          // host, before the guard starts
  Word version;        // host, before the guard starts
  Word deadline_ns;    // host: CLOCK_BOOTTIME; 0: none yet. Once set, 0 changes nothing
  Word guard_pid;      // guard
  Word child_pid;      // guard: the guarded process
  Word state;          // guard: State
  Word reason;         // guard: Reason, before state becomes kDead
  Word status;         // guard: exit code, or 128 + signal, before state becomes kDead
  Word armed_ns;       // guard: the deadline for which the kernel's timer stands
  Word died_at_ns;     // guard: when the guarded process was reaped
  Word is_locked;      // guard: 1 if its memory is locked
  Word release_bytes;  // host: length of `release`, written last; 0: none
  std::uint8_t reserved[32];
  std::uint8_t release[kReleaseBytesMax];  // host
};
static_assert(offsetof(DeadlinePage, release_bytes) == 88);
static_assert(offsetof(DeadlinePage, release) == 128);
static_assert(sizeof(DeadlinePage) <= kPageBytes);

}  // namespace mycelium::guard
