// normalize_act: normalisation, scale and shift, activation, gain and clamp, in two launches
// (moments; the result), and its gradient in two (sums of rows; the gradient). Raw pointers, no
// torch.
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
constexpr int kPacksOfGrad = 8;  // of a thread, so that the sums of a group are few beside them

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

// A pack of a row, by one instruction where `wide`. Whoever asks for wide packs has checked that
// the pointer is aligned and that rows have whole packs.
template <int kPack, typename T>
__device__ __forceinline__ void load_some(const T* from, int count, bool wide,
                                          acc_t<T> (&to)[kPack]) {
  if (wide) return load_pack<kPack>(from, kPack, to);
#pragma unroll
  for (int i = 0; i < kPack; ++i) to[i] = i < count ? load(from[i]) : acc_t<T>(0);
}

template <int kPack, typename T>
__device__ __forceinline__ void store_some(T* to, int count, bool wide,
                                           const acc_t<T> (&from)[kPack]) {
  if (wide) return store_pack<kPack>(to, kPack, from);
#pragma unroll
  for (int i = 0; i < kPack; ++i) {
    if (i < count) to[i] = store<T>(from[i]);
  }
}

// Mean and sum of squared distances from it, of some numbers.
template <typename A>
struct Moments {
  A count, mean, squares;

  // Takes in `n` > 0 numbers. Digits are not lost far from zero, as they are by sums of squares.
  template <int kPack>
  __device__ __forceinline__ void add(const A (&x)[kPack], int n) {
    A sum = 0, apart = 0;
#pragma unroll
    for (int i = 0; i < kPack; ++i) sum += i < n ? x[i] : A(0);
    const A of_x = sum / static_cast<A>(n);
#pragma unroll
    for (int i = 0; i < kPack; ++i) {
      const A d = i < n ? x[i] - of_x : A(0);
      apart += d * d;
    }
    const A total = count + static_cast<A>(n), difference = of_x - mean;
    const A share = static_cast<A>(n) / total;
    mean += difference * share;
    squares += apart + difference * difference * count * share;
    count = total;
  }
};

