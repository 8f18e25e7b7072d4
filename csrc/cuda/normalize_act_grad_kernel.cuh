// The gradient of normalize_act in two launches: sums of rows; the gradient. Raw pointers, no
// torch.
#pragma once

#include "cuda/normalize_act_kernel.cuh"

namespace fastgan::cuda::normalize_act {

constexpr int kPacksOfGrad = 8;  // of a thread, so that the sums of a group are few beside them

// z = normalised x and g = the gradient before the activation, of one pack.
template <int kPack, typename T>
__device__ __forceinline__ void through(const T* x, const T* grad_y, const Row<acc_t<T>>& of,
                                        const Coefficients<acc_t<T>>& k, acc_t<T> (&z)[kPack],
                                        acc_t<T> (&g)[kPack]) {
  acc_t<T> incoming[kPack], unused[kPack] = {};
  load_pack<kPack>(x, kPack, z);
  load_pack<kPack>(grad_y, kPack, incoming);
#pragma unroll
  for (int n = 0; n < kPack; ++n) {
    z[n] = (z[n] - of.mean) * of.inverse;
    g[n] = z[n] * of.weight + of.bias;
  }
  apply<Grad>(g, incoming, unused, k);
}

// The gradients of bias and weight for each row, [samples, channels]: a team for a row.
template <typename T, int kPack, int kBlock>
__global__ void __launch_bounds__(kBlock, 1)
    row_sums(const T* __restrict__ grad_y, const T* __restrict__ x,
             const acc_t<T>* __restrict__ mean, const acc_t<T>* __restrict__ var,
             Parameters<acc_t<T>> p, acc_t<T>* __restrict__ to_weight,
             acc_t<T>* __restrict__ to_bias, Shape s, acc_t<T> eps, int lanes,
             Coefficients<acc_t<T>> k) {
  using A = acc_t<T>;
  GPU_SHARED(A, sums, kBlock);
  const int lane = threadIdx.x % lanes, teams = kBlock / lanes;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * teams + threadIdx.x / lanes;
  A along = 0, alone = 0;
  if (row < s.rows()) {
    const Row<A> of = row_of(row, mean, var, p, s, eps);
    for (int64_t at = static_cast<int64_t>(lane) * kPack; at < s.pixels;
         at += static_cast<int64_t>(lanes) * kPack) {
      A z[kPack], g[kPack];
      through<kPack>(x + row * s.pixels + at, grad_y + row * s.pixels + at, of, k, z, g);
#pragma unroll
      for (int n = 0; n < kPack; ++n) {
        alone += g[n];
        along += g[n] * z[n];
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
template <typename T, int kPack, int kBlock>
__global__ void __launch_bounds__(kBlock, 1)
    gradient(const T* __restrict__ grad_y, const T* __restrict__ x,
             const acc_t<T>* __restrict__ mean, const acc_t<T>* __restrict__ var,
             Parameters<acc_t<T>> p, const acc_t<T>* __restrict__ to_weight,
             const acc_t<T>* __restrict__ to_bias, T* __restrict__ grad_x, Shape s, acc_t<T> eps,
             bool running, int lanes, int64_t chunk, Coefficients<acc_t<T>> k) {
  using A = acc_t<T>;
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
    A z[kPack], g[kPack];
    through<kPack>(x + row * s.pixels + at, grad_y + row * s.pixels + at, of, k, z, g);
#pragma unroll
    for (int n = 0; n < kPack; ++n) {
      g[n] = (g[n] * of.weight - alone - z[n] * along) * of.inverse;
    }
    store_pack<kPack>(grad_x + row * s.pixels + at, kPack, g);
  }
}

// The launches of `launch_grad`, packs of kPack elements, which divide the rows.
template <typename T, int kPack, int kBlock>
void launch_gradient(const T* grad_y, const T* x, const Parameters<acc_t<T>>& p,
                     const acc_t<T>* mean, const acc_t<T>* var, bool running, T* grad_x,
                     acc_t<T>* to_weight, acc_t<T>* to_bias, const Shape& s, acc_t<T> eps,
                     const Coefficients<acc_t<T>>& k, cudaStream_t stream) {
  const int lanes = lanes_for(s.pixels / kPack, kBlock), teams = kBlock / lanes;
  GPU_LAUNCH((row_sums<T, kPack, kBlock>), grid_of(s.rows(), teams), dim3(kBlock), 0, stream,
             grad_y, x, mean, var, p, to_weight, to_bias, s, eps, lanes, k);
  const int64_t chunk = int64_t{kPacksOfGrad} * lanes * kPack;
  GPU_LAUNCH((gradient<T, kPack, kBlock>), grid_of(s.rows() * ceil_div(s.pixels, chunk), teams),
             dim3(kBlock), 0, stream, grad_y, x, mean, var, p, to_weight, to_bias, grad_x, s, eps,
             running, lanes, chunk, k);
}

// grad_x, and per row the gradients of weight and bias: to_weight and to_bias, [samples, channels],
// which the second launch reads, so neither may be null. mean and var are those of `launch`.
template <typename T, int kBlock = kThreads>
int launch_grad(const T* grad_y, const T* x, const Parameters<acc_t<T>>& p, const acc_t<T>* mean,
                const acc_t<T>* var, bool running, T* grad_x, acc_t<T>* to_weight,
                acc_t<T>* to_bias, const Shape& s, double eps, const Coefficients<acc_t<T>>& k,
                cudaStream_t stream) {
  if (s.numel() == 0) return 0;
  const auto floor = static_cast<acc_t<T>>(eps);
  const bool aligned = is_aligned(x) && is_aligned(grad_y) && is_aligned(grad_x);
  if (s.pixels % kWidestPack<T> == 0 && aligned) {
    launch_gradient<T, kWidestPack<T>, kBlock>(grad_y, x, p, mean, var, running, grad_x, to_weight,
                                               to_bias, s, floor, k, stream);
  } else {
    launch_gradient<T, 1, kBlock>(grad_y, x, p, mean, var, running, grad_x, to_weight, to_bias, s,
                                  floor, k, stream);
  }
  return 2;
}

}  // namespace fastgan::cuda::normalize_act
