// Kernels of bias_act and their launchers on raw pointers: no torch, no allocation.
//
// Memory is seen as [outer, channels, inner] in the order in which it lies: inner = 1 is
// channels_last, and with one channel outer is 1. Sums over a channel are taken in two steps,
// chunks by blocks and then the chunks in order, a split that depends on the shape alone: tensors
// of one shape and alignment give the gradient of the bias in the same bits in every run.
#pragma once

#include "cuda/bias_act_functions.cuh"

namespace fastgan::cuda {

struct BiasActShape {
  int64_t outer, channels, inner;
  __host__ __device__ int64_t numel() const { return outer * channels * inner; }
};

// How the elements of a channel, or the rows of channels_last, are split into chunks.
struct SumPlan {
  int64_t chunk, chunks;
};

constexpr int kBiasActThreads = 256;
constexpr int64_t kMaxBlocks = int64_t{1} << 20;  // of an elementwise launch; the rest by a loop
constexpr int kMaxLanes = 32;                     // packs of channels that a block has side by side
constexpr int64_t kSumElements = 8192;            // least that a block sums, for blocks worth it
constexpr int64_t kMaxSumBlocks = 4096;           // bounds the workspace and the second step

inline SumPlan plan_sum(const BiasActShape& shape) {
  const int64_t count = shape.outer * shape.inner;
  const int64_t width = shape.inner == 1 ? smaller(shape.channels, 128) : 1;
  const int64_t at_most = kMaxSumBlocks / ceil_div(shape.channels, width);
  const int64_t wanted = smaller(ceil_div(count, kSumElements / width), at_most);
  // A multiple of eight, so that no pack of a channel lies in two chunks.
  const int64_t chunk = ceil_div(ceil_div(count, wanted < 1 ? 1 : wanted), 8) * 8;
  return {chunk, ceil_div(count, chunk)};
}

// Elements of the workspace that the gradient of the bias needs.
inline int64_t bias_act_workspace(const BiasActShape& shape) {
  return shape.numel() == 0 ? 0 : plan_sum(shape).chunks * shape.channels;
}

// v[k] += bias of the channel that element first + k belongs to. The position is divided out once
// and then carried, which holds for every layout and length.
template <typename T, int kPack>
__device__ __forceinline__ void add_bias(const T* bias, int64_t first, int count,
                                         const BiasActShape& s, acc_t<T> (&v)[kPack]) {
  const int64_t row = divide(first, s.inner);
  int64_t left = (row + 1) * s.inner - first;  // elements up to the next channel
  int64_t channel = row - divide(row, s.channels) * s.channels;
  acc_t<T> value = load(bias[channel]);
#pragma unroll
  for (int i = 0; i < kPack; ++i) {
    if (i >= count) break;
    if (left == 0) {
      left = s.inner;
      channel = channel + 1 == s.channels ? 0 : channel + 1;
      value = load(bias[channel]);
    }
    --left;
    v[i] += value;
  }
}

template <typename Order, typename T, int kPack, int kThreads>
__global__ void __launch_bounds__(kThreads)
    bias_act_elementwise(const T* __restrict__ source, const T* __restrict__ g,
                         const T* __restrict__ h, const T* __restrict__ bias, T* __restrict__ out,
                         BiasActShape shape, Coefficients<acc_t<T>> k) {
  using A = acc_t<T>;
  const int64_t numel = shape.numel();
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads * kPack;
  int64_t i = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kPack;
  for (; i < numel; i += step) {
    const int count = static_cast<int>(smaller(kPack, numel - i));
    A v[kPack], incoming[kPack] = {}, second[kPack] = {};
    load_pack<kPack>(source + i, count, v);
    if constexpr (Order::kGradients > 0) load_pack<kPack>(g + i, count, incoming);
    if constexpr (Order::kGradients > 1) load_pack<kPack>(h + i, count, second);
    if (bias != nullptr) add_bias(bias, i, count, shape, v);
    apply<Order>(v, incoming, second, k);
    store_pack<kPack>(out + i, count, v);
  }
}

// The sum over the threads of the block, in thread 0.
template <typename A, int kThreads>
__device__ __forceinline__ A block_sum(A value) {
  GPU_SHARED(A, warps, kThreads / 32);
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    value += __shfl_down_sync(0xffffffffu, value, distance);
  }
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
  __syncthreads();
  A total = 0;
  if (threadIdx.x == 0) {
    for (int warp = 0; warp < kThreads / 32; ++warp) total += warps[warp];
  }
  return total;
}

// Adds up values[i] of the threads that lie `lanes` apart; the first `lanes` threads have the sums.
// sums: kThreads * kPack shared elements. lanes is a power of two.
template <typename A, int kPack, int kThreads>
__device__ __forceinline__ void sum_columns(A (&values)[kPack], int lanes, A* sums) {
  static_assert((kThreads & (kThreads - 1)) == 0, "the tree halves the number of rows");
  const int thread = threadIdx.x;
#pragma unroll
  for (int i = 0; i < kPack; ++i) sums[i * kThreads + thread] = values[i];
  for (int half = kThreads / 2; half >= lanes; half /= 2) {
    __syncthreads();
    if (thread >= half) continue;  // not an exit: every thread meets every barrier
#pragma unroll
    for (int i = 0; i < kPack; ++i)
      sums[i * kThreads + thread] += sums[i * kThreads + thread + half];
  }
#pragma unroll
  for (int i = 0; i < kPack; ++i) values[i] = sums[i * kThreads + thread];
}

