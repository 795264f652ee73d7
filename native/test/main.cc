#include <cstdio>
#include <exception>
#include <string>

#include "harness.h"

namespace harness {
namespace {

// Each line of a diagnostic becomes a TAP comment.
void PrintComment(const std::string& text) {
  std::string line = "# ";
  for (const char letter : text) {
    line += letter;
    if (letter == '\n') line += "# ";
  }
  std::puts(line.c_str());
}

bool RunCase(const Case& test, size_t number) {
  std::string failure;
  try {
    test.run();
    std::printf("ok %zu - %s\n", number, test.name.c_str());
    return true;
  } catch (const Skipped& skipped) {
    std::printf("ok %zu - %s # SKIP %s\n", number, test.name.c_str(), skipped.what());
    return true;
  } catch (const std::exception& error) {
    failure = error.what();
  } catch (...) {
    failure = "threw something that is no std::exception";
  }
  std::printf("not ok %zu - %s\n", number, test.name.c_str());
  PrintComment(failure);
  return false;
}

}  // namespace

int Run(const std::string& filter) {
  std::vector<const Case*> chosen;
  for (const Case& test : Cases()) {
    if (test.name.find(filter) != std::string::npos) chosen.push_back(&test);
  }
  std::printf("TAP version 13\n1..%zu\n", chosen.size());
  std::fflush(stdout);
  bool passed = true;
  for (size_t index = 0; index < chosen.size(); ++index) {
    passed = RunCase(*chosen[index], index + 1) && passed;
    std::fflush(stdout);  // a case may fork: nothing may be left in the buffer
  }
  return passed ? 0 : 1;
}

}  // namespace harness

int main(int argc, char** argv) { return harness::Run(argc > 1 ? argv[1] : ""); }
