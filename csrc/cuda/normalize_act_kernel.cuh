// normalize_act: normalisation, scale and shift, activation, gain and clamp, in two launches
// (moments; the result). Raw pointers, no torch. The gradient is in normalize_act_grad_kernel.cuh.
//
// Images are contiguous: a row of pixels for each sample and channel. Teams of up to 256 threads,
// as many as a row has work for, share a block of 256; threads load and store 16 bytes where rows
// are aligned; one shared element for each thread. Sums are split by shape and added in one order.
// Statistics of a group are one team's work: few large groups leave much of a GPU idle.
#pragma once

#include "cuda/bias_act_functions.cuh"
#include "cuda/team_sum.cuh"

namespace fastgan::cuda::normalize_act {

constexpr int kThreads = 256;
constexpr int64_t kMaxBlocks = int64_t{1} << 20;  // of the elementwise launch; the rest by a loop

// What rows share statistics: rows of one sample and channel, of a channel, of a sample.
enum class Statistics : int { kInstance, kBatch, kLayer };

struct Shape {
  int64_t samples, channels, pixels;
  Statistics stats;

  __host__ __device__ int64_t rows() const { return samples * channels; }
  __host__ __device__ int64_t numel() const { return rows() * pixels; }
  __host__ __device__ int64_t groups() const {
    return stats == Statistics::kInstance ? rows()
           : stats == Statistics::kBatch  ? channels
                                          : samples;
  }
  __host__ __device__ int64_t members() const { return rows() / groups(); }  // rows of a group
  __device__ __forceinline__ int64_t sample_of(int64_t row) const { return divide(row, channels); }
  __device__ __forceinline__ int64_t channel_of(int64_t row) const {
    return row - sample_of(row) * channels;
  }
  __device__ __forceinline__ int64_t group_of(int64_t row) const {
    if (stats == Statistics::kInstance) return row;
    return stats == Statistics::kBatch ? channel_of(row) : sample_of(row);
  }
  __device__ __forceinline__ int64_t member_of(int64_t group, int64_t m) const {
    if (stats == Statistics::kInstance) return group;
    return stats == Statistics::kBatch ? m * channels + group : group * channels + m;
  }
};

// Weight and bias of rows; null for one and zero. Of a row, else of a channel.
template <typename A>
struct Parameters {
  const A *weight, *bias;
  bool weight_of_row, bias_of_row;

  __device__ __forceinline__ A weight_at(int64_t row, const Shape& s) const {
    if (weight == nullptr) return 1;
    return weight[weight_of_row ? row : s.channel_of(row)];
  }
  __device__ __forceinline__ A bias_at(int64_t row, const Shape& s) const {
    if (bias == nullptr) return 0;
    return bias[bias_of_row ? row : s.channel_of(row)];
  }
};

// What a row needs of its statistics and parameters.
template <typename A>
struct Row {
  A mean, inverse, weight, bias;
};

template <typename A>
__device__ __forceinline__ Row<A> row_of(int64_t row, const A* mean, const A* var,
                                         const Parameters<A>& p, const Shape& s, A eps) {
  const int64_t group = s.group_of(row);
  return {mean[group], A(1) / sqrt(var[group] + eps), p.weight_at(row, s), p.bias_at(row, s)};
}

// Mean and sum of squared distances from it, of some numbers.
template <typename A>
struct Moments {
  A count, mean, squares;

