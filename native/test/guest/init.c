// Process 1 of the guest that scripts/arm64-guest.ts boots: mounts what the tests look at, runs
// them with its own arguments and environment (the kernel passes both on from its command line),
// says how they ended, and powers the guest off.
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static void mount_all(void) {
  mount("proc", "/proc", "proc", 0, NULL);
  mount("sysfs", "/sys", "sysfs", 0, NULL);
  mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
  mkdir("/dev/shm", 01777);
  mount("tmpfs", "/dev/shm", "tmpfs", 0, NULL);
  mount("tmpfs", "/tmp", "tmpfs", 0, NULL);
}

// The exit code, or 128 + the signal; orphans of the tests are reaped on the way.
static int await(pid_t pid) {
  for (;;) {
    int status = 0;
    const pid_t ended = wait(&status);
    if (ended < 0) return 127;
    if (ended == pid) return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
}

int main(int count, char **arguments) {
  (void)count;
  mount_all();
  const pid_t pid = fork();
  if (pid == 0) {
    arguments[0] = (char *)"/core_test";
    execv(arguments[0], arguments);
    _exit(127);
  }
  printf("# ended with exit code %d\n", pid < 0 ? 127 : await(pid));
  fflush(stdout);
  tcdrain(STDOUT_FILENO);  // or the last line may be lost
  reboot(RB_POWER_OFF);
  return 1;  // the kernel panics, which ends the guest too
}
