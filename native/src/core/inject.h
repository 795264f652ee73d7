// Takes a userfaultfd out of a running process that knows nothing of it, by ptrace.
#pragma once

#include "core/process_watch.h"
#include "core/unique_fd.h"
#include "core/userfault.h"

namespace mycelium {

// Stops the main thread of `process` for a fraction of a millisecond, lets it make a userfaultfd,
// takes a duplicate of it, lets it close its own, and sets it going as if nothing had happened: a
// system call in which it waited is resumed, a stopped process stays stopped. Blocks the caller
// for two seconds at most if the process cannot be stopped.
// Throws std::system_error: EPERM with what would help, ESRCH (it has ended), ETIMEDOUT, ENOTSUP.
UniqueFd InjectUserfaultfd(const ProcessWatch& process, FaultScope scope);

}  // namespace mycelium
