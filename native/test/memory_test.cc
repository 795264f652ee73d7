#include "core/memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <string>
#include <system_error>

#include "core/unique_fd.h"
#include "harness.h"

namespace mycelium::test {
namespace {

size_t HostPageBytes() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

TEST("memory: is zeroes, writable, sealed and closed on exec") {
  const auto memory = Memory::Create(4 * HostPageBytes(), "memory-test");
  CHECK_EQ(memory->bytes(), 4 * HostPageBytes());
  CHECK_EQ(memory->pages(), 4 * HostPageBytes() / kPageBytes);
  CHECK(memory->writable());
  CHECK(std::all_of(memory->data(), memory->data() + memory->bytes(),
                    [](uint8_t byte) { return byte == 0; }));
  memory->data()[memory->bytes() - 1] = 9;
  CHECK_EQ(fcntl(memory->fd(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  CHECK(ftruncate(memory->fd(), 0) != 0 && errno == EPERM);
  CHECK(ftruncate(memory->fd(), static_cast<off_t>(8 * HostPageBytes())) != 0 && errno == EPERM);
}

TEST("memory: refuses sizes and names it cannot have") {
  CHECK_THROWS(std::invalid_argument, Memory::Create(0, "x"));
  CHECK_THROWS(std::invalid_argument, Memory::Create(HostPageBytes() + 1, "x"));
  CHECK_THROWS(std::invalid_argument,
               Memory::Create(~size_t{0} / HostPageBytes() * HostPageBytes(), "x"));
  CHECK(Memory::Create(HostPageBytes(), std::string(64, 'n')) != nullptr);
  CHECK_THROWS(std::invalid_argument, Memory::Create(HostPageBytes(), std::string(65, 'n')));
  CHECK_THROWS(std::invalid_argument, Memory::Create(HostPageBytes(), std::string("a\0b", 3)));
}

TEST("memory: an adopted file is the same memory, and the caller keeps its descriptor") {
  const auto first = Memory::Create(4 * HostPageBytes(), "memory-test");
  auto second = Memory::Adopt(first->fd(), 2 * HostPageBytes(), true);
  CHECK(second->fd() != first->fd());
  CHECK_EQ(fcntl(second->fd(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  first->data()[5] = 42;
  CHECK_EQ(int{second->data()[5]}, 42);
  second.reset();
  CHECK(fcntl(first->fd(), F_GETFD) >= 0);
  CHECK_EQ(int{first->data()[5]}, 42);
}

TEST("memory: adopting refuses what is no file, is too short, or must not be written") {
  const auto memory = Memory::Create(2 * HostPageBytes(), "memory-test");
  CHECK_THROWS(std::invalid_argument, Memory::Adopt(memory->fd(), 3 * HostPageBytes(), true));
  CHECK_THROWS(std::invalid_argument, Memory::Adopt(memory->fd(), HostPageBytes() / 2, true));
  CHECK_THROWS(std::system_error, Memory::Adopt(-1, HostPageBytes(), true));
  int ends[2];
  CHECK(pipe2(ends, O_CLOEXEC) == 0);
  const UniqueFd read_end(ends[0]);
  const UniqueFd write_end(ends[1]);
  CHECK_THROWS(std::invalid_argument, Memory::Adopt(ends[0], HostPageBytes(), false));
  const std::string path = "/proc/self/fd/" + std::to_string(memory->fd());
  const UniqueFd read_only(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  CHECK(read_only.valid());
  CHECK_THROWS(std::system_error, Memory::Adopt(read_only.get(), HostPageBytes(), true));
  CHECK(!Memory::Adopt(read_only.get(), HostPageBytes(), false)->writable());
}

TEST("memory: knows which pages are populated") {
  const size_t host_pages = HostPageBytes() / kPageBytes;
  const auto memory = Memory::Create(1024 * HostPageBytes(), "memory-test");
  PageBitmap none(memory->pages());
  memory->PopulatedPages(none);
  CHECK_EQ(none.Count(), size_t{0});
  for (const size_t page : {size_t{0}, size_t{700}, size_t{1023}}) {
    memory->data()[page * HostPageBytes()] = 1;
  }
  PageBitmap some(memory->pages());
  memory->PopulatedPages(some);
  CHECK(some.Test(0) && some.Test(700 * host_pages) && some.Test(1024 * host_pages - 1));
  CHECK(some.Count() >= 3 * host_pages && some.Count() < memory->pages());
  // Reading the others did not happen: they are still holes.
  PageBitmap again(memory->pages());
  memory->PopulatedPages(again);
  CHECK_EQ(again.Count(), some.Count());
}

TEST("memory: populated pages of the first part of a longer file") {
  const auto whole = Memory::Create(8 * HostPageBytes(), "memory-test");
  for (size_t page = 0; page < 8; ++page) whole->data()[page * HostPageBytes()] = 1;
  const auto part = Memory::Adopt(whole->fd(), 3 * HostPageBytes(), false);
  PageBitmap populated(part->pages());
  part->PopulatedPages(populated);
  CHECK_EQ(populated.Count(), part->pages());
}

}  // namespace
}  // namespace mycelium::test
