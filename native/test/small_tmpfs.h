// A file system that is soon full.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <functional>
#include <string>

#include "harness.h"

namespace harness {

inline constexpr int kNoNamespace = 77;

inline bool WriteFile(const char* path, const std::string& text) {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool is_written = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  close(fd);
  return is_written;
}

// The exit code of the child process.
inline int EnterSmallTmpfs(const std::function<void()>& test) {
  const std::string users = "0 " + std::to_string(getuid()) + " 1";
  const std::string groups = "0 " + std::to_string(getgid()) + " 1";
  const std::string size = "size=" + std::to_string(8 * sysconf(_SC_PAGESIZE));
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 || !WriteFile("/proc/self/uid_map", users) ||
      !WriteFile("/proc/self/setgroups", "deny") || !WriteFile("/proc/self/gid_map", groups) ||
      mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      mount("none", "/dev/shm", "tmpfs", 0, size.c_str()) != 0 || chdir("/dev/shm") != 0) {
    return kNoNamespace;
  }
  try {
    test();
    return 0;
  } catch (const std::exception& error) {
    std::printf("# %s\n", error.what());
    std::fflush(stdout);
    return 1;
  }
}

// Runs `test` in a child process whose working folder is a tmpfs of 8 pages of the machine, in a
// mount namespace of its own.
inline void RunInSmallTmpfs(const std::function<void()>& test) {
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) _exit(EnterSmallTmpfs(test));
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status));  // not by SIGBUS
  if (WEXITSTATUS(status) == kNoNamespace) SKIP("no mount namespace can be made here");
  CHECK_EQ(WEXITSTATUS(status), 0);
}

}  // namespace harness
