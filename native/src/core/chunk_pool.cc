#include "core/chunk_pool.h"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace mycelium {

void ChunkDeleter::operator()(uint8_t* bytes) const noexcept {
  if (pool == nullptr) {
    std::free(bytes);
  } else {
    pool->GiveBack(bytes, capacity);
  }
}

ChunkPool::~ChunkPool() { FreeIdle(0); }

void ChunkPool::FreeIdle(size_t keep) {
  while (idle_.size() > keep) {
    std::free(idle_.back());
    idle_.pop_back();
  }
}

ChunkBuffer ChunkPool::Take(size_t capacity) {
  const std::lock_guard lock(mutex_);
  if (capacity != capacity_) {
    FreeIdle(0);
    // Room for all that may ever wait, so that to give back cannot fail.
    idle_.reserve(kIdleBytesMax / capacity);
    capacity_ = capacity;
  }
  uint8_t* bytes = nullptr;
  if (idle_.empty()) {
    bytes = static_cast<uint8_t*>(std::malloc(capacity));
    if (bytes == nullptr) throw std::bad_alloc();
  } else {
    bytes = idle_.back();
    idle_.pop_back();
  }
  least_idle_ = std::min(least_idle_, idle_.size());
  return {bytes, ChunkDeleter{shared_from_this(), capacity}};
}

void ChunkPool::GiveBack(uint8_t* bytes, size_t capacity) noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (capacity == capacity_ && (idle_.size() + 1) * capacity <= kIdleBytesMax) {
      idle_.push_back(bytes);
      return;
    }
  }
  std::free(bytes);
}

void ChunkPool::Trim() {
  const std::lock_guard lock(mutex_);
  FreeIdle(idle_.size() - std::min(least_idle_, idle_.size()));
  least_idle_ = idle_.size();
}

size_t ChunkPool::idle_bytes() const {
  const std::lock_guard lock(mutex_);
  return idle_.size() * capacity_;
}

}  // namespace mycelium
