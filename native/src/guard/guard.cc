// mycelium-guard: runs one program (QEMU) and makes sure that it does not outlive its lease.
//
//   mycelium-guard --deadline-fd N --host-pid P [--uid U --gid G] [--keep-fd N]...
//                  [--ready-fd N] [--release-path PATH] -- PROGRAM ARG...
//
// One byte comes over --ready-fd when the program runs; then it is closed.
//
// The program dies when the deadline in the shared page (deadline_page.h) passes, when the host
// process dies, and when this process is asked to end. Three things see to it, each alone enough:
//  1. this process polls, and kills the program shortly before the deadline;
//  2. a timer of the kernel sends SIGKILL to this process at the deadline, also while it is stopped
//     or gets no CPU time;
//  3. the program was started with PR_SET_PDEATHSIG: it dies with this process, also while stopped.
// The kernel's timer follows the page when this process polls. If it cannot, the timer stands for
// an older, so earlier, deadline: an error on the safe side.
//
// No memory is allocated after the start, all is locked, there is one thread and no library but
// libc, linked statically.
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "deadline_page.h"

namespace {

using namespace mycelium::guard;
using Nanoseconds = std::uint64_t;

constexpr Nanoseconds kMillisecond = 1'000'000;
/// How long before the deadline the program is killed, so that it is reaped and reported before
/// the kernel's timer ends this process. Killing takes below 1 ms unless memory must be given back.
constexpr Nanoseconds kKillLead = 5 * kMillisecond;
/// A deadline grows at every third of the time to live (100 ms to 60 s). A twentieth of what is
/// left keeps the kernel's timer close to the page, at no more than 1,000 polls a second.
constexpr Nanoseconds kPollMin = 1 * kMillisecond;
constexpr Nanoseconds kPollMax = 50 * kMillisecond;
/// Twice the longest time to live. Beyond it the page holds something else than a deadline.
constexpr Nanoseconds kAheadMax = 120'000 * kMillisecond;
constexpr int kKeptMax = 64;

constexpr int kExitUsage = 64;
constexpr int kExitSystem = 71;
constexpr int kExitNotStarted = 127;

struct Options {
  int deadline_fd = -1;
  int ready_fd = -1;
  pid_t host = 0;
  bool has_user = false;
  uid_t uid = 0;
  gid_t gid = 0;
  const char* release_path = nullptr;
  int kept[kKeptMax];
  int kept_count = 0;
  char** program = nullptr;
};

[[noreturn]] void Fail(int code, const char* what, int error) {
  dprintf(STDERR_FILENO, "mycelium-guard: %s%s%s\n", what, error == 0 ? "" : ": ",
          error == 0 ? "" : strerror(error));
  _exit(code);
}

// ---- Arguments ----------------------------------------------------------------------------------

unsigned ParseNumber(const char* text, const char* name) {
  char* end = nullptr;
  errno = 0;
  const unsigned long value = text == nullptr ? 0 : strtoul(text, &end, 10);
  const bool is_number = text != nullptr && *text >= '0' && *text <= '9' && *end == '\0';
  if (!is_number || errno != 0 || value > INT_MAX) Fail(kExitUsage, name, EINVAL);
  return static_cast<unsigned>(value);
}

Options ParseArguments(char** arguments) {
  Options options;
  bool has_uid = false;
  bool has_gid = false;
  for (char** next = arguments + 1; *next != nullptr; next += 2) {
    const char* name = *next;
    if (strcmp(name, "--") == 0) {
      options.program = next + 1;
      break;
    }
    const char* value = next[1];
    if (value == nullptr) Fail(kExitUsage, name, EINVAL);
    if (strcmp(name, "--deadline-fd") == 0) {
      options.deadline_fd = static_cast<int>(ParseNumber(value, name));
    } else if (strcmp(name, "--host-pid") == 0) {
      options.host = static_cast<pid_t>(ParseNumber(value, name));
    } else if (strcmp(name, "--uid") == 0) {
      options.uid = ParseNumber(value, name);
      has_uid = true;
    } else if (strcmp(name, "--gid") == 0) {
      options.gid = ParseNumber(value, name);
      has_gid = true;
    } else if (strcmp(name, "--ready-fd") == 0) {
      options.ready_fd = static_cast<int>(ParseNumber(value, name));
    } else if (strcmp(name, "--release-path") == 0) {
      options.release_path = value;
      if (strlen(value) >= sizeof(sockaddr_un::sun_path)) Fail(kExitUsage, name, ENAMETOOLONG);
    } else if (strcmp(name, "--keep-fd") == 0) {
      if (options.kept_count == kKeptMax) Fail(kExitUsage, name, EMFILE);
      options.kept[options.kept_count++] = static_cast<int>(ParseNumber(value, name));
    } else {
      Fail(kExitUsage, name, EINVAL);
    }
  }
  options.has_user = has_uid;
  if (has_uid != has_gid) Fail(kExitUsage, "--uid and --gid go together", 0);
  if (options.program == nullptr || options.program[0] == nullptr || options.deadline_fd < 0 ||
      options.host <= 0) {
    Fail(kExitUsage,
         "usage: mycelium-guard --deadline-fd N --host-pid P [--uid U --gid G] [--keep-fd N]... "
         "[--ready-fd N] [--release-path PATH] -- PROGRAM ARG...",
         0);
  }
  return options;
}

// ---- System calls that older C libraries do not wrap
// ---------------------------------------------

int PidfdOpen(pid_t pid) { return static_cast<int>(syscall(SYS_pidfd_open, pid, 0)); }

int PidfdSignal(int pidfd, int signal) {
  return static_cast<int>(syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0));
}

