// The pool of large results; see result_pool.h.
#include "cpu/result_pool.h"

#include <torch/csrc/inductor/aoti_torch/c/shim.h>

#include <cstdlib>
#include <map>
#include <mutex>
#include <utility>

#include "common/huge_pages.h"

#if defined(__linux__)
#include <unistd.h>
#define FASTGAN_HAVE_POOL 1
// Of torch 2.11 and later; null under torch 2.10, for which the extension can be used as well.
extern "C" __attribute__((weak)) AOTITorchError torch_from_blob(
    void* data, int64_t ndim, const int64_t* sizes, const int64_t* strides, int64_t storage_offset,
    int32_t dtype, int32_t device_type, int32_t device_index, AtenTensorHandle* result,
    int32_t layout, const uint8_t* opaque_metadata, int64_t opaque_metadata_size,
    void (*deleter)(void* data, void* context), void* context);
#endif

namespace fastgan::cpu {
namespace {

constexpr size_t kPage = size_t{2} << 20;  // blocks are whole huge pages
constexpr size_t kLeast = size_t{1} << 20;

int64_t product(const std::vector<int64_t>& sizes) {
  int64_t numel = 1;
  for (const int64_t size : sizes) numel *= size;
  return numel;
}

#if defined(FASTGAN_HAVE_POOL)
class Pool {
 public:
  // Never destroyed: tensors may be freed while the process ends.
  static Pool& instance() {
    static Pool* pool = new Pool;
    return *pool;
  }

  // Null when the system has no memory left.
  void* take(size_t size) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      std::vector<void*>& kept = blocks_[size];
      if (!kept.empty()) {
        void* block = kept.back();
        kept.pop_back();
        kept_ -= size;
        return block;
      }
    }
    void* block = nullptr;
    if (posix_memalign(&block, kPage, size) != 0) {
      release();
      if (posix_memalign(&block, kPage, size) != 0) return nullptr;
    }
    advise_huge_pages(block, size);
    return block;
  }

  void give(void* block, size_t size) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (kept_ + size <= most_) {
        blocks_[size].push_back(block);
        kept_ += size;
        return;
      }
    }
    std::free(block);
  }

  // Returns what is kept to the system; the number of bytes.
  int64_t release() {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto& [size, kept] : blocks_) {
      for (void* block : kept) std::free(block);
      kept.clear();
    }
    return static_cast<int64_t>(std::exchange(kept_, 0));
  }

 private:
  // An eighth of the machine's memory, so that an idle process does not starve others.
  Pool() : most_(static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) / 8 * sysconf(_SC_PAGE_SIZE)) {}

  std::mutex mutex_;
  std::map<size_t, std::vector<void*>> blocks_;  // by size, newest last
  size_t kept_ = 0;
  const size_t most_;
};

void give_back(void* block, void* size) {
  Pool::instance().give(block, reinterpret_cast<size_t>(size));
}

std::optional<Tensor> pooled(const std::vector<int64_t>& sizes, const std::vector<int64_t>& strides,
                             ScalarType type, size_t bytes) {
  if (torch_from_blob == nullptr || bytes < kLeast) return std::nullopt;
  const size_t size = (bytes + kPage - 1) / kPage * kPage;
  void* block = Pool::instance().take(size);
  if (block == nullptr) return std::nullopt;
  const auto dtype = torch::stable::detail::to<int32_t>(torch::stable::detail::from(type));
  AtenTensorHandle handle;
  const AOTITorchError error = torch_from_blob(
      block, sizes.size(), sizes.data(), strides.data(), 0, dtype, aoti_torch_device_type_cpu(), -1,
      &handle, aoti_torch_layout_strided(), nullptr, 0, &give_back, reinterpret_cast<void*>(size));
  if (error != 0) {
    Pool::instance().give(block, size);
    return std::nullopt;
  }
  return Tensor(handle);
}

int64_t release_memory() { return Pool::instance().release(); }
#else
std::optional<Tensor> pooled(const std::vector<int64_t>&, const std::vector<int64_t>&, ScalarType,
                             size_t) {
  return std::nullopt;
}

int64_t release_memory() { return 0; }
#endif

size_t width(ScalarType type) {
  size_t bytes = 0;
  dispatch_dtype("empty_result", type, [&](auto zero) { bytes = sizeof(zero); });
  return bytes;
}

}  // namespace

Tensor empty_result(const std::vector<int64_t>& sizes, const std::vector<int64_t>& strides,
                    ScalarType type) {
  if (auto result = pooled(sizes, strides, type, product(sizes) * width(type))) return *result;
  AtenTensorHandle handle;
  const auto dtype = torch::stable::detail::to<int32_t>(torch::stable::detail::from(type));
  STD_TORCH_CHECK(aoti_torch_empty_strided(sizes.size(), sizes.data(), strides.data(), dtype,
                                           aoti_torch_device_type_cpu(), 0, &handle) == 0,
                  "fastgan: no memory for a result of ", product(sizes), " elements");
  return Tensor(handle);
}

Tensor result_like(const Tensor& x) {
  if (!is_dense(x)) return torch::stable::empty_like(x);
  std::vector<int64_t> sizes, strides;
  for (int64_t d = 0; d < x.dim(); ++d) {
    sizes.push_back(x.size(d));
    strides.push_back(x.stride(d));
  }
  return empty_result(sizes, strides, x.scalar_type());
}

}  // namespace fastgan::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(fastgan_cpp, m) { m.def("release_memory() -> int"); }

STABLE_TORCH_LIBRARY_IMPL(fastgan_cpp, CompositeExplicitAutograd, m) {
  m.impl("release_memory", TORCH_BOX(&fastgan::cpu::release_memory));
}
