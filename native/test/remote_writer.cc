#include "remote_writer.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <random>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace mycelium::test {
namespace {

constexpr int kStormThreads = 3;

[[noreturn]] void Throw(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

// The writing itself, the same in this process and in a child.
class Hands {
 public:
  Hands(uint8_t* data, size_t bytes, int fd)
      : data_(data), bytes_(bytes), fd_(fd), source_(memfd_create("test-source", MFD_CLOEXEC)) {
    if (!source_.valid()) Throw("memfd_create");
  }

  void ByUser(size_t page, uint64_t value) {
    *reinterpret_cast<volatile uint64_t*>(data_ + page * kPageBytes) = value;
  }

  void ByKernel(size_t offset, size_t bytes, uint8_t value) {
    const std::vector<uint8_t> content(bytes, value);
    if (pwrite(source_.get(), content.data(), bytes, 0) != static_cast<ssize_t>(bytes)) {
      Throw("pwrite");
    }
    if (pread(source_.get(), data_ + offset, bytes, 0) != static_cast<ssize_t>(bytes)) {
      Throw("pread");
    }
  }

  void Punch(size_t page) {
    if (fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  static_cast<off_t>(page * kPageBytes), kPageBytes) != 0) {
      Throw("fallocate");
    }
  }

  void StartStorm() {
    storm_ = true;
    for (int thread = 0; thread < kStormThreads; ++thread) {
      threads_.emplace_back([this, thread] { Storm(static_cast<uint64_t>(thread)); });
    }
  }

  void StopStorm() {
    storm_ = false;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  void Storm(uint64_t thread) {
    std::minstd_rand random(static_cast<uint32_t>(thread + 1));
    const size_t pages = bytes_ / kPageBytes;
    const size_t words = kPageBytes / sizeof(uint64_t);
    for (uint64_t stamp = 1; storm_; ++stamp) {
      const size_t page = random() % pages;
      const size_t word = random() % words;
      reinterpret_cast<volatile uint64_t*>(data_ + page * kPageBytes)[word] = stamp << 8 | thread;
    }
  }

  uint8_t* data_;
  size_t bytes_;
  int fd_;
  UniqueFd source_;
  std::atomic<bool> storm_ = false;
  std::vector<std::thread> threads_;
};

class OwnWriter final : public Writer {
 public:
  explicit OwnWriter(std::shared_ptr<Memory> memory)
      : memory_(std::move(memory)), hands_(memory_->data(), memory_->bytes(), memory_->fd()) {}

  pid_t pid() const override { return 0; }
  void WriteByUser(size_t page, uint64_t value) override { hands_.ByUser(page, value); }
  void WriteByKernel(size_t offset, size_t bytes, uint8_t value) override {
    hands_.ByKernel(offset, bytes, value);
  }
  void PunchHole(size_t page) override { hands_.Punch(page); }
  void StartStorm() override { hands_.StartStorm(); }
  void StopStorm() override { hands_.StopStorm(); }

 private:
  std::shared_ptr<Memory> memory_;
  Hands hands_;
};

struct Command {
  enum Kind : uint32_t { kByUser, kByKernel, kPunch, kStart, kStop } kind;
  uint64_t where;
  uint64_t bytes;
  uint64_t value;
};

void Obey(int socket, const Memory& memory) {
  void* data = mmap(nullptr, memory.bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, memory.fd(), 0);
  if (data == MAP_FAILED) Throw("mmap");
  munmap(memory.data(), memory.bytes());  // so that only one mapping is left, elsewhere
  Hands hands(static_cast<uint8_t*>(data), memory.bytes(), memory.fd());
  Command command{};
  int error = 0;
  if (write(socket, &error, sizeof(error)) != sizeof(error)) return;
  while (read(socket, &command, sizeof(command)) == sizeof(command)) {
    try {
      error = 0;
      if (command.kind == Command::kByUser) hands.ByUser(command.where, command.value);
      if (command.kind == Command::kByKernel) {
        hands.ByKernel(command.where, command.bytes, static_cast<uint8_t>(command.value));
      }
      if (command.kind == Command::kPunch) hands.Punch(command.where);
      if (command.kind == Command::kStart) hands.StartStorm();
      if (command.kind == Command::kStop) hands.StopStorm();
    } catch (const std::system_error& failure) {
      error = failure.code().value();
    }
    if (write(socket, &error, sizeof(error)) != sizeof(error)) return;
  }
}

class RemoteWriter final : public Writer {
 public:
  explicit RemoteWriter(const std::shared_ptr<Memory>& memory) {
    std::array<int, 2> ends{};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
      Throw("socketpair");
    }
    socket_.reset(ends[0]);
    const UniqueFd other(ends[1]);
    child_ = std::make_unique<Child>([&] {
      socket_.reset();
      Obey(other.get(), *memory);
    });
    Await();
  }

  pid_t pid() const override { return child_->pid(); }
  void WriteByUser(size_t page, uint64_t value) override {
    Send({Command::kByUser, page, 0, value});
  }
  void WriteByKernel(size_t offset, size_t bytes, uint8_t value) override {
    Send({Command::kByKernel, offset, bytes, value});
  }
  void PunchHole(size_t page) override { Send({Command::kPunch, page, 0, 0}); }
  void StartStorm() override { Send({Command::kStart, 0, 0, 0}); }
  void StopStorm() override { Send({Command::kStop, 0, 0, 0}); }

 private:
  void Send(const Command& command) {
    if (write(socket_.get(), &command, sizeof(command)) != sizeof(command)) Throw("write");
    Await();
  }

  void Await() {
    int error = 0;
    const ssize_t got = read(socket_.get(), &error, sizeof(error));
    if (got != sizeof(error)) throw std::runtime_error("the child has ended");
    errno = error;
    if (error != 0) Throw("in the child");
  }

  UniqueFd socket_;
  std::unique_ptr<Child> child_;
};

}  // namespace

Child::Child(const std::function<void()>& body) : pid_(fork()) {
  if (pid_ < 0) Throw("fork");
  if (pid_ > 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  int code = 0;
  try {
    body();
  } catch (...) {
    code = 99;
  }
  _exit(code);
}

Child::~Child() { Kill(); }

void Child::Kill() {
  if (reaped_) return;
  kill(pid_, SIGKILL);
  Join();
}

int Child::Join() {
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  reaped_ = true;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::unique_ptr<Writer> MakeOwnWriter(std::shared_ptr<Memory> memory) {
  return std::make_unique<OwnWriter>(std::move(memory));
}

std::unique_ptr<Writer> MakeRemoteWriter(const std::shared_ptr<Memory>& memory) {
  return std::make_unique<RemoteWriter>(memory);
}

}  // namespace mycelium::test
