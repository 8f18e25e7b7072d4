// Storage types on the GPU, the types that kernels compute in, and loads and stores of up to 16
// bytes at once.
#pragma once

#include <cstdint>

#include "common/dtype.h"
#include "cuda/gpu_compat.h"

namespace fastgan::cuda {

__device__ __forceinline__ float load(float value) { return value; }
__device__ __forceinline__ double load(double value) { return value; }
__device__ __forceinline__ float load(__half value) { return __half2float(value); }
__device__ __forceinline__ float load(__nv_bfloat16 value) { return __bfloat162float(value); }

__device__ __forceinline__ void store(float* to, float value) { *to = value; }
__device__ __forceinline__ void store(double* to, double value) { *to = value; }
__device__ __forceinline__ void store(__half* to, float value) { *to = __float2half_rn(value); }
__device__ __forceinline__ void store(__nv_bfloat16* to, float value) {
  *to = __float2bfloat16_rn(value);
}

// Elements of T in the widest load that the hardware has.
template <typename T>
constexpr int kWidestPack = 16 / static_cast<int>(sizeof(T));

template <typename T, int kSize>
struct alignas(sizeof(T) * kSize) Pack {
  T values[kSize];
};

// Loads the first `count` of kSize elements; a full pack is one load instruction, for which `from`
// must be aligned to its size.
template <int kSize, typename T>
__device__ __forceinline__ void load_pack(const T* from, int count, acc_t<T> (&to)[kSize]) {
  if (count == kSize) {
    const Pack<T, kSize> pack = *reinterpret_cast<const Pack<T, kSize>*>(from);
#pragma unroll
    for (int i = 0; i < kSize; ++i) to[i] = load(pack.values[i]);
  } else {
#pragma unroll
    for (int i = 0; i < kSize; ++i) to[i] = i < count ? load(from[i]) : acc_t<T>(0);
  }
}

template <int kSize, typename T>
__device__ __forceinline__ void store_pack(T* to, int count, const acc_t<T> (&from)[kSize]) {
  if (count == kSize) {
    Pack<T, kSize> pack;
#pragma unroll
    for (int i = 0; i < kSize; ++i) store(&pack.values[i], from[i]);
    *reinterpret_cast<Pack<T, kSize>*>(to) = pack;
  } else {
#pragma unroll
    for (int i = 0; i < kSize; ++i) {
      if (i < count) store(to + i, from[i]);
    }
  }
}

// a / b of numbers that are not negative. The GPU has no 64-bit division: it is a long sequence,
// worth skipping where both fit 32 bits.
__host__ __device__ __forceinline__ int64_t divide(int64_t a, int64_t b) {
  if (((a | b) >> 32) == 0) return static_cast<uint32_t>(a) / static_cast<uint32_t>(b);
  return a / b;
}

__host__ __device__ __forceinline__ int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

inline bool aligned(const void* pointer) {  // to 16 bytes; null is
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

}  // namespace fastgan::cuda
