// The passes of modulated_conv2d around its convolution, and their launchers on raw pointers:
// y = x * scale[n, c] + noise[n, pixel], and its gradient. No torch, no allocation.
//
// A sample is seen as a matrix in the order in which it lies: channels by pixels, or pixels by
// channels (channels_last, kLast). The scale lies along the channels, the noise along the pixels.
// Scale, noise and sums are of the type that x is computed in. Sums are of the tiles of a sample
// first and then of the tiles in order, a split by shape and alignment alone.
#pragma once

#include "cuda/storage.cuh"

namespace fastgan::cuda::modulated_scale {

struct ScaleShape {
  int64_t samples, channels, pixels;
  bool channels_last;
  __host__ __device__ int64_t rows() const { return channels_last ? pixels : channels; }
  __host__ __device__ int64_t cols() const { return channels_last ? channels : pixels; }
  __host__ __device__ int64_t numel() const { return samples * channels * pixels; }
};

constexpr int kThreads = 256;
constexpr int kMaxLanes = 32;                     // packs of columns side by side in a tile
constexpr int kSteps = 8;                         // rows that a thread takes below each other
constexpr int64_t kMaxBlocks = int64_t{1} << 20;  // of the forward pass; the rest by a loop

// Whether rows can be read in packs: each begins at an aligned address.
template <typename T>
bool in_packs(const ScaleShape& shape, bool aligned) {
  return aligned && shape.cols() % kWidestPack<T> == 0;
}

// Packs that lie side by side in a tile: no more than a row fills, so that the threads beside them
// take further rows. A power of two.
inline int lanes_of(int64_t cols, int pack) {
  int lanes = 1;
  while (lanes < kMaxLanes && lanes * pack < cols) lanes *= 2;
  return lanes;
}

// How the gradient cuts a sample.
struct Tiling {
  int lanes, width;      // packs and columns of a tile
  int64_t down, across;  // tiles below each other, tiles side by side
};

inline Tiling tiling_of(const ScaleShape& shape, int pack, int threads) {
  const int lanes = lanes_of(shape.cols(), pack), width = lanes * pack;
  const int64_t height = int64_t{threads} / lanes * kSteps;
  return {lanes, width, ceil_div(shape.rows(), height), ceil_div(shape.cols(), width)};
}

// Elements of the workspace of the gradient.
struct Workspace {
  int64_t by_row, by_col;  // sums along rows, one for each tile across; along columns
  int64_t numel() const { return by_row + by_col; }
};

inline Workspace workspace_of(const ScaleShape& shape, const Tiling& tiling, bool with_noise) {
  const bool rows = with_noise || !shape.channels_last, cols = with_noise || shape.channels_last;
  // One tile: its sums are the result, and need no place of their own.
  return {rows && tiling.across > 1 ? shape.samples * shape.rows() * tiling.across : 0,
          cols && tiling.down > 1 ? shape.samples * shape.cols() * tiling.down : 0};
}

// kPack values of the type that is computed in, which are more than 16 bytes for half types.
template <int kPack, typename A>
__device__ __forceinline__ void load_wide(const A* from, A (&to)[kPack]) {
  constexpr int kStep = kPack < kWidestPack<A> ? kPack : kWidestPack<A>;
#pragma unroll
  for (int i = 0; i < kPack; i += kStep) {
    const auto pack = *reinterpret_cast<const Pack<A, kStep>*>(from + i);
#pragma unroll
    for (int k = 0; k < kStep; ++k) to[i + k] = pack.values[k];
  }
}

template <typename T, int kPack, bool kLast, int kBlock>
__global__ void __launch_bounds__(kBlock)
    scale(const T* __restrict__ x, const acc_t<T>* __restrict__ factors,
          const acc_t<T>* __restrict__ noise, T* __restrict__ y, ScaleShape shape) {
  using A = acc_t<T>;
  const int64_t rows = shape.rows(), cols = shape.cols();
  const int64_t step = static_cast<int64_t>(gridDim.x) * kBlock * kPack;
  int64_t i = (static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x) * kPack;
  for (; i < shape.numel(); i += step) {
    const int64_t row = divide(i, cols);  // of all samples
    const int64_t along = divide(row, rows) * cols + (i - row * cols);
    A value[kPack], factor[kPack], added[kPack] = {};
    load_pack<kPack>(x + i, kPack, value);
    if constexpr (kLast) {
      load_wide<kPack>(factors + along, factor);
    } else if (noise != nullptr) {
      load_wide<kPack>(noise + along, added);
    }
    const A of_row = kLast ? (noise == nullptr ? A(0) : noise[row]) : factors[row];
#pragma unroll
    for (int k = 0; k < kPack; ++k) {
      value[k] = kLast ? value[k] * factor[k] + of_row : value[k] * of_row + added[k];
    }
    store_pack<kPack>(y + i, kPack, value);
  }
}

// Adds up values[k] of the threads that lie `lanes` apart, for the first `lanes` threads.
// sums: kPack * kBlock shared elements.
template <int kPack, int kBlock, typename A>
__device__ __forceinline__ void sum_down(A (&values)[kPack], int lanes, A* sums) {
  const int thread = threadIdx.x;
#pragma unroll
  for (int k = 0; k < kPack; ++k) sums[k * kBlock + thread] = values[k];
  for (int half = kBlock / 2; half >= lanes; half /= 2) {
    __syncthreads();
    if (thread >= half) continue;  // not an exit: every thread meets every barrier
#pragma unroll
    for (int k = 0; k < kPack; ++k) sums[k * kBlock + thread] += sums[k * kBlock + thread + half];
  }
#pragma unroll
  for (int k = 0; k < kPack; ++k) values[k] = sums[k * kBlock + thread];
}

// One tile of one sample: grad_x = g * scale, and sums of g * x along the pixels and of g along the
// channels. by_row is [across, samples * rows], by_col [down, samples * cols]; null: not wanted.
template <typename T, int kPack, bool kLast, int kBlock>
__global__ void __launch_bounds__(kBlock, 1)
    scale_grad(const T* __restrict__ g, const T* __restrict__ x,
               const acc_t<T>* __restrict__ factors, T* __restrict__ grad_x, acc_t<T>* by_row,
               acc_t<T>* by_col, ScaleShape shape, Tiling tiling) {
  using A = acc_t<T>;
  GPU_SHARED(A, sums, kBlock * kPack);
  const int64_t rows = shape.rows(), cols = shape.cols();
  const int64_t strip = divide(blockIdx.x, tiling.across), sample = divide(strip, tiling.down);
  const int64_t tile = blockIdx.x - strip * tiling.across, below = strip - sample * tiling.down;
  const int lanes = tiling.lanes, lane = threadIdx.x % lanes, height = kBlock / lanes;
  // By way of the width, and not (tile * lanes + lane) * kPack: nvcc would turn the additions of
  // neighbours into bitwise ors, and then not see that their stores can be one.
  const int64_t col = tile * tiling.width + lane * kPack;
  const int64_t first = below * height * kSteps + threadIdx.x / lanes;
  A factor[kPack] = {}, total[kPack] = {};
  if (kLast && col < cols) load_wide<kPack>(factors + sample * cols + col, factor);
  for (int step = 0; step < kSteps; ++step) {
    const int64_t row = first + step * height, line = sample * rows + row;
    A along = 0;
    if (row < rows && col < cols) {
      A incoming[kPack], value[kPack], result[kPack];
      load_pack<kPack>(g + line * cols + col, kPack, incoming);
      load_pack<kPack>(x + line * cols + col, kPack, value);
      const A of_row = kLast ? A(0) : factors[line];
#pragma unroll
      for (int k = 0; k < kPack; ++k) {
        result[k] = incoming[k] * (kLast ? factor[k] : of_row);
        const A product = incoming[k] * value[k];
        along += kLast ? incoming[k] : product;
        total[k] += kLast ? product : incoming[k];
      }
      store_pack<kPack>(grad_x + line * cols + col, kPack, result);
    }
    if (by_row == nullptr) continue;  // the same for all threads
    for (int apart = lanes / 2; apart > 0; apart /= 2) {
      along += __shfl_down_sync(0xffffffffu, along, apart);
    }
    if (lane == 0 && row < rows) by_row[tile * shape.samples * rows + line] = along;
  }
  if (by_col == nullptr) return;
  sum_down<kPack, kBlock>(total, lanes, sums);
  if (threadIdx.x >= lanes || col >= cols) return;
  A* to = by_col + (below * shape.samples + sample) * cols + col;
#pragma unroll
  for (int k = 0; k < kPack; ++k) to[k] = total[k];
}

// sums[i] = the sum of parts[:, i], in order.
template <typename A, int kBlock>
__global__ void __launch_bounds__(kBlock, 1)
    sum_tiles(const A* __restrict__ parts, A* __restrict__ out, int64_t numel, int64_t tiles) {
  constexpr int kColumns = 32;
  GPU_SHARED(A, sums, kBlock);
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kColumns + threadIdx.x % kColumns;
  A total[1] = {};
  if (at < numel) {
    for (int64_t tile = threadIdx.x / kColumns; tile < tiles; tile += kBlock / kColumns) {
      total[0] += parts[tile * numel + at];
    }
  }
  sum_down<1, kBlock>(total, kColumns, sums);
  if (threadIdx.x < kColumns && at < numel) out[at] = total[0];
}

template <typename T, int kPack, bool kLast, int kBlock>
void launch_scale_as(const T* x, const acc_t<T>* factors, const acc_t<T>* noise, T* y,
                     const ScaleShape& shape, cudaStream_t stream, int64_t max_blocks) {
  const int64_t blocks = smaller(ceil_div(shape.numel(), int64_t{kBlock} * kPack), max_blocks);
  GPU_LAUNCH((scale<T, kPack, kLast, kBlock>), dim3(static_cast<unsigned>(blocks)), dim3(kBlock), 0,
             stream, x, factors, noise, y, shape);
}

// Nothing is launched for an empty x. noise may be null.
template <typename T, int kBlock = kThreads>
void launch_scale(const T* x, const acc_t<T>* factors, const acc_t<T>* noise, T* y,
                  const ScaleShape& shape, cudaStream_t stream, int64_t max_blocks = kMaxBlocks) {
  if (shape.numel() == 0) return;
  constexpr int kWide = kWidestPack<T>;
  const void* along = shape.channels_last ? factors : noise;
  const bool wide = in_packs<T>(shape, is_aligned(x) && is_aligned(y) && is_aligned(along));
  const auto launch = [&](auto kernel) { kernel(x, factors, noise, y, shape, stream, max_blocks); };
  if (shape.channels_last) {
    launch(wide ? launch_scale_as<T, kWide, true, kBlock> : launch_scale_as<T, 1, true, kBlock>);
  } else {
    launch(wide ? launch_scale_as<T, kWide, false, kBlock> : launch_scale_as<T, 1, false, kBlock>);
  }
}

template <typename T>
struct ScaleGrad {
  const T *g, *x;
  const acc_t<T>* factors;
  T* grad_x;
  acc_t<T>*grad_scale, *grad_noise;  // [samples, channels]; [samples, pixels], null: not wanted
  acc_t<T>* workspace;
  ScaleShape shape;
  cudaStream_t stream;

