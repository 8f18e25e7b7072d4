// Power iteration and division by sigma, for one weight or for all of a network: three launches
// (W^T u; W v; W / sigma), whatever the number of weights. Raw pointers, no torch.
#pragma once

#include "cuda/spectral_norm_layers.cuh"

namespace fastgan::cuda::spectral_norm {

// right = W^T u, not normalised. The first iteration reads u, later ones what W v left behind,
// which is not normalised either. Lanes run along the columns, warps along the rows.
template <typename T, typename Layers>
__global__ void __launch_bounds__(kThreads, 1)
    transposed_product(Layers layers, bool first, double eps) {
  using A = acc_t<T>;
  constexpr int kWidth = kWidestPack<T>;
  GPU_SHARED(double, parts, kGroups);
  GPU_SHARED(A, sums, kGroups * kPanel<T>);
  const Layer<T> layer = layers.of_block(&FirstBlocks::panels);
  const int64_t panel = (blockIdx.x - layer.first.panels) * kPanel<T>, cols = layer.cols();
  const int lane = threadIdx.x % kWarp, group = threadIdx.x / kWarp;
  const A divisor =
      first ? A(1) : static_cast<A>(floored(block_norm(layer.left, layer.rows, parts), eps));

  A sum[kWidth] = {};
  // The same choice for the whole block. Otherwise a thread has columns a warp apart.
  const bool wide = layer.outer == 1 && cols % kWidth == 0 && is_wide(layer.weight);
  if (wide && panel + lane * kWidth < cols) {
    const T* from = layer.weight + panel + lane * kWidth;
#pragma unroll 4
    for (int64_t r = group; r < layer.rows; r += kGroups) {
      const A u = first ? load(layer.u[r]) : layer.left[r];
      const auto pack = *reinterpret_cast<const Pack<T, kWidth>*>(from + r * cols);
#pragma unroll
      for (int k = 0; k < kWidth; ++k) sum[k] += u * load(pack.values[k]);
    }
  } else if (!wide) {
    for (int k = 0; k < kWidth; ++k) {
      const int64_t column = panel + k * kWarp + lane;
      if (column >= cols) break;
      const int64_t outer = divide(column, layer.inner);
      const T* from =
          layer.weight + outer * layer.rows * layer.inner + column - outer * layer.inner;
      A total = 0;
      for (int64_t r = group; r < layer.rows; r += kGroups) {
        total += (first ? load(layer.u[r]) : layer.left[r]) * load(from[r * layer.inner]);
      }
      sums[group * kPanel<T> + k * kWarp + lane] = total;
    }
  }
  if (wide) {
#pragma unroll
    for (int k = 0; k < kWidth; ++k) sums[group * kPanel<T> + lane * kWidth + k] = sum[k];
  }
  __syncthreads();
  for (int i = threadIdx.x; i < kPanel<T> && panel + i < cols; i += kThreads) {
    A total = 0;
    for (int g = 0; g < kGroups; ++g) total += sums[g * kPanel<T> + i];
    layer.right[panel + i] = total / divisor;
  }
}

// One lane's part of a row of W times `right`.
template <typename T>
__device__ __forceinline__ acc_t<T> row_part(const Layer<T>& layer, int64_t row, int lane) {
  using A = acc_t<T>;
  constexpr int kWidth = kWidestPack<T>, kStep = kWidestPack<A>;
  const int64_t cols = layer.cols();
  A sum = 0;
  if (layer.outer == 1 && cols % kWidth == 0 && is_wide(layer.weight) && is_wide(layer.right)) {
#pragma unroll 4
    for (int64_t j = lane * kWidth; j < cols; j += kPanel<T>) {
      const auto w = *reinterpret_cast<const Pack<T, kWidth>*>(layer.weight + row * cols + j);
#pragma unroll
      for (int k = 0; k < kWidth; k += kStep) {
        const auto v = *reinterpret_cast<const Pack<A, kStep>*>(layer.right + j + k);
#pragma unroll
        for (int l = 0; l < kStep; ++l) sum += load(w.values[k + l]) * v.values[l];
      }
    }
    return sum;
  }
  for (int64_t j = lane; j < cols; j += kWarp) {
    const int64_t outer = divide(j, layer.inner);
    const int64_t at = (outer * layer.rows + row) * layer.inner + j - outer * layer.inner;
    sum += load(layer.weight[at]) * layer.right[j];
  }
  return sum;
}

// left = W v with v = normalize(right): a warp for a row.
template <typename T, typename Layers>
__global__ void __launch_bounds__(kThreads, 1) product(Layers layers, double eps) {
  using A = acc_t<T>;
  GPU_SHARED(double, parts, kGroups);
  const Layer<T> layer = layers.of_block(&FirstBlocks::rows);
  const A divisor = static_cast<A>(floored(block_norm(layer.right, layer.cols(), parts), eps));
  const int lane = threadIdx.x % kWarp;
  const int64_t row = (blockIdx.x - layer.first.rows) * kGroups + threadIdx.x / kWarp;
  A sum = row < layer.rows ? row_part(layer, row, lane) : A(0);
  for (int apart = kWarp / 2; apart > 0; apart /= 2) {
    sum += __shfl_down_sync(0xffffffffu, sum, apart);
  }
  if (lane == 0 && row < layer.rows) layer.left[row] = sum / divisor;
}

// The vectors of a layer, from one of its blocks.
template <typename T>
__device__ __forceinline__ void write_vectors(const Layer<T>& layer, bool iterated, double norm,
                                              acc_t<T> sigma, double eps, double* parts) {
  using A = acc_t<T>;
  const double right = iterated ? block_norm(layer.right, layer.cols(), parts) : norm;
  const A of_v = static_cast<A>(floored(right, eps)), of_u = static_cast<A>(floored(norm, eps));
  for (int64_t j = threadIdx.x; j < layer.cols(); j += kThreads) {
    layer.v[j] = store<T>(layer.right[j] / of_v);
  }
  for (int64_t i = threadIdx.x; i < layer.rows; i += kThreads) {
    layer.u_new[i] = iterated ? store<T>(layer.left[i] / of_u) : layer.u[i];
  }
  if (threadIdx.x == 0) *layer.sigma = store<T>(sigma);
}

// W / sigma. u^T W v is u . (W v) after an iteration and (W^T u) . v without: either way the dot
// product of a vector with itself normalised.
template <typename T, typename Layers>
__global__ void __launch_bounds__(kThreads, 1) scale(Layers layers, bool iterated, double eps) {
  using A = acc_t<T>;
  constexpr int kWidth = kWidestPack<T>;
  GPU_SHARED(double, parts, kGroups);
  const Layer<T> layer = layers.of_block(&FirstBlocks::chunks);
  const int64_t chunk = blockIdx.x - layer.first.chunks, numel = layer.numel();
  const double norm = iterated ? block_norm(layer.left, layer.rows, parts)
                               : block_norm(layer.right, layer.cols(), parts);
  const A sigma = static_cast<A>(norm * norm / floored(norm, eps));
  if (chunk == 0) write_vectors(layer, iterated, norm, sigma, eps, parts);

  const bool wide = is_wide(layer.weight) && is_wide(layer.normalized);
  const int64_t begin = chunk * kChunk<T> + threadIdx.x * kWidth;
#pragma unroll
  for (int i = 0; i < kPacks; ++i) {
    const int64_t at = begin + i * kThreads * kWidth;
    if (wide && at + kWidth <= numel) {
      auto pack = *reinterpret_cast<const Pack<T, kWidth>*>(layer.weight + at);
#pragma unroll
      for (int k = 0; k < kWidth; ++k) {
        pack.values[k] = store<T>(load(pack.values[k]) / sigma);
      }
      *reinterpret_cast<Pack<T, kWidth>*>(layer.normalized + at) = pack;
      continue;
    }
    for (int64_t j = at; j < at + kWidth && j < numel; ++j) {
      layer.normalized[j] = store<T>(load(layer.weight[j]) / sigma);
    }
  }
}

// Launches the forward pass of `layers`, One<Layer<T>> or Many<Layer<T>>, whose blocks
// number_blocks counted. Returns the number of launches: 1 + 2 n_power_iterations, or 2 without.
template <typename T, typename Layers>
int launch(const Layers& layers, const FirstBlocks& blocks, int64_t n_power_iterations, double eps,
           cudaStream_t stream) {
  const auto grid = [](int64_t count) { return dim3(static_cast<unsigned>(count)); };
  const dim3 block(kThreads);
  const bool iterated = n_power_iterations > 0;
  int launches = 0;
  for (int64_t i = 0; i < n_power_iterations || i == 0; ++i) {
    if (blocks.panels > 0) {
      GPU_LAUNCH((transposed_product<T, Layers>), grid(blocks.panels), block, 0, stream, layers,
                 i == 0, eps);
      ++launches;
    }
    if (iterated && blocks.rows > 0) {
      GPU_LAUNCH((product<T, Layers>), grid(blocks.rows), block, 0, stream, layers, eps);
      ++launches;
    }
  }
  if (blocks.chunks > 0) {
    GPU_LAUNCH((scale<T, Layers>), grid(blocks.chunks), block, 0, stream, layers, iterated, eps);
    ++launches;
  }
  return launches;
}

}  // namespace fastgan::cuda::spectral_norm
