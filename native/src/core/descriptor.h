// How a userfaultfd of another process is had.
#pragma once

#include "core/process_watch.h"
#include "core/tracker.h"
#include "core/unique_fd.h"
#include "core/userfault.h"

namespace mycelium {

// A userfaultfd of `process`, by the way that `options` names. Throws std::system_error (EPERM and
// others, saying what would help; ETIMEDOUT: the shim sent nothing).
UniqueFd DescriptorOf(const ProcessWatch& process, const TrackerOptions& options, FaultScope scope);

}  // namespace mycelium
