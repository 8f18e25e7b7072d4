// Memory of the engine: aligned, zeroed, in huge pages where the system has them. No torch in here.
#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "common/huge_pages.h"

namespace fastgan::engine {

struct FreeMemory {
  void operator()(void* p) const { std::free(p); }
};

// `size` zeros, aligned to a cache line at least.
template <typename T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t size) : size_(size) {
    constexpr size_t kHuge = size_t{2} << 20, kLine = 64;
    const size_t align = size * sizeof(T) >= 2 * kHuge ? kHuge : kLine;
    const size_t bytes = (size * sizeof(T) / align + 1) * align;
    data_.reset(static_cast<T*>(std::aligned_alloc(align, bytes)));
    if (data_ == nullptr) throw std::bad_alloc();
    advise_huge_pages(data_.get(), bytes);
    std::memset(data_.get(), 0, bytes);
  }
  T* get() const { return data_.get(); }
  size_t size() const { return size_; }
  size_t bytes() const { return size_ * sizeof(T); }
  T& operator[](size_t i) const { return data_.get()[i]; }

 private:
  std::unique_ptr<T[], FreeMemory> data_;
  size_t size_ = 0;
};

}  // namespace fastgan::engine
