// A child process that maps a memory at an address of its own and writes to it on command.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "core/memory.h"
#include "core/unique_fd.h"

namespace mycelium::test {

// Who writes. Pages are of kPageBytes.
class Writer {
 public:
  virtual ~Writer() = default;
  virtual pid_t pid() const = 0;  // 0: this process
  virtual void WriteByUser(size_t page, uint64_t value) = 0;
  // read(2) of `bytes` bytes of `value` to `offset`.
  virtual void WriteByKernel(size_t offset, size_t bytes, uint8_t value) = 0;
  virtual void PunchHole(size_t page) = 0;
  // Several threads write stamps to random pages, at full speed, until StopStorm.
  virtual void StartStorm() = 0;
  virtual void StopStorm() = 0;
};

std::unique_ptr<Writer> MakeOwnWriter(std::shared_ptr<Memory> memory);
std::unique_ptr<Writer> MakeRemoteWriter(const std::shared_ptr<Memory>& memory);

// A child that runs `body`; ends with its parent, and is killed and reaped with the object.
class Child {
 public:
  explicit Child(const std::function<void()>& body);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();

  pid_t pid() const { return pid_; }
  void Kill();  // SIGKILL, and waits for its end
  // Waits for its end; the exit code, or 128 + the signal.
  int Join();

 private:
  pid_t pid_;
  bool reaped_ = false;
};

}  // namespace mycelium::test
