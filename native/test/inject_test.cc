// Injection into processes in every state in which one may be met.
#include "core/inject.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <functional>
#include <string>
#include <thread>

#include "core/kernel_abi.h"
#include "harness.h"
#include "remote_writer.h"

namespace mycelium::test {
namespace {

constexpr int kRounds = 50;

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    out.reset(ends[0]);
    in.reset(ends[1]);
  }
  UniqueFd out;
  UniqueFd in;
};

// Skips where there is no userfaultfd or no ptrace at all (emulators, some containers).
UniqueFd Inject(pid_t pid) {
  const ProcessWatch watch(pid);
  try {
    return InjectUserfaultfd(watch, FaultScope::kUserMode);
  } catch (const SystemFailure& failure) {
    const int error = failure.code().value();
    if (error == ENOSYS || error == EIO || error == EPERM) SKIP(failure.what());
    throw;
  }
}

std::string StateOf(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 512> text{};
  if (read(fd.get(), text.data(), text.size() - 1) <= 0) return "";
  const char* after_name = std::strrchr(text.data(), ')');
  return after_name == nullptr ? "" : std::string(1, after_name[2]);
}

void AwaitState(pid_t pid, const std::string& state) {
  while (StateOf(pid) != state) sched_yield();
}

// The child must see no difference: it ends with code 0 only if its calls returned what they would
// have returned anyway.
void InjectIntoSleeper(const std::function<bool(int wake)>& body) {
  Pipe wake;
  Child child([&] {
    wake.in.reset();
    _exit(body(wake.out.get()) ? 0 : 1);
  });
  wake.out.reset();
  AwaitState(child.pid(), "S");
  for (int round = 0; round < kRounds; ++round) {
    const UniqueFd uffd = Inject(child.pid());
    CHECK(uffd.valid());
    CHECK_EQ(fcntl(uffd.get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  }
  CHECK(write(wake.in.get(), "x", 1) == 1);
  CHECK_EQ(child.Join(), 0);
}

TEST("inject: a process that waits in read(2) goes on waiting") {
  InjectIntoSleeper([](int wake) {
    char byte = 0;
    return read(wake, &byte, 1) == 1 && byte == 'x';
  });
}

TEST("inject: a process that waits in poll(2) with a time limit goes on waiting") {
  InjectIntoSleeper([](int wake) {
    pollfd readable{wake, POLLIN, 0};
    return poll(&readable, 1, 60'000) == 1;
  });
}

TEST("inject: a process that waits in ppoll(2) keeps its signal mask") {
  InjectIntoSleeper([](int wake) {
    sigset_t some;
    sigemptyset(&some);
    sigaddset(&some, SIGUSR2);
    sigprocmask(SIG_SETMASK, &some, nullptr);
    sigset_t none;
    sigemptyset(&none);
    pollfd readable{wake, POLLIN, 0};
    if (ppoll(&readable, 1, nullptr, &none) != 1) return false;
    sigset_t now;
    sigprocmask(SIG_SETMASK, nullptr, &now);
    return sigismember(&now, SIGUSR2) == 1 && sigismember(&now, SIGUSR1) == 0;
  });
}

TEST("inject: a process that sleeps is not woken") {
  timespec begin{};
  clock_gettime(CLOCK_MONOTONIC, &begin);
  Child child([] {
    timespec left{0, 300'000'000};
    _exit(nanosleep(&left, &left) == 0 ? 0 : 1);
  });
  AwaitState(child.pid(), "S");
  for (int round = 0; round < 5; ++round) CHECK(Inject(child.pid()).valid());
  CHECK_EQ(child.Join(), 0);
}

// Any register or flag that is not restored shows in the sum sooner or later.
uint64_t Compute() {
  uint64_t sum = 88172645463325252;
  double real = 1.0;
  for (int step = 0; step < 100'000; ++step) {
    sum ^= sum << 13;
    sum ^= sum >> 7;
    sum ^= sum << 17;
    real = real * 1.0000001 + static_cast<double>(sum & 1);
  }
  return sum + static_cast<uint64_t>(real);
}

TEST("inject: a process that computes comes to the same result") {
  Pipe wake;
  const uint64_t expected = Compute();
  Child child([&] {
    pollfd readable{wake.out.get(), POLLIN, 0};
    while (poll(&readable, 1, 0) == 0) {
      if (Compute() != expected) _exit(1);
    }
    _exit(0);
  });
  for (int round = 0; round < 4 * kRounds; ++round) CHECK(Inject(child.pid()).valid());
  CHECK(write(wake.in.get(), "x", 1) == 1);
  CHECK_EQ(child.Join(), 0);
}

volatile sig_atomic_t signals_seen = 0;

TEST("inject: signals that arrive meanwhile are delivered, none is lost") {
  constexpr int kSignals = 20 * kRounds;  // each is queued, as real-time signals are
  Pipe go;
  Pipe ready;
  Child child([&] {
    go.in.reset();
    struct sigaction action {};
    action.sa_handler = [](int) { signals_seen = signals_seen + 1; };
    action.sa_flags = SA_RESTART;
    sigaction(SIGRTMIN, &action, nullptr);
    char byte = 0;
    if (write(ready.in.get(), "r", 1) != 1) _exit(9);
    if (read(go.out.get(), &byte, 1) != 1) _exit(8);
    _exit(signals_seen == kSignals ? 0 : 1);
  });
  char byte = 0;
  CHECK(read(ready.out.get(), &byte, 1) == 1);
  std::jthread sender([&] {
    for (int count = 0; count < kSignals; ++count) {
      while (kill(child.pid(), SIGRTMIN) != 0 && errno == EAGAIN) sched_yield();
      if (count % 4 == 0) sched_yield();
    }
  });
  for (int round = 0; round < kRounds; ++round) Inject(child.pid());
  sender.join();
  CHECK(write(go.in.get(), "x", 1) == 1);
  CHECK_EQ(child.Join(), 0);
}

TEST("inject: a stopped process stays stopped") {
  Pipe wake;
  Child child([&] {
    wake.in.reset();
    char byte = 0;
    _exit(read(wake.out.get(), &byte, 1) == 1 ? 0 : 1);
  });
  AwaitState(child.pid(), "S");
  kill(child.pid(), SIGSTOP);
  AwaitState(child.pid(), "T");
  CHECK(Inject(child.pid()).valid());
  AwaitState(child.pid(), "T");
  CHECK(write(wake.in.get(), "x", 1) == 1);
  for (int look = 0; look < 100; ++look) CHECK_EQ(StateOf(child.pid()), "T");
  kill(child.pid(), SIGCONT);
  CHECK_EQ(child.Join(), 0);
}

TEST("inject: leaves no descriptor in the process") {
  Pipe wake;
  Pipe answer;
  Child child([&] {
    wake.in.reset();
    char byte = 0;
    while (read(wake.out.get(), &byte, 1) == 1) {
      int open = 0;
      for (int fd = 0; fd < 256; ++fd) open += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
      if (write(answer.in.get(), &open, sizeof(open)) != sizeof(open)) _exit(1);
    }
    _exit(0);
  });
  const auto count = [&] {
    int open = 0;
    CHECK(write(wake.in.get(), "x", 1) == 1);
    CHECK(read(answer.out.get(), &open, sizeof(open)) == sizeof(open));
    return open;
  };
  const int before = count();
  for (int round = 0; round < kRounds; ++round) CHECK(Inject(child.pid()).valid());
  CHECK_EQ(count(), before);
  wake.in.reset();
  CHECK_EQ(child.Join(), 0);
}

TEST("inject: a process that is killed at any moment is said to have ended") {
  for (int round = 0; round < kRounds; ++round) {
    Child child([] {
      for (;;) getppid();
    });
    const ProcessWatch watch(child.pid());
    std::jthread killer([&] {
      for (int yields = 0; yields < round * 4; ++yields) sched_yield();
      kill(child.pid(), SIGKILL);
    });
    int error = 0;
    try {
      InjectUserfaultfd(watch, FaultScope::kUserMode);
    } catch (const SystemFailure& failure) {
      error = failure.code().value();
    }
    killer.join();
    CHECK_EQ(child.Join(), 128 + SIGKILL);
    // ENOSYS, EIO, EPERM: the machine has no such thing.
    CHECK(error == 0 || error == ESRCH || error == ENOSYS || error == EIO || error == EPERM);
  }
}

TEST("inject: without the right to trace it says what would help") {
  if (geteuid() != 0) SKIP("needs root to become somebody else");
  const Child victim([] { pause(); });
  AwaitState(victim.pid(), "S");
  Child stranger([&] {
    constexpr uid_t kNobody = 65534;
    if (setresgid(kNobody, kNobody, kNobody) != 0 || setresuid(kNobody, kNobody, kNobody) != 0) {
      _exit(2);
    }
    try {
      InjectUserfaultfd(ProcessWatch(victim.pid()), FaultScope::kUserMode);
      _exit(3);
    } catch (const SystemFailure& failure) {
      const std::string text = failure.what();
      const int error = failure.code().value();
      const bool named = text.find("CAP_SYS_PTRACE") != std::string::npos ||
                         text.find("maps") != std::string::npos;
      _exit((error == EPERM || error == EACCES) && named ? 0 : 4);
    }
  });
  CHECK_EQ(stranger.Join(), 0);
  CHECK_EQ(StateOf(victim.pid()), "S");
}

TEST("inject: a process that is traced already says what would help, and is left alone") {
  const Child victim([] { pause(); });
  AwaitState(victim.pid(), "S");
  Pipe traced;  // now, so that the victim does not hold its end
  Child debugger([&] {
    if (ptrace(PTRACE_SEIZE, victim.pid(), nullptr, nullptr) != 0) _exit(1);
    if (write(traced.in.get(), "t", 1) != 1) _exit(1);
    pause();
  });
  traced.in.reset();
  char byte = 0;
  if (read(traced.out.get(), &byte, 1) != 1) SKIP("ptrace is not permitted here");
  const ProcessWatch watch(victim.pid());
  try {
    InjectUserfaultfd(watch, FaultScope::kUserMode);
    harness::Fail(__FILE__, __LINE__, "did not throw");
  } catch (const SystemFailure& failure) {
    if (failure.code().value() == ENOSYS) SKIP(failure.what());
    CHECK_EQ(failure.code().value(), EPERM);
    CHECK(std::string(failure.what()).find("CAP_SYS_PTRACE") != std::string::npos);
  }
  CHECK_EQ(StateOf(victim.pid()), "S");
}

TEST("inject: stops of the process are not seen by waits of this one") {
  // As libuv does for each child whenever one changes: it takes a stop for an exit.
  Child child([] { pause(); });
  AwaitState(child.pid(), "S");
  std::atomic<int> seen = 0;
  std::jthread waiter([&](const std::stop_token& done) {
    while (!done.stop_requested()) {
      int status = 0;
      if (waitpid(child.pid(), &status, WNOHANG) != 0) ++seen;
    }
  });
  for (int round = 0; round < kRounds; ++round) Inject(child.pid());
  waiter.request_stop();
  waiter.join();
  CHECK_EQ(seen.load(), 0);
}

}  // namespace
}  // namespace mycelium::test