  bool wide() const {
    const bool aligned = is_aligned(g) && is_aligned(x) && is_aligned(grad_x);
    return in_packs<T>(shape, aligned && (!shape.channels_last || is_aligned(factors)));
  }
};

template <typename T, int kPack, bool kLast, int kBlock>
void launch_scale_grad_as(const ScaleGrad<T>& call) {
  using A = acc_t<T>;
  const ScaleShape& shape = call.shape;
  const Tiling tiling = tiling_of(shape, kPack, kBlock);
  const Workspace space = workspace_of(shape, tiling, call.grad_noise != nullptr);
  A* along_row = kLast ? call.grad_noise : call.grad_scale;
  A* along_col = kLast ? call.grad_scale : call.grad_noise;
  A* by_row = space.by_row > 0 ? call.workspace : along_row;
  A* by_col = space.by_col > 0 ? call.workspace + space.by_row : along_col;
  const dim3 grid(static_cast<unsigned>(shape.samples * tiling.down * tiling.across));
  GPU_LAUNCH((scale_grad<T, kPack, kLast, kBlock>), grid, dim3(kBlock), 0, call.stream, call.g,
             call.x, call.factors, call.grad_x, by_row, by_col, shape, tiling);
  const auto add_up = [&](const A* parts, A* sums, int64_t numel, int64_t tiles) {
    const dim3 blocks(static_cast<unsigned>(ceil_div(numel, 32)));
    GPU_LAUNCH((sum_tiles<A, kBlock>), blocks, dim3(kBlock), 0, call.stream, parts, sums, numel,
               tiles);
  };
  if (by_row != along_row) {
    add_up(by_row, along_row, shape.samples * shape.rows(), tiling.across);
  }
  if (by_col != along_col) add_up(by_col, along_col, shape.samples * shape.cols(), tiling.down);
}

// Elements of acc_t<T> of the workspace that `call` needs.
template <typename T, int kBlock = kThreads>
int64_t scale_grad_workspace(const ScaleGrad<T>& call) {
  if (call.shape.numel() == 0) return 0;
  const Tiling tiling = tiling_of(call.shape, call.wide() ? kWidestPack<T> : 1, kBlock);
  return workspace_of(call.shape, tiling, call.grad_noise != nullptr).numel();
}

// Nothing is launched, and nothing written, for an empty x.
template <typename T, int kBlock = kThreads>
void launch_scale_grad(const ScaleGrad<T>& call) {
  if (call.shape.numel() == 0) return;
  constexpr int kWide = kWidestPack<T>;
  if (call.shape.channels_last) {
    call.wide() ? launch_scale_grad_as<T, kWide, true, kBlock>(call)
                : launch_scale_grad_as<T, 1, true, kBlock>(call);
  } else {
    call.wide() ? launch_scale_grad_as<T, kWide, false, kBlock>(call)
                : launch_scale_grad_as<T, 1, false, kBlock>(call);
  }
}

}  // namespace fastgan::cuda::modulated_scale