// Gradient and sums of one chunk of one channel per block.
template <typename T, int kPack, int kThreads>
__global__ void __launch_bounds__(kThreads)
    bias_act_grad_planar(const T* __restrict__ source, const T* __restrict__ grad_y,
                         const T* __restrict__ bias, T* __restrict__ grad_x,
                         acc_t<T>* __restrict__ partials, BiasActShape shape, SumPlan plan,
                         Coefficients<acc_t<T>> k) {
  using A = acc_t<T>;
  const int64_t chunk = divide(blockIdx.x, shape.channels);
  const int64_t channel = blockIdx.x - chunk * shape.channels;
  const int64_t last = smaller((chunk + 1) * plan.chunk, shape.outer * shape.inner);
  const A offset = bias == nullptr ? A(0) : load(bias[channel]);
  A total = 0;
  for (int64_t j = chunk * plan.chunk + threadIdx.x * kPack; j < last; j += kThreads * kPack) {
    const int64_t row = divide(j, shape.inner);
    const int64_t i = (row * shape.channels + channel) * shape.inner + (j - row * shape.inner);
    A v[kPack], incoming[kPack], second[kPack] = {};
    load_pack<kPack>(source + i, kPack, v);
    load_pack<kPack>(grad_y + i, kPack, incoming);
#pragma unroll
    for (int n = 0; n < kPack; ++n) v[n] += offset;
    apply<Grad>(v, incoming, second, k);
    store_pack<kPack>(grad_x + i, kPack, v);
#pragma unroll
    for (int n = 0; n < kPack; ++n) total += v[n];
  }
  total = block_sum<A, kThreads>(total);
  if (threadIdx.x == 0) partials[blockIdx.x] = total;  // [chunks, channels]
}

// Gradient and sums of one chunk of rows and `lanes` packs of channels per block.
template <typename T, int kPack, int kThreads>
__global__ void __launch_bounds__(kThreads)
    bias_act_grad_channels_last(const T* __restrict__ source, const T* __restrict__ grad_y,
                                const T* __restrict__ bias, T* __restrict__ grad_x,
                                acc_t<T>* __restrict__ partials, int64_t rows, int64_t channels,
                                int lanes, SumPlan plan, Coefficients<acc_t<T>> k) {
  using A = acc_t<T>;
  GPU_SHARED(A, sums, kThreads * kPack);
  const int lane = threadIdx.x % lanes, row_of_block = threadIdx.x / lanes;
  const int64_t chunk = blockIdx.x % plan.chunks, tile = blockIdx.x / plan.chunks;
  const int64_t first = chunk * plan.chunk, last = smaller(first + plan.chunk, rows);
  const int64_t channel = (tile * lanes + lane) * kPack;
  A offset[kPack] = {}, total[kPack] = {};
  if (channel < channels) {
    if (bias != nullptr) load_pack<kPack>(bias + channel, kPack, offset);
    for (int64_t row = first + row_of_block; row < last; row += kThreads / lanes) {
      const int64_t i = row * channels + channel;
      A v[kPack], incoming[kPack], second[kPack] = {};
      load_pack<kPack>(source + i, kPack, v);
      load_pack<kPack>(grad_y + i, kPack, incoming);
#pragma unroll
      for (int n = 0; n < kPack; ++n) v[n] += offset[n];
      apply<Grad>(v, incoming, second, k);
      store_pack<kPack>(grad_x + i, kPack, v);
#pragma unroll
      for (int n = 0; n < kPack; ++n) total[n] += v[n];
    }
  }
  sum_columns<A, kPack, kThreads>(total, lanes, sums);
  if (row_of_block == 0 && channel < channels) {
    for (int n = 0; n < kPack; ++n) partials[chunk * channels + channel + n] = total[n];
  }
}

// grad_bias = the sum of the chunks, [chunks, channels].
template <typename T, int kThreads>
__global__ void __launch_bounds__(kThreads)
    bias_act_sum_chunks(const acc_t<T>* __restrict__ partials, T* __restrict__ grad_bias,
                        int64_t channels, int64_t chunks) {
  using A = acc_t<T>;
  GPU_SHARED(A, sums, kThreads);
  const int64_t channel = static_cast<int64_t>(blockIdx.x) * 32 + threadIdx.x % 32;
  A total[1] = {};
  if (channel < channels) {
    for (int64_t chunk = threadIdx.x / 32; chunk < chunks; chunk += kThreads / 32) {
      total[0] += partials[chunk * channels + channel];
    }
  }
  sum_columns<A, 1, kThreads>(total, 32, sums);
  if (threadIdx.x < 32 && channel < channels) grad_bias[channel] = store<T>(total[0]);
}