  // Digits are not lost far from zero, as they are by sums of squares.
  template <int kPack>
  __device__ __forceinline__ void add(const A (&x)[kPack]) {
    A sum = 0, apart = 0;
#pragma unroll
    for (int i = 0; i < kPack; ++i) sum += x[i];
    const A of_x = sum / A(kPack);
#pragma unroll
    for (int i = 0; i < kPack; ++i) apart += (x[i] - of_x) * (x[i] - of_x);
    const A total = count + A(kPack), difference = of_x - mean, share = A(kPack) / total;
    mean += difference * share;
    squares += apart + difference * difference * count * share;
    count = total;
  }
};

// Mean and biased variance: a team of `lanes` threads for a group.
template <typename T, int kPack, int kBlock>
__global__ void __launch_bounds__(kBlock, 1)
    moments(const T* __restrict__ x, acc_t<T>* __restrict__ mean, acc_t<T>* __restrict__ var,
            Shape s, int lanes) {
  using A = acc_t<T>;
  GPU_SHARED(A, sums, kBlock);
  const int lane = threadIdx.x % lanes, teams = kBlock / lanes;
  const int64_t group = static_cast<int64_t>(blockIdx.x) * teams + threadIdx.x / lanes;
  const bool idle = group >= s.groups();  // not an exit: every thread meets every barrier
  const int64_t packs = s.pixels / kPack;
  Moments<A> own{0, 0, 0};
  for (int64_t i = lane; !idle && i < s.members() * packs; i += lanes) {
    const int64_t m = divide(i, packs), at = (i - m * packs) * kPack;
    A v[kPack];
    load_pack<kPack>(x + s.member_of(group, m) * s.pixels + at, kPack, v);
    own.add(v);
  }
  const A count = static_cast<A>(s.members() * s.pixels);
  const A pivot = idle ? A(0) : load(x[s.member_of(group, 0) * s.pixels]);
  const A total = pivot + team_sum(own.count * (own.mean - pivot), lanes, sums) / count;
  const A apart = own.mean - total;
  const A squares = team_sum(own.squares + own.count * apart * apart, lanes, sums);
  if (idle || lane != 0) return;
  mean[group] = total;
  var[group] = squares / count;
}

template <typename T, int kPack, int kBlock>
__global__ void __launch_bounds__(kBlock)
    forward(const T* __restrict__ x, const acc_t<T>* __restrict__ mean,
            const acc_t<T>* __restrict__ var, Parameters<acc_t<T>> p, T* __restrict__ y, Shape s,
            acc_t<T> eps, Coefficients<acc_t<T>> k) {
  using A = acc_t<T>;
  const int64_t packs = s.pixels / kPack, all = s.rows() * packs;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kBlock;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < all; i += step) {
    const int64_t row = divide(i, packs), at = (i - row * packs) * kPack;
    const Row<A> of = row_of(row, mean, var, p, s, eps);
    A v[kPack], unused[kPack] = {};
    load_pack<kPack>(x + row * s.pixels + at, kPack, v);
#pragma unroll
    for (int n = 0; n < kPack; ++n) v[n] = (v[n] - of.mean) * of.inverse * of.weight + of.bias;
    apply<Forward>(v, unused, unused, k);
    store_pack<kPack>(y + row * s.pixels + at, kPack, v);
  }
}

// Threads of a team for `packs` packs: a power of two.
inline int lanes_for(int64_t packs, int most) {
  int lanes = 1;
  while (lanes < most && lanes < packs) lanes *= 2;
  return lanes;
}

inline dim3 grid_of(int64_t count, int64_t of_block) {
  return dim3(static_cast<unsigned>(ceil_div(count, of_block)));
}

// The launches of `launch`, packs of kPack elements, which divide the rows.
template <typename T, int kPack, int kBlock>
void launch_forward(const T* x, const Parameters<acc_t<T>>& p, acc_t<T>* mean, acc_t<T>* var,
                    bool running, T* y, const Shape& s, acc_t<T> eps,
                    const Coefficients<acc_t<T>>& k, cudaStream_t stream, int64_t max_blocks) {
  const int64_t packs = s.pixels / kPack;
  if (!running) {
    const int lanes = lanes_for(s.members() * packs, kBlock);
    GPU_LAUNCH((moments<T, kPack, kBlock>), grid_of(s.groups(), kBlock / lanes), dim3(kBlock), 0,
               stream, x, mean, var, s, lanes);
  }
  const int64_t blocks = smaller(ceil_div(s.rows() * packs, kBlock), max_blocks);
  GPU_LAUNCH((forward<T, kPack, kBlock>), grid_of(blocks, 1), dim3(kBlock), 0, stream, x, mean, var,
             p, y, s, eps, k);
}

// y = clamp(gain act(weight (x - mean) / sqrt(var + eps) + bias)). Unless `running`, mean and var,
// [groups], are written first. Nothing is launched for an empty x. Returns the number of launches.
template <typename T, int kBlock = kThreads>
int launch(const T* x, const Parameters<acc_t<T>>& p, acc_t<T>* mean, acc_t<T>* var, bool running,
           T* y, const Shape& s, double eps, const Coefficients<acc_t<T>>& k, cudaStream_t stream,
           int64_t max_blocks = kMaxBlocks) {
  if (s.numel() == 0) return 0;
  const auto floor = static_cast<acc_t<T>>(eps);
  if (s.pixels % kWidestPack<T> == 0 && is_aligned(x) && is_aligned(y)) {
    launch_forward<T, kWidestPack<T>, kBlock>(x, p, mean, var, running, y, s, floor, k, stream,
                                              max_blocks);
  } else {
    launch_forward<T, 1, kBlock>(x, p, mean, var, running, y, s, floor, k, stream, max_blocks);
  }
  return running ? 1 : 2;
}

}  // namespace fastgan::cuda::normalize_act
