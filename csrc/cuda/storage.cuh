// What every kernel needs of its storage types: conversions to the type it computes in, 16-byte
// packs, integer helpers. No torch in here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "common/dtype.h"
#include "cuda/gpu_compat.h"

namespace fastgan::cuda {

// Index arithmetic that the launchers on the host and the kernels share.
__host__ __device__ constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
__host__ __device__ constexpr int round_up(int a, int b) { return (a + b - 1) / b * b; }

// Half types are computed in float, double in double (acc_t).
__device__ __forceinline__ float to_acc(float value) { return value; }
__device__ __forceinline__ double to_acc(double value) { return value; }
__device__ __forceinline__ float to_acc(__half value) { return __half2float(value); }
__device__ __forceinline__ float to_acc(__nv_bfloat16 value) { return __bfloat162float(value); }

template <typename T>
__device__ __forceinline__ T from_acc(acc_t<T> value) {
  if constexpr (std::is_same_v<T, __half>) {
    return __float2half_rn(value);
  } else if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    return __float2bfloat16_rn(value);
  } else {
    return value;
  }
}

// N neighbours that one instruction loads or stores. The alignment is the promise to the compiler:
// whoever makes a pointer to a Pack has checked it.
template <typename T, int N>
struct alignas(N * sizeof(T)) Pack {
  T values[N];
};

// Elements of T in the widest access, 16 bytes.
template <typename T>
constexpr int kWide = 16 / sizeof(T);

inline bool is_aligned(const void* pointer, size_t bytes) {
  return reinterpret_cast<uintptr_t>(pointer) % bytes == 0;
}

// a / b for a >= 0 and b > 0. 64-bit division is a subroutine of some 70 instructions, and nearly
// always both numbers are short.
__device__ __forceinline__ int64_t divide(int64_t a, int64_t b) {
  if (((a | b) >> 32) == 0) {
    return static_cast<int64_t>(static_cast<uint32_t>(a) / static_cast<uint32_t>(b));
  }
  return a / b;
}

}  // namespace fastgan::cuda
