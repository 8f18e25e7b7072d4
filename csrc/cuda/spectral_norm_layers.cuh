// What spectral_norm kernels know of the weights of a network: one Layer each, and which block
// works on which. Sums are cut by the shape of a weight alone and added in one order, without
// atomics, so results are the same bits from run to run, alone or in a group.
#pragma once

#include "cuda/storage.cuh"

namespace fastgan::cuda::spectral_norm {

constexpr int kThreads = 256;
constexpr int kWarp = 32;
constexpr int kGroups = kThreads / kWarp;  // rows that a block works on at a time
constexpr int kPacks = 4;                  // 16-byte packs of a thread in elementwise kernels

template <typename T>
constexpr int kPanel = kWarp * kWidestPack<T>;  // columns of a block of W^T u

template <typename T>
constexpr int kChunk = kThreads * kPacks * kWidestPack<T>;  // elements of a block

// First block of a layer in each launch.
struct FirstBlocks {
  int64_t panels, rows, chunks;
};

// Tells the compiler that pointers which were themselves loaded point to global memory: it would
// otherwise use generic accesses, which look up the space of each address.
template <typename... Pointers>
__device__ __forceinline__ void assume_global(Pointers... pointers) {
#if defined(__CUDA_ARCH__)
  (__builtin_assume(__isGlobal(pointers)), ...);
#else
  ((void)pointers, ...);
#endif
}

// A dense weight as [outer][rows][inner] in memory order: a matrix of `rows` rows and outer * inner
// columns. Columns are in memory order here; for a weight that is not contiguous the caller
// permutes v, the only vector that has them.
template <typename T>
struct Layer {
  const T* weight;
  const T* u;             // [rows], the left singular vector so far
  T *normalized, *u_new;  // like weight, like u
  T *v, *sigma;           // [cols], one element
  acc_t<T>*right, *left;  // workspace: [cols] for W^T u, [rows] for W v
  int64_t outer, rows, inner;
  FirstBlocks first;

  __host__ __device__ int64_t cols() const { return outer * inner; }
  __host__ __device__ int64_t numel() const { return rows * cols(); }
  __device__ __forceinline__ void assume() const {
    assume_global(weight, u, normalized, u_new, v, sigma, right, left);
  }
};

// The same for the gradient. u, v and sigma are what the forward pass wrote.
template <typename T>
struct GradLayer {
  const T *grad, *grad_sigma, *weight, *sigma, *u, *v;
  T* result;
  double* parts;  // workspace: one for each chunk
  int64_t outer, rows, inner;
  FirstBlocks first;

  __host__ __device__ int64_t cols() const { return outer * inner; }
  __host__ __device__ int64_t numel() const { return rows * cols(); }
  __device__ __forceinline__ void assume() const {
    assume_global(grad, grad_sigma, weight, sigma, u, v, result, parts);
  }
};

// At least one chunk, as its block also writes the vectors, which an empty weight has too.
template <typename T>
__host__ __device__ int64_t chunks_of(int64_t numel) {
  return numel > 0 ? ceil_div(numel, kChunk<T>) : 1;
}

// Numbers the blocks of `count` layers in host memory; returns their totals.
template <typename T, template <typename> class AnyLayer>
FirstBlocks number_blocks(AnyLayer<T>* layers, int64_t count) {
  FirstBlocks next{0, 0, 0};
  for (int64_t i = 0; i < count; ++i) {
    layers[i].first = next;
    next.panels += ceil_div(layers[i].cols(), kPanel<T>);
    next.rows += ceil_div(layers[i].rows, kGroups);
    next.chunks += chunks_of<T>(layers[i].numel());
  }
  return next;
}

// Where kernels find their layer: in their arguments when there is one, else in an array in device
// memory. Both by value: the address of an argument would move it to local memory.
template <typename LayerType>
struct One {
  LayerType layer;
  template <typename First>
  __device__ __forceinline__ LayerType of_block(First) const {
    return layer;
  }
};

template <typename LayerType>
struct Many {
  const LayerType* layers;
  int64_t count;
  // The last layer whose first block is not behind this one. Layers without blocks in this launch
  // share their first block with the next one, which is found.
  template <typename First>
  __device__ __forceinline__ LayerType of_block(First first) const {
    int64_t low = 0, high = count;
    while (high - low > 1) {
      const int64_t middle = (low + high) / 2;
      if (layers[middle].first.*first <= blockIdx.x) {
        low = middle;
      } else {
        high = middle;
      }
    }
    const LayerType layer = layers[low];
    layer.assume();
    return layer;
  }
};

// The sum of `value` over the block, in all threads. `parts` holds kGroups.
__device__ __forceinline__ double block_sum(double value, double* parts) {
  for (int apart = kWarp / 2; apart > 0; apart /= 2) {
    value += __shfl_down_sync(0xffffffffu, value, apart);
  }
  __syncthreads();  // parts of the sum before may still be read
  if (threadIdx.x % kWarp == 0) parts[threadIdx.x / kWarp] = value;
  __syncthreads();
  double total = 0;
  for (int i = 0; i < kGroups; ++i) total += parts[i];
  return total;
}

// |x|, in double so that squares neither overflow nor vanish. Every block that needs it computes
// it, which costs less than a launch: vectors are short beside the weight.
template <typename A>
__device__ __forceinline__ double block_norm(const A* x, int64_t size, double* parts) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < size; i += kThreads) {
    const double value = x[i];
    sum += value * value;
  }
  return sqrt(block_sum(sum, parts));
}

// What `normalize` divides by. NaN stays NaN.
__device__ __forceinline__ double floored(double norm, double eps) {
  return norm < eps ? eps : norm;
}

template <typename T>
__device__ __forceinline__ bool is_wide(const T* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

}  // namespace fastgan::cuda::spectral_norm
