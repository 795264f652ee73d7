/*
 * The load program of the demo guest: process 1 of a Linux that has nothing else to do.
 *
 * Each tick it writes pages all over its memory, verifies pages that it wrote before, and prints
 * one line on the console: `tick N err E pages P` (P: pages written since the start, modulo 2^64).
 * E counts what must never happen: a page that is not what was written last, or a counter that did
 * not grow by one. Both ends of a page carry a stamp, so that a page torn in the middle is seen.
 *
 * Parameters stand on the kernel command line as load.NAME=VALUE:
 *   mib=64        working set in MiB, 1 or more
 *   pages=400     pages written per tick
 *   tick=20       milliseconds per tick
 *   seed=1        of the order in which pages are written
 *   corrupt=N     at tick N, damage one page behind the program's own back
 *   exit=HOW@N    at tick N: poweroff, reboot or panic
 * The same words (corrupt, poweroff, reboot, panic) typed on the console work at once.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { PAGE_BYTES = 4096, WORDS = PAGE_BYTES / 8, COMMAND_BYTES_MAX = 63 };

struct parameters {
  uint64_t mib, pages, tick_ms, seed, corrupt_tick, exit_tick;
  char exit_how[16];
};

/* The counter lives twice, each copy on a page of its own: if one of the two pages came back
 * older than the other, they disagree. */
struct counter {
  uint64_t value;
  uint8_t rest[PAGE_BYTES - 8];
};
static struct counter counters[2] __attribute__((aligned(PAGE_BYTES)));

static uint64_t *memory;   /* the working set */
static uint32_t *expected; /* version written last, per page: kept apart from the pages */
static uint64_t page_count, written, errors, random_state;
static struct parameters parameters;

/* The finaliser of SplitMix64 (Steele, Lea, Flood 2014): every input bit reaches every output bit.
 */
static uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

static uint64_t stamp(uint64_t page) {
  return mix(parameters.seed ^ (page << 32) ^ expected[page]);
}

static void write_page(uint64_t page) {
  expected[page]++;
  uint64_t value = stamp(page);
  /* volatile: the compiler must not drop or join the two stores. */
  volatile uint64_t *words = memory + page * WORDS;
  words[0] = value;
  words[WORDS - 1] = ~value;
  written++;
}

static int page_is_good(uint64_t page) {
  uint64_t value = stamp(page);
  volatile uint64_t *words = memory + page * WORDS;
  return words[0] == value && words[WORDS - 1] == ~value;
}

/* A bad page is counted once and then written anew, so that one fault stays one error. */
static void verify_page(uint64_t page) {
  if (page_is_good(page)) return;
  errors++;
  write_page(page);
}

static void leave(const char *how) {
  sync();
  if (!strcmp(how, "poweroff")) reboot(RB_POWER_OFF);
  if (!strcmp(how, "reboot")) reboot(RB_AUTOBOOT);
  if (!strcmp(how, "panic")) {
    int trigger = open("/proc/sysrq-trigger", O_WRONLY);
    if (trigger < 0 || write(trigger, "c", 1) != 1) printf("load: no sysrq: %s\n", strerror(errno));
  }
}

static void obey(const char *command) {
  if (!strcmp(command, "corrupt"))
    memory[(page_count / 2) * WORDS] ^= 1;
  else
    leave(command);
}

/* At most one line per tick (the terminal hands out whole lines); unknown words do nothing. poll
 * instead of O_NONBLOCK, which would hold for the standard output too: it is the same open file. */
static void read_commands(void) {
  char line[COMMAND_BYTES_MAX + 1];
  struct pollfd console = {.fd = STDIN_FILENO, .events = POLLIN};
  if (poll(&console, 1, 0) != 1 || !(console.revents & POLLIN)) return;
  ssize_t length = read(STDIN_FILENO, line, COMMAND_BYTES_MAX);
  if (length <= 0) return;
  line[length] = 0;
  line[strcspn(line, "\r\n")] = 0;
  obey(line);
}

static void read_parameters(void) {
  static char text[4096];
  parameters = (struct parameters){.mib = 64, .pages = 400, .tick_ms = 20, .seed = 1};
  FILE *file = fopen("/proc/cmdline", "r");
  if (!file || !fgets(text, sizeof text, file)) return;
  fclose(file);
  for (char *word = strtok(text, " \n"); word; word = strtok(NULL, " \n")) {
    sscanf(word, "load.mib=%lu", &parameters.mib);
    sscanf(word, "load.pages=%lu", &parameters.pages);
    sscanf(word, "load.tick=%lu", &parameters.tick_ms);
    sscanf(word, "load.seed=%lu", &parameters.seed);
    sscanf(word, "load.corrupt=%lu", &parameters.corrupt_tick);
    sscanf(word, "load.exit=%15[a-z]@%lu", parameters.exit_how, &parameters.exit_tick);
  }
  if (parameters.mib == 0) parameters.mib = 1;
  if (parameters.tick_ms == 0) parameters.tick_ms = 1;
}

static void prepare_memory(void) {
  page_count = parameters.mib * (1024 * 1024 / PAGE_BYTES);
  memory = mmap(NULL, page_count * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                -1, 0);
  expected = calloc(page_count, sizeof *expected);
  if (memory == MAP_FAILED || !expected) {
    printf("load: %lu MiB do not fit into this guest: %s\n", parameters.mib, strerror(errno));
    for (;;) pause();
  }
  for (uint64_t page = 0; page < page_count; page++) write_page(page);
}

/* No echo, no signals from Ctrl-C (process 1 ignores them, but the terminal would still flush). */
static void prepare_console(void) {
  struct termios settings;
  if (tcgetattr(STDIN_FILENO, &settings) == 0) {
    settings.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
    tcsetattr(STDIN_FILENO, TCSANOW, &settings);
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
}

static void count(uint64_t tick) {
  for (int copy = 0; copy < 2; copy++) {
    volatile uint64_t *value = &counters[copy].value;
    if (*value != tick - 1) errors++;
    *value = tick;
  }
}

/* The next multiple of the tick; after a pause that no clock of the guest saw, or one that it did
 * see, ticks are not made up for in a burst. */
static void wait_for_tick(struct timespec *next) {
  struct timespec now;
  next->tv_nsec += (long)(parameters.tick_ms % 1000) * 1000000;
  next->tv_sec += (time_t)(parameters.tick_ms / 1000) + next->tv_nsec / 1000000000;
  next->tv_nsec %= 1000000000;
  clock_gettime(CLOCK_MONOTONIC, &now);
  if (now.tv_sec > next->tv_sec || (now.tv_sec == next->tv_sec && now.tv_nsec > next->tv_nsec)) {
    *next = now;
    return;
  }
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, next, NULL);
}

int main(void) {
  struct timespec next;
  read_parameters();
  prepare_console();
  prepare_memory();
  random_state = parameters.seed;
  printf("READY mib %lu pages %lu tick %lu seed %lu\n", parameters.mib, parameters.pages,
         parameters.tick_ms, parameters.seed);
  clock_gettime(CLOCK_MONOTONIC, &next);
  for (uint64_t tick = 1, swept = 0;; tick++) {
    count(tick);
    for (uint64_t index = 0; index < parameters.pages; index++) {
      uint64_t page = (random_state = mix(random_state)) % page_count;
      verify_page(page);
      write_page(page);
      verify_page(swept++ % page_count);
    }
    printf("tick %lu err %lu pages %lu\n", tick, errors, written);
    if (tick == parameters.corrupt_tick) obey("corrupt");
    if (tick == parameters.exit_tick) leave(parameters.exit_how);
    read_commands();
    wait_for_tick(&next);
  }
}
