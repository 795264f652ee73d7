#include "core/process_watch.h"

#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>
#include <string>

#include "harness.h"
#include "remote_writer.h"

namespace mycelium::test {
namespace {

TEST("process: understands the lines of maps") {
  const auto shared = ParseMapping(
      "7f0a00000000-7f0a10000000 rw-s 00001000 00:01 1027                       /memfd:ram "
      "(deleted)");
  CHECK(shared.has_value());
  CHECK_EQ(shared->start, uint64_t{0x7f0a00000000});
  CHECK_EQ(shared->end, uint64_t{0x7f0a10000000});
  CHECK(shared->writable && shared->shared);
  CHECK_EQ(shared->offset, uint64_t{0x1000});
  CHECK_EQ(shared->device, uint64_t{makedev(0, 1)});
  CHECK_EQ(shared->inode, uint64_t{1027});
  CHECK_EQ(shared->name, "/memfd:ram (deleted)");
  const auto vdso = ParseMapping("7fff1000-7fff3000 r-xp 00000000 00:00 0     [vdso]");
  CHECK(vdso.has_value() && vdso->name == "[vdso]" && !vdso->shared && !vdso->writable);
  const auto anonymous = ParseMapping("1000-2000 rw-p 00000000 00:00 0 ");
  CHECK(anonymous.has_value() && anonymous->name.empty());
}

TEST("process: passes over what is no line of maps") {
  for (const char* line : {"", "-", "7f-80", "zz-80 rw-p 0 0:0 0", "2000-1000 rw-p 0 00:00 0",
                           "1000-2000 rw 0 00:00 0", "1000-2000 rw-p 0 00-00 0",
                           "fffffffffffffffff-2 rw-p 0 00:00 0"}) {
    CHECK(!ParseMapping(line).has_value());
  }
}

TEST("process: finds the mapping of a memory, also when it is split into several lines") {
  const auto memory = Memory::Create(size_t{64} << 12, "process-test");
  const ProcessWatch self(getpid());
  CHECK_EQ(FindMapping(self, *memory), reinterpret_cast<uint64_t>(memory->data()));
  const auto host_page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  CHECK(madvise(memory->data() + host_page, host_page, MADV_DONTFORK) == 0);
  CHECK_EQ(FindMapping(self, *memory), reinterpret_cast<uint64_t>(memory->data()));
  const auto part = Memory::Adopt(memory->fd(), host_page, true);
  // The first page only: too small for the whole memory, and not the largest for its part.
  CHECK_EQ(FindMapping(self, *part), reinterpret_cast<uint64_t>(memory->data()));
}

TEST("process: takes no mapping that begins in the middle of the memory, however large") {
  const auto host_page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const UniqueFd fd(memfd_create("process-test", MFD_CLOEXEC));
  CHECK(fd.valid() && ftruncate(fd.get(), static_cast<off_t>(64 * host_page)) == 0);
  const auto memory = Memory::Adopt(fd.get(), 2 * host_page, true);
  const ProcessWatch self(getpid());
  void* middle = mmap(nullptr, 63 * host_page, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(),
                      static_cast<off_t>(host_page));
  CHECK(middle != MAP_FAILED);
  CHECK_EQ(FindMapping(self, *memory), reinterpret_cast<uint64_t>(memory->data()));
  munmap(middle, 63 * host_page);
}

TEST("process: no mapping, or only one that cannot be written, is an error") {
  const auto memory = Memory::Create(size_t{64} << 12, "process-test");
  const Child child([&] {
    mprotect(memory->data(), memory->bytes(), PROT_READ);
    pause();
  });
  const auto host_page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const ProcessWatch watch(child.pid());
  // Wait until the child has done so: its mapping then has another mode.
  for (bool seen = false; !seen;) {
    seen = true;
    for (const ProcessMapping& mapping : ReadMappings(watch)) {
      if (mapping.name.starts_with("/memfd:process-test") && mapping.writable) seen = false;
    }
  }
  const std::string text = CHECK_THROWS(MappingMissing, FindMapping(watch, *memory));
  CHECK(text.find(std::to_string(child.pid())) != std::string::npos);
  const auto other = Memory::Create(host_page, "process-test");
  CHECK_THROWS(MappingMissing, FindMapping(watch, *other));
}

TEST("process: notices the end, and a number that nobody has") {
  Child child([] { pause(); });
  const ProcessWatch watch(child.pid());
  watch.CheckAlive();
  child.Kill();
  CHECK_THROWS(SystemFailure, watch.CheckAlive());
  CHECK_THROWS(SystemFailure, ProcessWatch(child.pid()));
  CHECK_THROWS(std::invalid_argument, ProcessWatch(0));
  CHECK_THROWS(std::invalid_argument, ProcessWatch(-5));
}

}  // namespace
}  // namespace mycelium::test
