// A test harness in one header: prints TAP, which the runner counts.
#pragma once

#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace harness {

struct Case {
  std::string name;
  std::function<void()> run;
};

// Function-local, so that registration works in whatever order the files are initialised.
inline std::vector<Case>& Cases() {
  static std::vector<Case> cases;
  return cases;
}

// Registers a case; for suites that run over several implementations.
inline bool Register(std::string name, std::function<void()> run) {
  Cases().push_back({std::move(name), std::move(run)});
  return true;
}

struct Failed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Skipped : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <typename T>
std::string Show(const T& value) {
  if constexpr (requires(std::ostringstream & out) { out << value; }) {
    std::ostringstream out;
    out << value;
    return out.str();
  } else {
    return "(value)";
  }
}

[[noreturn]] inline void Fail(const char* file, int line, const std::string& what) {
  throw Failed(std::string(file) + ":" + std::to_string(line) + ": " + what);
}

template <typename A, typename B>
void CheckEqual(const A& got, const B& expected, const char* text, const char* file, int line) {
  if (got == expected) return;
  Fail(file, line, std::string(text) + ": got " + Show(got) + ", expected " + Show(expected));
}

// Runs `body` and returns the text of the exception of type E that it must throw.
template <typename E, typename F>
std::string ExpectThrow(F&& body, const char* text, const char* file, int line) {
  try {
    body();
  } catch (const E& error) {
    return error.what();
  } catch (const Skipped&) {
    throw;
  } catch (const std::exception& error) {
    Fail(file, line, std::string(text) + ": threw another type: " + error.what());
  }
  Fail(file, line, std::string(text) + ": did not throw");
}

// Runs the cases whose name contains `filter`. Returns the exit code.
int Run(const std::string& filter);

}  // namespace harness

#define HARNESS_JOIN_(a, b) a##b
#define HARNESS_JOIN(a, b) HARNESS_JOIN_(a, b)

// TEST("what holds") { ... }
#define TEST(name)                                                             \
  static void HARNESS_JOIN(TestBody, __LINE__)();                              \
  [[maybe_unused]] static const bool HARNESS_JOIN(test_registered, __LINE__) = \
      harness::Register(name, &HARNESS_JOIN(TestBody, __LINE__));              \
  static void HARNESS_JOIN(TestBody, __LINE__)()

#define CHECK(condition)                                             \
  do {                                                               \
    if (!(condition)) harness::Fail(__FILE__, __LINE__, #condition); \
  } while (false)

#define CHECK_EQ(got, expected) \
  harness::CheckEqual((got), (expected), #got " == " #expected, __FILE__, __LINE__)

// Gives the text of the exception, so that it can be checked too.
#define CHECK_THROWS(type, expression)                                                      \
  harness::ExpectThrow<type>([&] { static_cast<void>(expression); }, #expression, __FILE__, \
                             __LINE__)

// Ends the case as skipped; the reason is printed.
#define SKIP(reason) throw harness::Skipped(reason)
