#include "core/image.h"

#include <fcntl.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

#include "core/page_hash.h"

namespace mycelium {

namespace {

// Runs of so many pages that become zero give their memory back; below, overwriting is cheaper
// than the system call and the later fault.
constexpr size_t kPunchPagesMin = 16;

// Pages written with one system call: IOV_MAX of Linux.
constexpr size_t kRunPagesMax = 1024;

std::string Hex(uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016" PRIx64, value);
  return text;
}

std::shared_ptr<Memory> RequireWritable(std::shared_ptr<Memory> memory) {
  if (!memory->writable()) throw std::invalid_argument("the memory of an image must be writable");
  return memory;
}

}  // namespace

RootError::RootError(uint64_t expected, uint64_t actual)
    : CodedFailure("ERR_RAM_ROOT",
                   "the image hash would be " + Hex(actual) + ", not " + Hex(expected)) {}

Image::Image(std::shared_ptr<Memory> memory)
    : memory_(RequireWritable(std::move(memory))),
      hashes_(memory_->pages()),
      staging_(memory_->pages()),
      staged_hashes_(std::max<size_t>(memory_->pages(), 1) * sizeof(uint64_t)) {
  PageBitmap populated(pages());
  memory_->PopulatedPages(populated);
  populated.ForEach([&](size_t page) {
    hashes_[page] = HashPage(Page(page), page);
    root_ += hashes_[page];
  });
  staged_root_ = root_;
}

uint64_t* Image::StagedHashes() const {
  // SAFETY: a mapping is aligned to a page, and holds one hash per page number.
  return reinterpret_cast<uint64_t*>(staged_hashes_.data());
}

size_t Image::Stage(std::span<const uint8_t> payload, uint64_t checksum) {
  if (HashBytes(payload) != checksum) throw ChunkError("the payload does not have its checksum");
  Batch batch;
  try {
    Expand(payload, batch);
  } catch (...) {
    for (const Fresh& fresh : batch.fresh) staging_.Drop(fresh.slot);
    throw;
  }
  // From here on nothing can fail.
  for (const Fresh& fresh : batch.fresh) Keep(fresh.page, fresh.slot, fresh.hash);
  for (const ZeroRun& run : batch.zeroes) {
    for (size_t index = 0; index < run.count; ++index) {
      Keep(run.page + index, PageStaging::kZeroSlot, 0);
    }
  }
  return batch.pages;
}

// Computes every page of the payload into a slot of its own. No page stands in a payload twice,
// so none depends on another.
void Image::Expand(std::span<const uint8_t> payload, Batch& batch) {
  RecordReader reader(payload, pages());
  PageRecord record;
  while (reader.Next(record)) {
    batch.pages += record.count;
    if (record.kind == RecordKind::kZero) {
      batch.zeroes.push_back({record.page, record.count});
      continue;
    }
    batch.fresh.push_back({record.page, PageStaging::kZeroSlot, 0});  // first: Take may throw too
    batch.fresh.back().slot = staging_.Take();
    uint8_t* const out = staging_.Room(batch.fresh.back().slot);
    ExpandPage(record, out);
    batch.fresh.back().hash = HashPage(out, record.page);
  }
}

void Image::ExpandPage(const PageRecord& record, uint8_t* out) const {
  switch (record.kind) {
    case RecordKind::kZero:
      return;
    case RecordKind::kRaw:
      std::memcpy(out, record.body.data(), kPageBytes);
      return;
    case RecordKind::kLz4:
      if (DecompressPage(record.body, out)) return;
      throw ChunkError("page " + std::to_string(record.page) + ": damaged lz4 block");
    case RecordKind::kWords:
      if (staging_.Has(record.page)) {
        std::memcpy(out, staging_.Data(staging_.SlotOf(record.page)), kPageBytes);
      } else if (hashes_[record.page] == 0) {
        std::memset(out, 0, kPageBytes);  // perhaps a hole: reading it would allocate it
      } else {
        std::memcpy(out, Page(record.page), kPageBytes);
      }
      ApplyDifference(record.body.data(), out);
      return;
  }
}

void Image::Keep(size_t page, PageStaging::Slot slot, uint64_t hash) {
  staged_root_ += hash - (staging_.Has(page) ? StagedHashes()[page] : hashes_[page]);
  staging_.Assign(page, slot);
  StagedHashes()[page] = hash;
}

size_t Image::Fill(std::span<const uint8_t> payload, uint64_t checksum) {
  if (staging_.count() > 0) throw CodedFailure("ERR_RAM_ORDER", "a fill in the middle of an epoch");
  if (HashBytes(payload) != checksum) throw ChunkError("the payload does not have its checksum");
  Arrivals arrivals;
  const auto end = [&] {
    if (arrivals.has_slots) staging_.Clear();
    staged_root_ = root_;
  };
  try {
    Collect(payload, arrivals);
    const std::span<const Incoming> pages(arrivals.pages);
    for (size_t first = 0, last = 0; first < pages.size(); first = ++last) {
      while (last + 1 < pages.size() && last + 1 - first < kRunPagesMax &&
             pages[last + 1].page == pages[last].page + 1) {
        ++last;
      }
      WriteRun(pages.subspan(first, last + 1 - first));
    }
    for (const ZeroRun& run : arrivals.zeroes) {
      for (size_t page = run.page; page < run.page + run.count; ++page) root_ -= hashes_[page];
      ZeroPages(run.page, run.page + run.count);
    }
  } catch (...) {
    end();
    throw;
  }
  end();
  return arrivals.count;
}

void Image::Collect(std::span<const uint8_t> payload, Arrivals& arrivals) {
  RecordReader reader(payload, pages());
  PageRecord record;
  while (reader.Next(record)) {
    arrivals.count += record.count;
    if (record.kind == RecordKind::kZero) {
      arrivals.zeroes.push_back({record.page, record.count});
      continue;
    }
    const uint8_t* content = record.body.data();
    if (record.kind != RecordKind::kRaw) {
      if (record.kind == RecordKind::kWords) {
        throw ChunkError("page " + std::to_string(record.page) + ": a difference in a fill");
      }
      arrivals.has_slots = true;
      uint8_t* const out = staging_.Room(staging_.Take());
      ExpandPage(record, out);
      content = out;
    }
    arrivals.pages.push_back({record.page, content, HashPage(content, record.page)});
  }
}

// With the system call and not through the mapping: the kernel need not clear a new page before it
// is written, nor handle a fault for it, and says by an error that there is no room (1.6 times as
// fast as fallocate and memcpy, kernel 6.18).
void Image::WriteRun(std::span<const Incoming> run) {
  std::vector<iovec> parts;
  parts.reserve(run.size());
  // SAFETY: pwritev only reads what an iovec points to.
  for (const Incoming& one : run) parts.push_back({const_cast<uint8_t*>(one.content), kPageBytes});
  const size_t bytes = run.size() * kPageBytes;
  const off_t at = static_cast<off_t>(run.front().page * kPageBytes);
  size_t done = 0;
  while (done < bytes) {
    iovec* const next = &parts[done / kPageBytes];
    const size_t inside = done % kPageBytes;
    const iovec whole = *next;
    *next = {static_cast<uint8_t*>(whole.iov_base) + inside, kPageBytes - inside};
    const ssize_t written =
        pwritev(memory_->fd(), next, static_cast<int>(parts.size() - done / kPageBytes),
                at + static_cast<off_t>(done));
    const int error = written < 0 ? errno : ENOSPC;
    *next = whole;
    if (written > 0) {
      done += static_cast<size_t>(written);
    } else if (written == 0 || error != EINTR) {
      if (inside > 0) HashAgain(run[done / kPageBytes].page);
      for (size_t index = 0; index < done / kPageBytes; ++index) {
        SetHash(run[index].page, run[index].hash);
      }
      throw SystemFailure(error, "pwritev", "pwritev: no memory for the image");
    }
  }
  for (const Incoming& one : run) SetHash(one.page, one.hash);
}

void Image::SetHash(size_t page, uint64_t hash) {
  root_ += hash - hashes_[page];
  hashes_[page] = hash;
}

// A page that was written in part. It exists: to read it through the mapping needs no memory.
void Image::HashAgain(size_t page) { SetHash(page, HashPage(Page(page), page)); }

size_t Image::Apply(std::optional<uint64_t> root) {
  if (root.has_value() && *root != staged_root_) throw RootError(*root, staged_root_);
  AllocateHoles();
  // From here on nothing can fail.
  const size_t count = staging_.count();
  size_t zero_first = 0;
  size_t zero_end = 0;
  staging_.pages().ForEach([&](size_t page) {
    const PageStaging::Slot slot = staging_.SlotOf(page);
    if (slot != PageStaging::kZeroSlot) {
      std::memcpy(Page(page), staging_.Data(slot), kPageBytes);
      hashes_[page] = StagedHashes()[page];
      return;
    }
    if (page != zero_end) {
      ZeroPages(zero_first, zero_end);
      zero_first = page;
    }
    zero_end = page + 1;
  });
  ZeroPages(zero_first, zero_end);
  root_ = staged_root_;
  staging_.Clear();
  return count;
}

// fallocate(2) on whole pages. False: errno says why.
bool Image::Allocate(size_t first, size_t end, int mode) const {
  int result;
  do {
    result =
        fallocate(memory_->fd(), mode | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(first * kPageBytes),
                  static_cast<off_t>((end - first) * kPageBytes));
  } while (result != 0 && errno == EINTR);
  return result == 0;
}

// Takes the memory of pages that may be holes before the first of them is written: where it cannot
// be had (a full tmpfs), the system says so here, and not by SIGBUS in the middle of applying.
void Image::AllocateHoles() const {
  std::vector<std::pair<size_t, size_t>> runs;
  staging_.pages().ForEach([&](size_t page) {
    if (hashes_[page] != 0 || staging_.SlotOf(page) == PageStaging::kZeroSlot) return;
    if (runs.empty() || runs.back().second != page) runs.emplace_back(page, page);
    runs.back().second = page + 1;
  });
  for (size_t index = 0; index < runs.size(); ++index) {
    if (Allocate(runs[index].first, runs[index].second, 0)) continue;
    const int error = errno;
    if (error == EOPNOTSUPP) return;
    while (index-- > 0) Allocate(runs[index].first, runs[index].second, FALLOC_FL_PUNCH_HOLE);
    throw SystemFailure(error, "fallocate", "fallocate: no memory for the image");
  }
}

void Image::ZeroPages(size_t first, size_t end) {
  const auto is_zero = [&](size_t page) { return hashes_[page] == 0; };
  while (first < end && is_zero(first)) ++first;
  while (first < end && is_zero(end - 1)) --end;
  const bool punched = end - first >= kPunchPagesMin && Allocate(first, end, FALLOC_FL_PUNCH_HOLE);
  for (size_t page = first; page < end; ++page) {
    if (!punched && !is_zero(page)) std::memset(Page(page), 0, kPageBytes);
    hashes_[page] = 0;
  }
}

void Image::Discard() {
  staging_.Clear();
  staged_root_ = root_;
}

}  // namespace mycelium