template <typename Order, typename T, int kThreads>
void launch_elementwise(const T* source, const T* g, const T* h, const T* bias, T* out,
                        const BiasActShape& shape, const Coefficients<acc_t<T>>& k,
                        cudaStream_t stream, int64_t max_blocks) {
  if (shape.numel() == 0) return;
  const bool vector = is_aligned(source) && is_aligned(g) && is_aligned(h) && is_aligned(out);
  const int pack = vector ? kWidestPack<T> : 1;
  const int64_t blocks = smaller(ceil_div(shape.numel(), int64_t{kThreads} * pack), max_blocks);
  const dim3 grid(static_cast<unsigned>(blocks)), block(kThreads);
  if (vector) {
    GPU_LAUNCH((bias_act_elementwise<Order, T, kWidestPack<T>, kThreads>), grid, block, 0, stream,
               source, g, h, bias, out, shape, k);
  } else {
    GPU_LAUNCH((bias_act_elementwise<Order, T, 1, kThreads>), grid, block, 0, stream, source, g, h,
               bias, out, shape, k);
  }
}

// The gradient with its sums over channels, packs of kPack elements.
template <typename T, int kPack, int kThreads>
void launch_grad_sums(const T* source, const T* grad_y, const T* bias, T* grad_x,
                      acc_t<T>* workspace, const BiasActShape& shape, const SumPlan& plan,
                      const Coefficients<acc_t<T>>& k, cudaStream_t stream) {
  if (shape.inner != 1) {
    const dim3 grid(static_cast<unsigned>(plan.chunks * shape.channels));
    GPU_LAUNCH((bias_act_grad_planar<T, kPack, kThreads>), grid, dim3(kThreads), 0, stream, source,
               grad_y, bias, grad_x, workspace, shape, plan, k);
    return;
  }
  int lanes = 1;  // no more than the channels fill: the threads beside them take further rows
  while (lanes < kMaxLanes && lanes * kPack < shape.channels) lanes *= 2;
  const int64_t tiles = ceil_div(shape.channels, lanes * kPack);
  const dim3 grid(static_cast<unsigned>(plan.chunks * tiles));
  GPU_LAUNCH((bias_act_grad_channels_last<T, kPack, kThreads>), grid, dim3(kThreads), 0, stream,
             source, grad_y, bias, grad_x, workspace, shape.outer, shape.channels, lanes, plan, k);
}

// bias may be null everywhere. Nothing is launched, and nothing written, for an empty x.
template <typename T, int kThreads = kBiasActThreads>
void launch_bias_act(const T* x, const T* bias, T* y, const BiasActShape& shape,
                     const Coefficients<acc_t<T>>& k, cudaStream_t stream,
                     int64_t max_blocks = kMaxBlocks) {
  const T* none = nullptr;
  launch_elementwise<Forward, T, kThreads>(x, none, none, bias, y, shape, k, stream, max_blocks);
}

// source: x, or y with k.from_output (then without a bias). grad_bias null: the sum is not taken
// and workspace, else bias_act_workspace(shape) elements, is not read.
template <typename T, int kThreads = kBiasActThreads>
void launch_bias_act_grad(const T* source, const T* grad_y, const T* bias, T* grad_x, T* grad_bias,
                          acc_t<T>* workspace, const BiasActShape& shape,
                          const Coefficients<acc_t<T>>& k, cudaStream_t stream,
                          int64_t max_blocks = kMaxBlocks) {
  if (grad_bias == nullptr) {
    const T* none = nullptr;
    launch_elementwise<Grad, T, kThreads>(source, grad_y, none, bias, grad_x, shape, k, stream,
                                          max_blocks);
    return;
  }
  if (shape.numel() == 0) return;
  const SumPlan plan = plan_sum(shape);
  const int64_t run = shape.inner == 1 ? shape.channels : shape.inner;
  const bool vector = run % kWidestPack<T> == 0 && is_aligned(source) && is_aligned(grad_y) &&
                      is_aligned(grad_x) && (shape.inner != 1 || is_aligned(bias));
  if (vector) {
    launch_grad_sums<T, kWidestPack<T>, kThreads>(source, grad_y, bias, grad_x, workspace, shape,
                                                  plan, k, stream);
  } else {
    launch_grad_sums<T, 1, kThreads>(source, grad_y, bias, grad_x, workspace, shape, plan, k,
                                     stream);
  }
  const dim3 grid(static_cast<unsigned>(ceil_div(shape.channels, 32)));
  GPU_LAUNCH((bias_act_sum_chunks<T, kThreads>), grid, dim3(kThreads), 0, stream, workspace,
             grad_bias, shape.channels, plan.chunks);
}

template <typename T, int kThreads = kBiasActThreads>
void launch_bias_act_grad2(const T* x, const T* grad_y, const T* grad_grad_x, const T* bias, T* out,
                           const BiasActShape& shape, const Coefficients<acc_t<T>>& k,
                           cudaStream_t stream, int64_t max_blocks = kMaxBlocks) {
  launch_elementwise<Grad2, T, kThreads>(x, grad_y, grad_grad_x, bias, out, shape, k, stream,
                                         max_blocks);
}

}  // namespace fastgan::cuda
