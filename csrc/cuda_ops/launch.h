// What the CUDA operators need of torch besides common/tensor.h: checks, the device and stream of a
// call, layouts. The stable ABI only: none of ATen's headers, so that nvcc compiles these files
// against any torch, one built without CUDA too.
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>

#include "common/tensor.h"
#include "cuda/gpu_compat.h"

namespace fastgan::cuda {

// Runs `body` (a generic lambda) with a value of the CUDA type that `type` names.
template <typename Body>
void dispatch_storage(const char* op, ScalarType type, const Body& body) {
  switch (type) {
    case ScalarType::Float:
      return body(float{});
    case ScalarType::Double:
      return body(double{});
    case ScalarType::Half:
      return body(__half{});
    case ScalarType::BFloat16:
      return body(__nv_bfloat16{});
    default:
      STD_TORCH_CHECK(false, op, ": expected float32, float64, float16 or bfloat16");
  }
}

// A call of an operator on the GPU of `x`: while it lives, that GPU is the current one.
class DeviceCall {
 public:
  DeviceCall(const char* op, const Tensor& x) : op_(op), device_(checked(op, x)), guard_(device_) {
    void* stream = nullptr;
    STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(device_, &stream));
    stream_ = static_cast<cudaStream_t>(stream);
  }
  DeviceCall(const DeviceCall&) = delete;

  cudaStream_t stream() const { return stream_; }

  void check_type(const char* name, const Tensor& tensor, ScalarType type) const {
    STD_TORCH_CHECK(tensor.is_cuda() && tensor.get_device_index() == device_, op_, ": ", name,
                    " must be on CUDA device ", device_, " like the first tensor");
    STD_TORCH_CHECK(tensor.scalar_type() == type, op_, ": ", name, " has the wrong dtype");
  }

  void check_numel(const char* name, const Tensor& tensor, ScalarType type, int64_t numel) const {
    check_type(name, tensor, type);
    STD_TORCH_CHECK(tensor.numel() == numel, op_, ": ", name, " must have ", numel,
                    " elements, got ", tensor.numel());
  }

  // Shape, dtype and device of `like`; any layout.
  void check_like(const char* name, const Tensor& tensor, const Tensor& like) const {
    check_type(name, tensor, like.scalar_type());
    bool same = tensor.dim() == like.dim();
    for (int64_t d = 0; same && d < like.dim(); ++d) same = tensor.size(d) == like.size(d);
    STD_TORCH_CHECK(same, op_, ": ", name, " has another shape than the tensor it belongs to");
  }

  // To be called once, after the launches: a launch that was refused leaves its error here. One
  // that fails while it runs shows at a later call, as everywhere in CUDA.
  void check_launches() const {
    const cudaError_t error = cudaGetLastError();
    STD_TORCH_CHECK(error == cudaSuccess, op_, ": the launch failed: ", cudaGetErrorName(error),
                    ": ", cudaGetErrorString(error));
  }

 private:
  static int32_t checked(const char* op, const Tensor& x) {
    STD_TORCH_CHECK(x.is_cuda(), op, ": expected CUDA tensors");
    return x.get_device_index();
  }

  const char* op_;
  int32_t device_;
  torch::stable::accelerator::DeviceGuard guard_;
  cudaStream_t stream_;
};

inline Tensor result_like(const Tensor& x) { return torch::stable::empty_like(x); }

// x itself if its elements fill one block of memory, else a copy that does, in the layout that
// results have.
inline Tensor dense(const Tensor& x) {
  if (is_dense(x)) return x;
  Tensor copy = torch::stable::empty_like(x);
  torch::stable::copy_(copy, x);
  return copy;
}

// A batch of images as the kernels take it: contiguous or channels_last.
inline Tensor image(const char* op, const Tensor& x) {
  STD_TORCH_CHECK(x.dim() == 4, op, ": x must have 4 dimensions, got ", x.dim());
  return is_channels_last(x) ? x : torch::stable::contiguous(x);
}

inline std::optional<Tensor> contiguous(const std::optional<Tensor>& tensor) {
  if (!tensor) return std::nullopt;
  return torch::stable::contiguous(*tensor);
}

template <typename T>
const T* data_or_null(const std::optional<Tensor>& tensor) {
  return tensor ? data<T>(*tensor) : nullptr;
}

// Uninitialised memory on the device of `x`, in the type that its kernels compute in.
inline Tensor workspace_of(const Tensor& x, int64_t numel) {
  return torch::stable::new_empty(x, {numel}, compute_type(x));
}

// An uninitialised batch of images like x in number, dtype and device.
inline Tensor empty_images(const Tensor& x, int64_t channels, int64_t height, int64_t width,
                           bool channels_last) {
  const int64_t samples = x.size(0);
  if (!channels_last) return torch::stable::new_empty(x, {samples, channels, height, width});
  Tensor memory = torch::stable::new_empty(x, {samples, height, width, channels});
  return torch::stable::transpose(torch::stable::transpose(memory, 1, 3), 2, 3);
}

}  // namespace fastgan::cuda
