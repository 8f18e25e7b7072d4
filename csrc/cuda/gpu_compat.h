// What kernels need to compile both for the GPU and, in tests, for the CPU. They are plain CUDA but
// for these three macros; tests/emulation/host_shim.h defines the same ones for g++. No torch here.
#pragma once

#ifdef FASTGAN_HOST_SHIM
#include "host_shim.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <mma.h>

// An array of `size` (a constant) elements, shared by the threads of a block.
#define GPU_SHARED(Type, name, size) __shared__ Type name[size]

// The same, of the size that the launch asks for. The declaration of the raw bytes is the same in
// every kernel, as extern arrays of one name must agree on their type.
#define GPU_SHARED_DYN(Type, name)                                \
  extern __shared__ __align__(16) unsigned char gpu_shared_raw[]; \
  Type* name = reinterpret_cast<Type*>(gpu_shared_raw)

// kernel<<<grid, block, bytes, stream>>>(arguments...); templates go in parentheses. The caller of
// a launcher asks cudaGetLastError once, after all its launches.
#define GPU_LAUNCH(kernel, grid, block, bytes, stream, ...) \
  kernel<<<(grid), (block), (bytes), (stream)>>>(__VA_ARGS__)
#endif
