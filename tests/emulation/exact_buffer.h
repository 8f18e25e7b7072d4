// Heap blocks of the exact size, for the sanitizers' drivers: what lies beside them is not ours.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "cuda/storage.cuh"

namespace fastgan::cuda {

// Exactly `size` elements, a little later than the block begins when `shifted`: not aligned.
template <typename T>
class Buffer {
 public:
  Buffer(int64_t size, float value) : Buffer(size, false, value) {}
  Buffer(int64_t size, bool shifted, float value) : size_(size) {
    block_ = static_cast<T*>(std::malloc(sizeof(T) * (size + shifted)));
    data_ = block_ + shifted;
    for (int64_t i = 0; i < size; ++i) data_[i] = store<T>(value * static_cast<float>(i % 13 - 6));
  }
  ~Buffer() { std::free(block_); }
  Buffer(const Buffer&) = delete;
  T* data() { return data_; }
  int64_t missing() const {  // NaN: elements that nothing was written to
    int64_t count = 0;
    for (int64_t i = 0; i < size_; ++i) count += load(data_[i]) != load(data_[i]);
    return count;
  }

 private:
  int64_t size_;
  T *block_, *data_;
};

}  // namespace fastgan::cuda
