// Keeps signals from the calling thread, and from what it starts, for a while.
#pragma once

#include <signal.h>

namespace mycelium {

class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t all;
    sigfillset(&all);
    // On Linux it is the mask of the thread. pthread_sigmask is the same call, but a new libc binds
    // it to a version that older systems do not have.
    sigprocmask(SIG_SETMASK, &all, &before_);
  }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;
  ~BlockedSignals() { sigprocmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

}  // namespace mycelium
