// spectral_norm of all weights of a network as torch operators on CUDA tensors: three launches,
// two for the gradient, whatever the number of weights.
#include <cstring>

#include "cuda/spectral_norm_grad_kernel.cuh"
#include "cuda/spectral_norm_kernel.cuh"
#include "cuda_ops/spectral_norm_matrix.h"

namespace fastgan::cuda::spectral_norm {
namespace {

using TensorList = std::vector<Tensor>;
using Dims = std::vector<int64_t>;

void check_lengths(const char* op, size_t count, std::initializer_list<size_t> lengths) {
  STD_TORCH_CHECK(count > 0, op, ": expected at least one weight");
  for (const size_t length : lengths) {
    STD_TORCH_CHECK(length == count, op, ": expected lists of ", count, " entries, got ", length);
  }
}

// A copy of the table of layers in device memory. It starts from memory of torch's allocator of
// pinned memory: the copy then waits for nothing, and the allocator, which notes the stream of the
// copy, gives that memory to nobody else before the copy is done, though it is freed here. Pageable
// memory would have to be staged by the driver first.
template <typename LayerType>
Tensor on_device(const std::vector<LayerType>& layers, const Tensor& like) {
  static_assert(std::is_trivially_copyable_v<LayerType>, "layers travel as bytes");
  const int64_t bytes = static_cast<int64_t>(layers.size() * sizeof(LayerType));
  const Tensor host = torch::stable::empty({bytes}, ScalarType::Byte, std::nullopt, std::nullopt,
                                           /*pin_memory=*/true);
  std::memcpy(host.mutable_data_ptr(), layers.data(), bytes);
  Tensor table = torch::stable::new_empty(like, {bytes}, ScalarType::Byte);
  torch::stable::copy_(table, host, /*non_blocking=*/true);
  return table;
}

template <typename LayerType>
Many<LayerType> many(const Tensor& table, const std::vector<LayerType>& layers) {
  return {static_cast<const LayerType*>(table.const_data_ptr()),
          static_cast<int64_t>(layers.size())};
}

// Elements of the workspace that a vector takes: vectors start at 16 bytes, as they do alone, so
// that a weight has the same bits in a group.
int64_t padded(int64_t numel) { return ceil_div(numel, 4) * 4; }

struct Results {
  TensorList normalized, sigmas, us_new, vs;

  Results(const TensorList& weights, const std::vector<Matrix>& matrices) {
    for (size_t i = 0; i < weights.size(); ++i) {
      const Tensor& weight = weights[i];
      normalized.push_back(result_like(weight));
      sigmas.push_back(torch::stable::new_empty(weight, {}));
      us_new.push_back(torch::stable::new_empty(weight, {matrices[i].rows}));
      vs.push_back(torch::stable::new_empty(weight, {matrices[i].cols()}));
    }
  }
};

template <typename T>
std::vector<Layer<T>> layers_of(const TensorList& weights, const TensorList& us,
                                const std::vector<Matrix>& matrices, const Results& results,
                                acc_t<T>* workspace) {
  std::vector<Layer<T>> layers;
  for (size_t i = 0; i < weights.size(); ++i) {
    const Matrix& m = matrices[i];
    acc_t<T>*right = workspace, *left = right + padded(m.cols());
    workspace = left + padded(m.rows);
    layers.push_back({data<T>(weights[i]),
                      data<T>(us[i]),
                      mutable_data<T>(results.normalized[i]),
                      mutable_data<T>(results.us_new[i]),
                      mutable_data<T>(results.vs[i]),
                      mutable_data<T>(results.sigmas[i]),
                      right,
                      left,
                      m.outer,
                      m.rows,
                      m.inner,
                      {}});
  }
  return layers;
}

std::tuple<TensorList, TensorList, TensorList, TensorList> normalize_weights(
    const TensorList& weights_in, const TensorList& us_in, int64_t n_power_iterations, double eps,
    const Dims& dims) {
  const char* op = "spectral_norm_group";
  const size_t count = weights_in.size();
  check_lengths(op, count, {us_in.size(), dims.size()});
  const DeviceCall call(op, weights_in[0]);
  const ScalarType type = weights_in[0].scalar_type();
  TensorList weights, us;
  std::vector<Matrix> matrices;
  int64_t numel = 0;
  for (size_t i = 0; i < count; ++i) {
    call.check_type("weight", weights_in[i], type);
    check_weight(call, op, weights_in[i], us_in[i], dims[i]);
    weights.push_back(dense(weights_in[i]));
    us.push_back(torch::stable::contiguous(us_in[i]));
    matrices.push_back(matrix_of(weights[i], dims[i]));
    numel += padded(matrices[i].cols()) + padded(matrices[i].rows);
  }
  Results results(weights, matrices);
  const Tensor workspace = workspace_of(weights[0], numel);
  dispatch_storage(op, type, [&](auto tag) {
    using T = decltype(tag);
    auto layers = layers_of<T>(weights, us, matrices, results, mutable_data<acc_t<T>>(workspace));
    const FirstBlocks blocks = number_blocks(layers.data(), static_cast<int64_t>(count));
    const Tensor table = on_device(layers, workspace);
    launch<T>(many(table, layers), blocks, n_power_iterations, eps, call.stream());
  });
  call.check_launches();
  for (size_t i = 0; i < count; ++i) {
    results.vs[i] = from_memory_order(results.vs[i], weights[i], dims[i]);
  }
  return {results.normalized, results.sigmas, results.us_new, results.vs};
}

// What the gradient reads of each weight, in the layout that its kernels expect.
struct GradInputs {
  TensorList grads, grad_sigmas, weights, sigmas, us, vs;

