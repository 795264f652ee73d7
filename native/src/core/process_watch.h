// A process that may end, and whose number may be given to another.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/failure.h"
#include "core/memory.h"
#include "core/unique_fd.h"

namespace mycelium {

class ProcessWatch {
 public:
  // Throws std::system_error (ESRCH: no such process).
  explicit ProcessWatch(pid_t pid);

  pid_t pid() const { return pid_; }
  int pidfd() const { return pidfd_.get(); }

  // Throws std::system_error ESRCH if the process has ended. What was opened under /proc/PID
  // before a check that passes belongs to this process, not to a later one with its number.
  void CheckAlive() const;

 private:
  pid_t pid_;
  UniqueFd pidfd_;
};

// A line of /proc/PID/maps.
struct ProcessMapping {
  uint64_t start;
  uint64_t end;
  bool writable;
  bool shared;
  uint64_t offset;
  uint64_t device;  // as makedev gives it
  uint64_t inode;
  std::string name;
};

// Nothing for a line that is not understood.
std::optional<ProcessMapping> ParseMapping(const std::string& line);

// Throws std::system_error (EACCES: the process belongs to somebody else).
std::vector<ProcessMapping> ReadMappings(const ProcessWatch& process);

// The process does not map the memory (EINVAL): the caller named the wrong one, or too early.
class MappingMissing : public SystemFailure {
 public:
  using SystemFailure::SystemFailure;
};

// Where `process` maps all of `memory`: its largest shared, writable mapping of the same file from
// the beginning. Throws MappingMissing, std::system_error.
uint64_t FindMapping(const ProcessWatch& process, const Memory& memory);

}  // namespace mycelium
