// The shim's own code, called in a child as the loader would call it, and the receiving side.
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>

#include "core/failure.h"
#include "core/tracker.h"
#include "harness.h"
#include "remote_writer.h"
// It is C, and within what C++ shares with it.
#include "shim/uffd_shim.c"

namespace mycelium::test {
namespace {

struct Listener {
  Listener() {
    std::string pattern = std::filesystem::temp_directory_path() / "mycelium-shim-XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
    folder = pattern;
    path = folder + "/s";
    socket.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    // SAFETY: the sockets interface takes every kind of address through this type.
    if (bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
        listen(socket.get(), 1) != 0) {
      throw std::runtime_error("bind");
    }
  }
  ~Listener() { std::filesystem::remove_all(folder); }

  UniqueFd Accept() { return UniqueFd(accept4(socket.get(), nullptr, nullptr, SOCK_CLOEXEC)); }

  std::string folder;
  std::string path;
  UniqueFd socket;
};

TrackerOptions ShimOptions(pid_t pid, const UniqueFd& socket) {
  TrackerOptions options;
  options.tier = TrackerTier::kAsync;
  options.pid = pid;
  options.method = DescriptorMethod::kShim;
  options.shim_socket = socket.get();
  return options;
}

// Skips only where tier A itself cannot serve.
void RequireAsync() {
  try {
    TrackerOptions options;
    options.tier = TrackerTier::kAsync;
    MakeTracker(Memory::Create(size_t{1} << 16, "shim-test"), options);
  } catch (const SystemFailure& failure) {
    SKIP(failure.what());
  }
}

int ErrorOf(const std::shared_ptr<Memory>& memory, const TrackerOptions& options) {
  try {
    MakeTracker(memory, options);
  } catch (const SystemFailure& failure) {
    return failure.code().value();
  }
  return 0;
}

TEST("shim: its descriptor serves, and its traces in the environment are gone") {
  RequireAsync();
  Listener listener;
  const auto memory = Memory::Create(64 * kPageBytes, "shim-test");
  std::array<int, 2> ends{};
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
  const UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  Child child([&] {
    setenv("MYCELIUM_UFFD_SOCKET", listener.path.c_str(), 1);
    setenv("LD_PRELOAD", "/nowhere/uffd_shim.so", 1);
    mycelium_uffd_shim();
    if (getenv("LD_PRELOAD") != nullptr || getenv("MYCELIUM_UFFD_SOCKET") != nullptr) _exit(1);
    char page = 0;
    while (read(theirs.get(), &page, 1) == 1) {
      memory->data()[static_cast<size_t>(page) * kPageBytes] += 1;
      if (write(theirs.get(), &page, 1) != 1) _exit(2);
    }
    _exit(0);
  });
  theirs.reset();
  const auto have_written = [&](char page) {
    return write(ours.get(), &page, 1) == 1 && read(ours.get(), &page, 1) == 1;
  };
  const UniqueFd socket = listener.Accept();
  const auto tracker = MakeTracker(memory, ShimOptions(child.pid(), socket)).tracker;
  PageBitmap before(memory->pages());
  for (size_t page = 0; page < memory->pages(); ++page)
    CHECK(have_written(static_cast<char>(page)));
  tracker->Scan(before);
  CHECK_EQ(before.Count(), memory->pages());
  CHECK(have_written(33));
  PageBitmap found(memory->pages());
  tracker->Scan(found);
  CHECK(found.Test(33));
}

TEST("shim: without its socket the program starts all the same") {
  Child child([] {
    setenv("MYCELIUM_UFFD_SOCKET", "/nowhere/at/all", 1);
    mycelium_uffd_shim();
    setenv("MYCELIUM_UFFD_SOCKET", std::string(300, 'x').c_str(), 1);
    mycelium_uffd_shim();
    unsetenv("MYCELIUM_UFFD_SOCKET");
    mycelium_uffd_shim();
    _exit(0);
  });
  CHECK_EQ(child.Join(), 0);
}

TEST("shim: a descriptor of another process is refused") {
  RequireAsync();
  Listener listener;
  const auto memory = Memory::Create(64 * kPageBytes, "shim-test");
  const Child watched([] { pause(); });
  const Child sender([&] {
    setenv("MYCELIUM_UFFD_SOCKET", listener.path.c_str(), 1);
    mycelium_uffd_shim();
    pause();
  });
  const UniqueFd socket = listener.Accept();
  CHECK_EQ(ErrorOf(memory, ShimOptions(watched.pid(), socket)), EPROTO);
}

// What a child that connects sends instead of the shim's message.
int ErrorAfter(const std::function<void(int socket)>& send) {
  RequireAsync();
  Listener listener;
  const auto memory = Memory::Create(64 * kPageBytes, "shim-test");
  const Child child([&] {
    const int socket = connect_to(listener.path.c_str());
    send(socket);
    close(socket);
    pause();
  });
  const UniqueFd socket = listener.Accept();
  return ErrorOf(memory, ShimOptions(child.pid(), socket));
}

TEST("shim: what is not its message is refused") {
  CHECK_EQ(ErrorAfter([](int) {}), EPROTO);  // closed without a word
  CHECK_EQ(ErrorAfter([](int socket) {
             if (write(socket, "hello", 5) != 5) _exit(1);
           }),
           EPROTO);
  mycelium_uffd_message message = {MYCELIUM_UFFD_MAGIC, MYCELIUM_UFFD_VERSION + 1, 0, 0, 0};
  CHECK_EQ(ErrorAfter([&](int socket) { send_descriptor(socket, 0, &message); }), EPROTO);
  message.version = MYCELIUM_UFFD_VERSION;
  CHECK_EQ(ErrorAfter([&](int socket) { send_descriptor(socket, -1, &message); }), EPROTO);
  // A descriptor, but no userfaultfd.
  CHECK_EQ(ErrorAfter([&](int socket) { send_descriptor(socket, 0, &message); }), ENOTTY);
  message.error = EMFILE;
  CHECK_EQ(ErrorAfter([&](int socket) { send_descriptor(socket, -1, &message); }), EMFILE);
}

TEST("shim: silence ends in a time limit") {
  CHECK_EQ(ErrorAfter([](int) { pause(); }), ETIMEDOUT);
}

}  // namespace
}  // namespace mycelium::test