  void check_and_add(const DeviceCall& call, const char* op, const Tensor& grad,
                     const Tensor& grad_sigma, const Tensor& weight, const Tensor& sigma,
                     const Tensor& u, const Tensor& v, int64_t dim, ScalarType type) {
    call.check_type("weight", weight, type);
    check_weight(call, op, weight, u, dim);
    call.check_like("grad_normalized", grad, weight);
    call.check_numel("grad_sigma", grad_sigma, type, 1);
    call.check_numel("sigma", sigma, type, 1);
    call.check_numel("v", v, type, columns_of(weight, dim));
    weights.push_back(dense(weight));
    grads.push_back(in_layout_of(grad, weights.back()));
    grad_sigmas.push_back(grad_sigma);
    sigmas.push_back(sigma);
    us.push_back(torch::stable::contiguous(u));
    vs.push_back(in_memory_order(v, weights.back(), dim));
  }
};

template <typename T>
void launch_grads(const GradInputs& inputs, const TensorList& results, const Dims& dims,
                  cudaStream_t stream) {
  int64_t chunks = 0;
  for (const Tensor& weight : inputs.weights) chunks += chunks_of<T>(weight.numel());
  const Tensor memory = torch::stable::new_empty(results[0], {chunks}, ScalarType::Double);
  double* parts = mutable_data<double>(memory);
  std::vector<GradLayer<T>> layers;
  for (size_t i = 0; i < results.size(); ++i) {
    const Tensor& weight = inputs.weights[i];
    if (weight.numel() == 0) continue;
    const Matrix m = matrix_of(weight, dims[i]);
    layers.push_back({data<T>(inputs.grads[i]),
                      data<T>(inputs.grad_sigmas[i]),
                      data<T>(weight),
                      data<T>(inputs.sigmas[i]),
                      data<T>(inputs.us[i]),
                      data<T>(inputs.vs[i]),
                      mutable_data<T>(results[i]),
                      parts,
                      m.outer,
                      m.rows,
                      m.inner,
                      {}});
    parts += chunks_of<T>(weight.numel());
  }
  if (layers.empty()) return;
  const FirstBlocks blocks = number_blocks(layers.data(), static_cast<int64_t>(layers.size()));
  const Tensor table = on_device(layers, memory);
  launch_grad<T>(many(table, layers), blocks, stream);
}

TensorList normalize_weights_grad(const TensorList& grads, const TensorList& grad_sigmas,
                                  const TensorList& weights, const TensorList& sigmas,
                                  const TensorList& us, const TensorList& vs, const Dims& dims) {
  const char* op = "spectral_norm_group_grad";
  check_lengths(
      op, weights.size(),
      {grads.size(), grad_sigmas.size(), sigmas.size(), us.size(), vs.size(), dims.size()});
  const DeviceCall call(op, weights[0]);
  const ScalarType type = weights[0].scalar_type();
  GradInputs inputs;
  TensorList results;
  for (size_t i = 0; i < weights.size(); ++i) {
    inputs.check_and_add(call, op, grads[i], grad_sigmas[i], weights[i], sigmas[i], us[i], vs[i],
                         dims[i], type);
    results.push_back(result_like(inputs.weights[i]));
  }
  dispatch_storage(op, type, [&](auto tag) {
    launch_grads<decltype(tag)>(inputs, results, dims, call.stream());
  });
  call.check_launches();
  return results;
}

}  // namespace
}  // namespace fastgan::cuda::spectral_norm

STABLE_TORCH_LIBRARY_FRAGMENT(fastgan_cuda, m) {
  m.def(
      "spectral_norm_group(Tensor[] weights, Tensor[] us, int n_power_iterations, float eps, "
      "int[] dims) -> (Tensor[], Tensor[], Tensor[], Tensor[])");
  m.def(
      "spectral_norm_group_grad(Tensor[] grads, Tensor[] grad_sigmas, Tensor[] weights, "
      "Tensor[] sigmas, Tensor[] us, Tensor[] vs, int[] dims) -> Tensor[]");
}

STABLE_TORCH_LIBRARY_IMPL(fastgan_cuda, CUDA, m) {
  m.impl("spectral_norm_group", TORCH_BOX(&fastgan::cuda::spectral_norm::normalize_weights));
  m.impl("spectral_norm_group_grad",
         TORCH_BOX(&fastgan::cuda::spectral_norm::normalize_weights_grad));
}