// Mean and biased variance: a team of `lanes` threads for a group.
template <typename T, int kBlock>
__global__ void __launch_bounds__(kBlock)
    moments(const T* __restrict__ x, acc_t<T>* __restrict__ mean, acc_t<T>* __restrict__ var,
            Shape s, int lanes, bool wide) {
  using A = acc_t<T>;
  constexpr int kPack = kWidestPack<T>;
  GPU_SHARED(A, sums, kBlock);
  const int lane = threadIdx.x % lanes, teams = kBlock / lanes;
  const int64_t group = static_cast<int64_t>(blockIdx.x) * teams + threadIdx.x / lanes;
  const bool idle = group >= s.groups();  // not an exit: every thread meets every barrier
  const int64_t packs = ceil_div(s.pixels, kPack);
  Moments<A> own{0, 0, 0};
  for (int64_t i = lane; !idle && i < s.members() * packs; i += lanes) {
    const int64_t m = divide(i, packs), at = (i - m * packs) * kPack;
    const int count = static_cast<int>(smaller(kPack, s.pixels - at));
    A v[kPack];
    load_some<kPack>(x + s.member_of(group, m) * s.pixels + at, count, wide, v);
    own.add(v, count);
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

template <typename T, int kBlock>
__global__ void __launch_bounds__(kBlock)
    forward(const T* __restrict__ x, const acc_t<T>* __restrict__ mean,
            const acc_t<T>* __restrict__ var, Parameters<acc_t<T>> p, T* __restrict__ y, Shape s,
            acc_t<T> eps, bool wide, Coefficients<acc_t<T>> k) {
  using A = acc_t<T>;
  constexpr int kPack = kWidestPack<T>;
  const int64_t packs = ceil_div(s.pixels, kPack), all = s.rows() * packs;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kBlock;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < all; i += step) {
    const int64_t row = divide(i, packs), at = (i - row * packs) * kPack;
    const int count = static_cast<int>(smaller(kPack, s.pixels - at));
    const Row<A> of = row_of(row, mean, var, p, s, eps);
    A v[kPack], unused[kPack] = {};
    load_some<kPack>(x + row * s.pixels + at, count, wide, v);
#pragma unroll
    for (int n = 0; n < kPack; ++n) v[n] = (v[n] - of.mean) * of.inverse * of.weight + of.bias;
    apply<Forward>(v, unused, unused, k);
    store_some<kPack>(y + row * s.pixels + at, count, wide, v);
  }
}

// z = normalised x and g = the gradient before the activation, of one pack.
template <int kPack, typename T>
__device__ __forceinline__ void through(const T* x, const T* grad_y, int count, bool wide,
                                        const Row<acc_t<T>>& of, const Coefficients<acc_t<T>>& k,
                                        acc_t<T> (&z)[kPack], acc_t<T> (&g)[kPack]) {
  acc_t<T> incoming[kPack], unused[kPack] = {};
  load_some<kPack>(x, count, wide, z);
  load_some<kPack>(grad_y, count, wide, incoming);
#pragma unroll
  for (int n = 0; n < kPack; ++n) {
    z[n] = (z[n] - of.mean) * of.inverse;
    g[n] = z[n] * of.weight + of.bias;
  }
  apply<Grad>(g, incoming, unused, k);
}

// The gradients of bias and weight for each row, [samples, channels]: a team for a row.
template <typename T, int kBlock>
__global__ void __launch_bounds__(kBlock, 1)
    row_sums(const T* __restrict__ grad_y, const T* __restrict__ x,
             const acc_t<T>* __restrict__ mean, const acc_t<T>* __restrict__ var,
             Parameters<acc_t<T>> p, acc_t<T>* __restrict__ to_weight,
             acc_t<T>* __restrict__ to_bias, Shape s, acc_t<T> eps, int lanes, bool wide,
             Coefficients<acc_t<T>> k) {
  using A = acc_t<T>;
  constexpr int kPack = kWidestPack<T>;
  GPU_SHARED(A, sums, kBlock);
  const int lane = threadIdx.x % lanes, teams = kBlock / lanes;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * teams + threadIdx.x / lanes;
  A along = 0, alone = 0;
  if (row < s.rows()) {
    const Row<A> of = row_of(row, mean, var, p, s, eps);
    for (int64_t at = static_cast<int64_t>(lane) * kPack; at < s.pixels;
         at += static_cast<int64_t>(lanes) * kPack) {
      const int count = static_cast<int>(smaller(kPack, s.pixels - at));
      A z[kPack], g[kPack];
      through<kPack>(x + row * s.pixels + at, grad_y + row * s.pixels + at, count, wide, of, k, z,
                     g);
#pragma unroll
      for (int n = 0; n < kPack; ++n) {
        alone += n < count ? g[n] : A(0);
        along += n < count ? g[n] * z[n] : A(0);
      }
    }
  }
  along = team_sum(along, lanes, sums);
  alone = team_sum(alone, lanes, sums);
  if (row >= s.rows() || lane != 0) return;
  to_weight[row] = along;
  to_bias[row] = alone;
}

// grad_x = (g w - mean(g w) - z mean(g w z)) / deviation, with the means over the group: a team for
// `chunk` pixels of a row. `running` statistics are constants, which have no means.
template <typename T, int kBlock>
__global__ void __launch_bounds__(kBlock, 1)
    gradient(const T* __restrict__ grad_y, const T* __restrict__ x,
             const acc_t<T>* __restrict__ mean, const acc_t<T>* __restrict__ var,
             Parameters<acc_t<T>> p, const acc_t<T>* __restrict__ to_weight,
             const acc_t<T>* __restrict__ to_bias, T* __restrict__ grad_x, Shape s, acc_t<T> eps,
             bool running, int lanes, int64_t chunk, bool wide, Coefficients<acc_t<T>> k) {
  using A = acc_t<T>;
  constexpr int kPack = kWidestPack<T>;
  GPU_SHARED(A, sums, kBlock);
  const int lane = threadIdx.x % lanes, teams = kBlock / lanes;
  const int64_t chunks = ceil_div(s.pixels, chunk);
  const int64_t team = static_cast<int64_t>(blockIdx.x) * teams + threadIdx.x / lanes;
  const int64_t row = divide(team, chunks), begin = (team - row * chunks) * chunk;
  const bool idle = row >= s.rows();  // not an exit: every thread meets every barrier
  A along = 0, alone = 0;
  for (int64_t m = lane; !idle && !running && m < s.members(); m += lanes) {
    const int64_t other = s.member_of(s.group_of(row), m);
    const A weight = p.weight_at(other, s);
    along += weight * to_weight[other];
    alone += weight * to_bias[other];
  }
  const A members = static_cast<A>(s.members() * s.pixels);
  along = team_sum(along, lanes, sums) / members;
  alone = team_sum(alone, lanes, sums) / members;
  if (idle) return;
  const Row<A> of = row_of(row, mean, var, p, s, eps);
  const int64_t end = smaller(begin + chunk, s.pixels);
  for (int64_t at = begin + static_cast<int64_t>(lane) * kPack; at < end;
       at += static_cast<int64_t>(lanes) * kPack) {
    const int count = static_cast<int>(smaller(kPack, end - at));
    A z[kPack], g[kPack];
    through<kPack>(x + row * s.pixels + at, grad_y + row * s.pixels + at, count, wide, of, k, z, g);
#pragma unroll
    for (int n = 0; n < kPack; ++n) {
      g[n] = (g[n] * of.weight - alone - z[n] * along) * of.inverse;
    }
    store_some<kPack>(grad_x + row * s.pixels + at, count, wide, g);
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

// y = clamp(gain act(weight (x - mean) / sqrt(var + eps) + bias)). Unless `running`, mean and var,
// [groups], are written first. Nothing is launched for an empty x. Returns the number of launches.
template <typename T, int kBlock = kThreads>
int launch(const T* x, const Parameters<acc_t<T>>& p, acc_t<T>* mean, acc_t<T>* var, bool running,
           T* y, const Shape& s, double eps, const Coefficients<acc_t<T>>& k, cudaStream_t stream,
           int64_t max_blocks = kMaxBlocks) {
  if (s.numel() == 0) return 0;
  constexpr int kPack = kWidestPack<T>;
  const bool wide = s.pixels % kPack == 0 && is_aligned(x) && is_aligned(y);
  const int64_t packs = ceil_div(s.pixels, kPack);
  if (!running) {
    const int lanes = lanes_for(s.members() * packs, kBlock);
    GPU_LAUNCH((moments<T, kBlock>), grid_of(s.groups(), kBlock / lanes), dim3(kBlock), 0, stream,
               x, mean, var, s, lanes, wide);
  }
  const int64_t blocks = smaller(ceil_div(s.rows() * packs, kBlock), max_blocks);
  GPU_LAUNCH((forward<T, kBlock>), dim3(static_cast<unsigned>(blocks)), dim3(kBlock), 0, stream, x,
             mean, var, p, y, s, static_cast<acc_t<T>>(eps), wide, k);
  return running ? 1 : 2;
}

// grad_x, and per row the gradients of weight and bias: to_weight and to_bias, [samples, channels],
// which the second launch reads, so neither may be null. mean and var are those of `launch`.
template <typename T, int kBlock = kThreads>
int launch_grad(const T* grad_y, const T* x, const Parameters<acc_t<T>>& p, const acc_t<T>* mean,
                const acc_t<T>* var, bool running, T* grad_x, acc_t<T>* to_weight,
                acc_t<T>* to_bias, const Shape& s, double eps, const Coefficients<acc_t<T>>& k,
                cudaStream_t stream) {
  if (s.numel() == 0) return 0;
  constexpr int kPack = kWidestPack<T>;
  const bool wide =
      s.pixels % kPack == 0 && is_aligned(x) && is_aligned(grad_y) && is_aligned(grad_x);
  const int lanes = lanes_for(ceil_div(s.pixels, kPack), kBlock);
  const auto floor = static_cast<acc_t<T>>(eps);
  GPU_LAUNCH((row_sums<T, kBlock>), grid_of(s.rows(), kBlock / lanes), dim3(kBlock), 0, stream,
             grad_y, x, mean, var, p, to_weight, to_bias, s, floor, lanes, wide, k);
  const int64_t chunk = int64_t{kPacksOfGrad} * lanes * kPack;
  GPU_LAUNCH((gradient<T, kBlock>), grid_of(s.rows() * ceil_div(s.pixels, chunk), kBlock / lanes),
             dim3(kBlock), 0, stream, grad_y, x, mean, var, p, to_weight, to_bias, grad_x, s, floor,
             running, lanes, chunk, wide, k);
  return 2;
}

}  // namespace fastgan::cuda::normalize_act
