#include "core/process_watch.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <stdexcept>
#include <string_view>

namespace mycelium {
namespace {

// A process has at most 65,530 mappings by default (vm.max_map_count); a line is at most a path
// long. More is refused instead of read without end.
constexpr size_t kMapsBytesMax = size_t{64} << 20;

std::string Describe(pid_t pid) { return "process " + std::to_string(pid); }

// Takes fields off the front of a line. Not sscanf: a new libc binds it to a version of its own.
class FieldReader {
 public:
  explicit FieldReader(std::string_view line) : left_(line) {}

  // A number and the letter after it, which may be missing at the end of the line.
  bool Number(uint64_t& out, int base, char after) {
    const char* const end = left_.data() + left_.size();
    const auto [stop, error] = std::from_chars(left_.data(), end, out, base);
    if (error != std::errc()) return false;
    left_.remove_prefix(static_cast<size_t>(stop - left_.data()));
    if (left_.empty()) return after == ' ';
    if (left_.front() != after) return false;
    left_.remove_prefix(1);
    return true;
  }

  bool Word(std::string_view& out, size_t letters) {
    if (left_.size() <= letters || left_[letters] != ' ') return false;
    out = left_.substr(0, letters);
    left_.remove_prefix(letters + 1);
    return true;
  }

  std::string Rest() const {
    const size_t first = left_.find_first_not_of(' ');
    return first == std::string_view::npos ? "" : std::string(left_.substr(first));
  }

 private:
  std::string_view left_;
};

std::string ReadWhole(const std::string& path, const std::string& about) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) ThrowErrno("open", path);
  std::string text;
  std::array<char, 65536> part;
  for (;;) {
    const ssize_t got = read(fd.get(), part.data(), part.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) ThrowErrno("read", path);
    if (got == 0) return text;
    text.append(part.data(), static_cast<size_t>(got));
    if (text.size() > kMapsBytesMax) {
      throw SystemFailure(EOVERFLOW, "read", about + " has too many mappings");
    }
  }
}

}  // namespace

ProcessWatch::ProcessWatch(pid_t pid) : pid_(pid) {
  if (pid <= 0) throw std::invalid_argument("pid must be positive, got " + std::to_string(pid));
  pidfd_.reset(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  // EINVAL: the number of a thread that does not lead its process.
  if (!pidfd_.valid()) ThrowErrno("pidfd_open", Describe(pid));
}

void ProcessWatch::CheckAlive() const {
  pollfd ended{pidfd_.get(), POLLIN, 0};
  int count = 0;
  do {
    count = poll(&ended, 1, 0);
  } while (count < 0 && errno == EINTR);
  if (count < 0) ThrowErrno("poll");
  if (count > 0) throw SystemFailure(ESRCH, "poll", Describe(pid_) + " has ended");
}

std::optional<ProcessMapping> ParseMapping(const std::string& line) {
  // start-end modes offset major:minor inode    name
  FieldReader reader(line);
  ProcessMapping mapping{};
  uint64_t major = 0;
  uint64_t minor = 0;
  std::string_view modes;
  const bool understood = reader.Number(mapping.start, 16, '-') &&
                          reader.Number(mapping.end, 16, ' ') && reader.Word(modes, 4) &&
                          reader.Number(mapping.offset, 16, ' ') && reader.Number(major, 16, ':') &&
                          reader.Number(minor, 16, ' ') && reader.Number(mapping.inode, 10, ' ');
  if (!understood || mapping.end < mapping.start) return std::nullopt;
  mapping.writable = modes[1] == 'w';
  mapping.shared = modes[3] == 's';
  mapping.device = makedev(static_cast<unsigned>(major), static_cast<unsigned>(minor));
  mapping.name = reader.Rest();
  return mapping;
}

std::vector<ProcessMapping> ReadMappings(const ProcessWatch& process) {
  const std::string path = "/proc/" + std::to_string(process.pid()) + "/maps";
  const std::string text = ReadWhole(path, Describe(process.pid()));
  process.CheckAlive();
  std::vector<ProcessMapping> mappings;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (auto mapping = ParseMapping(text.substr(begin, end - begin))) {
      mappings.push_back(std::move(*mapping));
    }
    begin = end + 1;
  }
  return mappings;
}

uint64_t FindMapping(const ProcessWatch& process, const Memory& memory) {
  struct statx file {};
  if (statx(memory.fd(), "", AT_EMPTY_PATH, STATX_INO, &file) != 0) ThrowErrno("statx");
  const uint64_t device = makedev(file.stx_dev_major, file.stx_dev_minor);
  // madvise and mprotect on a part split a mapping into several lines: they are joined again.
  std::optional<ProcessMapping> joined;
  std::optional<ProcessMapping> best;
  for (const ProcessMapping& mapping : ReadMappings(process)) {
    if (mapping.inode != file.stx_ino || mapping.device != device || !mapping.shared ||
        !mapping.writable) {
      continue;
    }
    if (joined && joined->end == mapping.start &&
        joined->offset + (joined->end - joined->start) == mapping.offset) {
      joined->end = mapping.end;
    } else {
      joined = mapping;
    }
    if (joined->offset != 0 || joined->end - joined->start < memory.bytes()) continue;
    if (!best || joined->end - joined->start > best->end - best->start) best = joined;
  }
  if (best) return best->start;
  throw MappingMissing(EINVAL, "open",
                       Describe(process.pid()) + " has no shared, writable mapping of all " +
                           std::to_string(memory.bytes()) + " bytes of this memory file");
}

}  // namespace mycelium
