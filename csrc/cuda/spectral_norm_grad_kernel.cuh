// Gradient through sigma: grad / sigma + (grad_sigma - <grad, W> / sigma^2) u v^T, for one weight
// or for all of a network, in two launches. Raw pointers, no torch.
#pragma once

#include "cuda/spectral_norm_layers.cuh"

namespace fastgan::cuda::spectral_norm {

// parts[chunk] = <grad, W> over the chunk.
template <typename T, typename Layers>
__global__ void __launch_bounds__(kThreads, 1) dot_parts(Layers layers) {
  using A = acc_t<T>;
  constexpr int kWidth = kWidestPack<T>;
  GPU_SHARED(double, parts, kGroups);
  const GradLayer<T> layer = layers.of_block(&FirstBlocks::chunks);
  const int64_t chunk = blockIdx.x - layer.first.chunks, numel = layer.numel();
  const bool wide = is_wide(layer.grad) && is_wide(layer.weight);
  const int64_t begin = chunk * kChunk<T> + threadIdx.x * kWidth;
  A sum = 0;
#pragma unroll
  for (int i = 0; i < kPacks; ++i) {
    const int64_t at = begin + i * kThreads * kWidth;
    if (wide && at + kWidth <= numel) {
      const auto g = *reinterpret_cast<const Pack<T, kWidth>*>(layer.grad + at);
      const auto w = *reinterpret_cast<const Pack<T, kWidth>*>(layer.weight + at);
#pragma unroll
      for (int k = 0; k < kWidth; ++k) sum += load(g.values[k]) * load(w.values[k]);
      continue;
    }
    for (int64_t j = at; j < at + kWidth && j < numel; ++j) {
      sum += load(layer.grad[j]) * load(layer.weight[j]);
    }
  }
  const double total = block_sum(sum, parts);
  if (threadIdx.x == 0) layer.parts[chunk] = total;
}

// Row and column of neighbouring elements: divided once, then counted on.
template <typename T>
class Walk {
 public:
  __device__ __forceinline__ Walk(const GradLayer<T>& layer, int64_t at) : layer_(layer) {
    const int64_t lines = divide(at, layer.inner), outer = divide(lines, layer.rows);
    inner_ = at - lines * layer.inner;
    row_ = lines - outer * layer.rows;
    start_ = outer * layer.inner;
  }
  __device__ __forceinline__ acc_t<T> outer_product() const {
    return load(layer_.u[row_]) * load(layer_.v[start_ + inner_]);
  }
  __device__ __forceinline__ void next() {
    if (++inner_ < layer_.inner) return;
    inner_ = 0;
    if (++row_ < layer_.rows) return;
    row_ = 0;
    start_ += layer_.inner;
  }

 private:
  const GradLayer<T>& layer_;
  int64_t inner_, row_, start_;
};

template <typename T, typename Layers>
__global__ void __launch_bounds__(kThreads, 1) grad(Layers layers) {
  using A = acc_t<T>;
  constexpr int kWidth = kWidestPack<T>;
  GPU_SHARED(double, parts, kGroups);
  const GradLayer<T> layer = layers.of_block(&FirstBlocks::chunks);
  const int64_t chunk = blockIdx.x - layer.first.chunks, numel = layer.numel();
  double along = 0;
  for (int64_t i = threadIdx.x; i < chunks_of<T>(numel); i += kThreads) along += layer.parts[i];
  along = block_sum(along, parts);
  const A sigma = load(*layer.sigma);
  const double square = static_cast<double>(sigma) * static_cast<double>(sigma);
  const A factor = static_cast<A>(load(*layer.grad_sigma) - along / square);

  const bool wide = is_wide(layer.grad) && is_wide(layer.result);
  const int64_t begin = chunk * kChunk<T> + threadIdx.x * kWidth;
#pragma unroll 1
  for (int i = 0; i < kPacks; ++i) {
    const int64_t at = begin + i * kThreads * kWidth;
    if (at >= numel) break;
    Walk<T> walk(layer, at);
    if (wide && at + kWidth <= numel) {
      auto pack = *reinterpret_cast<const Pack<T, kWidth>*>(layer.grad + at);
#pragma unroll
      for (int k = 0; k < kWidth; ++k, walk.next()) {
        const A value = load(pack.values[k]) / sigma + factor * walk.outer_product();
        pack.values[k] = store<T>(value);
      }
      *reinterpret_cast<Pack<T, kWidth>*>(layer.result + at) = pack;
      continue;
    }
    for (int64_t j = at; j < at + kWidth && j < numel; ++j, walk.next()) {
      layer.result[j] = store<T>(load(layer.grad[j]) / sigma + factor * walk.outer_product());
    }
  }
}

// Launches the gradient of `layers`, One<GradLayer<T>> or Many<GradLayer<T>>, whose blocks
// number_blocks counted. Returns the number of launches.
template <typename T, typename Layers>
int launch_grad(const Layers& layers, const FirstBlocks& blocks, cudaStream_t stream) {
  if (blocks.chunks == 0) return 0;
  const dim3 grid(static_cast<unsigned>(blocks.chunks)), block(kThreads);
  GPU_LAUNCH((dot_parts<T, Layers>), grid, block, 0, stream, layers);
  GPU_LAUNCH((grad<T, Layers>), grid, block, 0, stream, layers);
  return 2;
}

}  // namespace fastgan::cuda::spectral_norm