Nanoseconds Now() {
  timespec time{};
  clock_gettime(CLOCK_BOOTTIME, &time);
  return static_cast<Nanoseconds>(time.tv_sec) * 1'000 * kMillisecond +
         static_cast<Nanoseconds>(time.tv_nsec);
}

/// The kernel's watchdog over this process.
class KillTimer {
 public:
  void Create() {
    sigevent event{};
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGKILL;
    // The raw call: the C library would hand out an address of its own as the timer's name.
    if (syscall(SYS_timer_create, CLOCK_BOOTTIME, &event, &id_) != 0) {
      Fail(kExitSystem, "timer_create", errno);
    }
  }

  /// At an absolute time; one that has passed fires at once. 0: never.
  void Arm(Nanoseconds at) const {
    itimerspec spec{};
    spec.it_value.tv_sec = static_cast<time_t>(at / (1'000 * kMillisecond));
    spec.it_value.tv_nsec = static_cast<long>(at % (1'000 * kMillisecond));
    if (syscall(SYS_timer_settime, id_, TIMER_ABSTIME, &spec, nullptr) != 0) {
      Fail(kExitSystem, "timer_settime", errno);  // and the program dies with this process
    }
  }

 private:
  int id_ = 0;
};

// ---- The guarded program
// -------------------------------------------------------------------------

/// In the child. Reports errno through `report`, which exec closes, and does not return.
[[noreturn]] void RunProgram(const Options& options, pid_t guard, int report) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  const bool is_user_set =
      !options.has_user ||
      (setgroups(0, nullptr) == 0 && setresgid(options.gid, options.gid, options.gid) == 0 &&
       setresuid(options.uid, options.uid, options.uid) == 0);
  // After the change of user, which clears it. If the guard died before this line, no signal comes.
  const bool dies_with_guard = is_user_set && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;
  if (dies_with_guard && getppid() != guard) _exit(kExitNotStarted);
  bool is_ready = dies_with_guard && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
                  syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) == 0;
  for (int i = 0; i < options.kept_count; i++) {
    is_ready = is_ready && fcntl(options.kept[i], F_SETFD, 0) == 0;
  }
  if (is_ready) execvp(options.program[0], options.program);
  const int error = errno;
  [[maybe_unused]] const ssize_t written = write(report, &error, sizeof error);
  _exit(kExitNotStarted);
}

class Guard {
 public:
  explicit Guard(const Options& options) : options_(options) {}

  [[noreturn]] void Run() {
    WatchHost();
    MapPage();
    TakeSignals();
    timer_.Create();
    FollowDeadline();  // armed before there is anything to guard
    if (reason_ != Reason::kNone)
      Fail(kExitSystem, "the deadline has passed, or makes no sense", 0);
    Start();
    LockMemory();
    while (!IsReaped()) {
      FollowDeadline();
      Wait();
    }
    timer_.Arm(0);
    Publish();
    if (reason_ != Reason::kDeadline) Release();
    Mirror();
  }

 private:
  void WatchHost() {
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0) Fail(kExitSystem, "PR_SET_PDEATHSIG", errno);
    host_ = PidfdOpen(options_.host);
    if (host_ < 0) Fail(kExitSystem, "pidfd_open of the host", errno);
    // Still its child, so the descriptor means the host and not one who got its number later.
    if (getppid() != options_.host) Fail(kExitSystem, "the host is not the parent", 0);
  }

  void MapPage() {
    struct stat file {};
    if (fstat(options_.deadline_fd, &file) != 0) Fail(kExitSystem, "--deadline-fd", errno);
    if (file.st_size < static_cast<off_t>(kPageBytes)) Fail(kExitUsage, "--deadline-fd", EINVAL);
    void* address =
        mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, options_.deadline_fd, 0);
    if (address == MAP_FAILED) Fail(kExitSystem, "mmap of --deadline-fd", errno);
    // SAFETY: page-aligned, at least one page, and every member is an integer that any bytes make.
    page_ = static_cast<DeadlinePage*>(address);
    if (page_->magic != kMagic || page_->version != kVersion) {
      Fail(kExitUsage, "--deadline-fd is no deadline page of this version", 0);
    }
    page_->guard_pid = static_cast<std::uint64_t>(getpid());
  }

