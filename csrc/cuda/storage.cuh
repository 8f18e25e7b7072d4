// What every kernel needs of its storage types: conversions to and from the type it computes in,
// packs of up to 16 bytes, integer helpers. No torch in here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "common/dtype.h"
#include "cuda/gpu_compat.h"

namespace fastgan::cuda {

// Half types are computed in float, double in double (acc_t).
__device__ __forceinline__ float load(float value) { return value; }
__device__ __forceinline__ double load(double value) { return value; }
__device__ __forceinline__ float load(__half value) { return __half2float(value); }
__device__ __forceinline__ float load(__nv_bfloat16 value) { return __bfloat162float(value); }

template <typename T>
__device__ __forceinline__ T store(acc_t<T> value) {
  if constexpr (std::is_same_v<T, __half>) {
    return __float2half_rn(value);
  } else if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    return __float2bfloat16_rn(value);
  } else {
    return value;
  }
}

// Elements of T in the widest load that the hardware has.
template <typename T>
constexpr int kWidestPack = 16 / static_cast<int>(sizeof(T));

// Neighbours that one instruction loads or stores. The alignment is the promise to the compiler:
// whoever makes a pointer to a Pack has checked it.
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
    for (int i = 0; i < kSize; ++i) pack.values[i] = store<T>(from[i]);
    *reinterpret_cast<Pack<T, kSize>*>(to) = pack;
  } else {
#pragma unroll
    for (int i = 0; i < kSize; ++i) {
      if (i < count) to[i] = store<T>(from[i]);
    }
  }
}

inline bool is_aligned(const void* pointer, size_t bytes = 16) {  // null is
  return reinterpret_cast<uintptr_t>(pointer) % bytes == 0;
}

// a / b of numbers that are not negative. The GPU has no 64-bit division: it is a subroutine of
// some 70 instructions, worth skipping where both fit 32 bits.
__host__ __device__ __forceinline__ int64_t divide(int64_t a, int64_t b) {
  if (((a | b) >> 32) == 0) return static_cast<uint32_t>(a) / static_cast<uint32_t>(b);
  return a / b;
}

__host__ __device__ constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
__host__ __device__ constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
__host__ __device__ constexpr int round_up(int a, int b) { return (a + b - 1) / b * b; }

}  // namespace fastgan::cuda
