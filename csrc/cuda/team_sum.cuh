// Sums over the threads of a block, or over teams of neighbours in it. The order of additions
// depends on the size of the team alone.
#pragma once

#include "cuda/storage.cuh"

namespace fastgan::cuda {

// The sum over each team of `lanes` threads, a power of two, in all threads of the team. sums: one
// shared element for each thread of the block. Every thread of the block has to call it.
template <typename A>
__device__ __forceinline__ A team_sum(A value, int lanes, A* sums) {
  const int thread = threadIdx.x, lane = thread % lanes;
  __syncthreads();  // the sum before may still be read
  sums[thread] = value;
  for (int half = lanes / 2; half > 0; half /= 2) {
    __syncthreads();
    if (lane < half) sums[thread] += sums[thread + half];
  }
  __syncthreads();
  return sums[thread - lane];
}

}  // namespace fastgan::cuda
