// What the core throws when something outside this program refuses.
#pragma once

#include <cerrno>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace mycelium {

// A system call failed. `code().value()` is the errno, `syscall()` the name of the call.
class SystemFailure : public std::system_error {
 public:
  SystemFailure(int error, std::string syscall, const std::string& about)
      : std::system_error(error, std::generic_category(), about.empty() ? syscall : about),
        syscall_(std::move(syscall)) {}

  const std::string& syscall() const { return syscall_; }

 private:
  std::string syscall_;
};

// A failure with a code of our own (ERR_RAM_CHUNK, ...), on which callers may branch.
class CodedFailure : public std::runtime_error {
 public:
  CodedFailure(std::string code, const std::string& message)
      : std::runtime_error(message), code_(std::move(code)) {}

  const std::string& code() const { return code_; }

 private:
  std::string code_;
};

// Call it directly after the failed call: it reads errno. `about` says on what, in words.
[[noreturn]] inline void ThrowErrno(const char* syscall, const std::string& about = {}) {
  const int error = errno;
  throw SystemFailure(error, syscall, about.empty() ? syscall : syscall + (": " + about));
}

}  // namespace mycelium