  void TakeSignals() {
    sigset_t taken;
    sigemptyset(&taken);
    for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) sigaddset(&taken, number);
    sigprocmask(SIG_BLOCK, &taken, nullptr);
    signals_ = signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals_ < 0) Fail(kExitSystem, "signalfd", errno);
    signal(SIGPIPE, SIG_IGN);
  }

  void Start() {
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0) Fail(kExitSystem, "pipe", errno);
    const pid_t guard = getpid();
    const pid_t child = fork();
    if (child < 0) Fail(kExitSystem, "fork", errno);
    if (child == 0) RunProgram(options_, guard, report[1]);
    child_ = PidfdOpen(child);
    if (child_ < 0) Fail(kExitSystem, "pidfd_open of the program", errno);
    close(report[1]);
    report_ = report[0];
    page_->child_pid = static_cast<std::uint64_t>(child);
  }

  /// Each is a help under load, none a condition: a small limit or a container may forbid it.
  void LockMemory() {
    page_->is_locked = mlockall(MCL_CURRENT | MCL_FUTURE) == 0 ? 1 : 0;
    sched_param parameter{};
    parameter.sched_priority = 1;
    sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &parameter);
  }

  /// Brings the kernel's timer to the page's deadline, and kills when it is near.
  void FollowDeadline() {
    const Nanoseconds deadline = page_->deadline_ns;
    const Nanoseconds now = Now();
    if (deadline != 0 && deadline != armed_) {
      if (deadline > now + kAheadMax) {
        Kill(Reason::kBadDeadline);
        return;
      }
      timer_.Arm(deadline);
      armed_ = deadline;
      page_->armed_ns = deadline;
    }
    if (armed_ != 0 && now + kKillLead >= armed_) Kill(Reason::kDeadline);
  }

  void Wait() {
    pollfd watched[] = {
        {signals_, POLLIN, 0}, {host_, POLLIN, 0}, {child_, POLLIN, 0}, {report_, POLLIN, 0}};
    const Nanoseconds wait = PollTime();
    const timespec timeout{0, static_cast<long>(wait)};
    if (ppoll(watched, std::size(watched), &timeout, nullptr) < 0 && errno != EINTR) {
      Fail(kExitSystem, "poll", errno);
    }
    if (watched[0].revents != 0) {
      signalfd_siginfo ignored;
      while (read(signals_, &ignored, sizeof ignored) > 0) continue;
      // PR_SET_PDEATHSIG comes a moment before the host's pidfd tells.
      Kill(getppid() == options_.host ? Reason::kSignal : Reason::kHostDied);
    }
    if (watched[1].revents != 0) {
      Kill(Reason::kHostDied);
      host_ = -1;  // poll passes over it
    }
    if (watched[3].revents != 0) ReadReport();
  }

  Nanoseconds PollTime() const {
    const Nanoseconds now = Now();
    const Nanoseconds kill_at = armed_ - std::min(armed_, kKillLead);
    if (armed_ == 0 || kill_at <= now) return kPollMax;
    return std::min(kill_at - now, std::clamp((armed_ - now) / 20, kPollMin, kPollMax));
  }

  void Kill(Reason reason) {
    if (reason_ == Reason::kNone) reason_ = reason;
    PidfdSignal(child_, SIGKILL);
  }

  /// Nothing means that exec succeeded.
  void ReadReport() {
    if (read(report_, &start_error_, sizeof start_error_) <= 0) {
      page_->state = static_cast<std::uint64_t>(State::kRunning);
      if (options_.ready_fd >= 0) {
        [[maybe_unused]] const ssize_t written = write(options_.ready_fd, "", 1);
        close(options_.ready_fd);
      }
    }
    close(report_);
    report_ = -1;
  }

  bool IsReaped() {
    // P_PIDFD; older headers do not name it.
    const auto by_pidfd = static_cast<idtype_t>(3);
    siginfo_t info{};
    const int result = waitid(by_pidfd, static_cast<id_t>(child_), &info, WEXITED | WNOHANG);
    if (result != 0) Fail(kExitSystem, "waitid", errno);
    if (info.si_pid == 0) return false;
    if (report_ >= 0) ReadReport();
    is_exit_ = info.si_code == CLD_EXITED;
    code_ = info.si_status;
    if (reason_ == Reason::kNone) reason_ = Reason::kOwnExit;
    return true;
  }

  void Publish() {
    page_->died_at_ns = Now();
    page_->reason = static_cast<std::uint64_t>(reason_);
    const int status = is_exit_ ? code_ : 128 + code_;
    page_->status = static_cast<std::uint64_t>(start_error_ != 0 ? start_error_ : status);
    const State state = start_error_ != 0 ? State::kFailed : State::kDead;
    page_->state = static_cast<std::uint64_t>(state);
  }

  /// Best effort: without it the lease runs out by itself.
  void Release() {
    const std::size_t length = page_->release_bytes;
    if (options_.release_path == nullptr || length == 0 || length > kReleaseBytesMax) return;
    const int server = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (server < 0) return;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    strcpy(address.sun_path, options_.release_path);  // its length was checked
    // SAFETY: every socket address begins with its family.
    const auto* any = reinterpret_cast<const sockaddr*>(&address);
    if (connect(server, any, sizeof address) != 0) return;
    [[maybe_unused]] const ssize_t sent =
        send(server, page_->release, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(server);
  }

  /// Ends as the program ended.
  [[noreturn]] void Mirror() {
    if (start_error_ != 0) Fail(kExitNotStarted, options_.program[0], start_error_);
    if (is_exit_) _exit(code_);
    const rlimit no_core{0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    signal(code_, SIG_DFL);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_UNBLOCK, &all, nullptr);
    kill(getpid(), code_);
    _exit(128 + code_);
  }

  const Options options_;
  DeadlinePage* page_ = nullptr;
  KillTimer timer_;
  Nanoseconds armed_ = 0;
  int host_ = -1;
  int child_ = -1;
  int signals_ = -1;
  int report_ = -1;
  Reason reason_ = Reason::kNone;
  bool is_exit_ = false;
  int code_ = 0;
  int start_error_ = 0;
};

}  // namespace

int main(int, char** arguments) { Guard(ParseArguments(arguments)).Run(); }
