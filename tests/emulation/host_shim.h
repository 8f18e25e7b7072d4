// Runs CUDA kernels on the CPU, for tests: the names of CUDA for g++, on top of fibers.h.
//
// It runs one block at a time and is deterministic; CUDA_SHIM_ORDER = fwd, rev or a seed permutes
// the order in which threads run. It aborts on barriers and warp operations that threads do not
// meet together, and on launches that a GPU would refuse. Of tensor cores it knows nvcuda::wmma
// (wmma_shim.h). It knows nothing of inline PTX, asynchronous copies, weak memory order, fast
// intrinsics and speed.
#pragma once

#include <math.h>

#include "fibers.h"
// After the standard headers, before the macros below.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#undef __global__
#undef __device__
#undef __host__
#undef __forceinline__
#undef __launch_bounds__
#undef __constant__
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __constant__ static const
#define __ldg(pointer) (*(pointer))

namespace shim {

SHIM_HIDDEN inline uint3 thread_index() { return machine.current->index; }
SHIM_HIDDEN inline uint3 block_index() { return machine.block_index; }
SHIM_HIDDEN inline dim3 block_dim() { return machine.block; }
SHIM_HIDDEN inline dim3 grid_dim() { return machine.grid; }
SHIM_HIDDEN inline void* dynamic_shared() { return machine.dynamic; }
SHIM_HIDDEN inline int thread() { return static_cast<int>(machine.current - machine.fibers); }
SHIM_HIDDEN inline int lane() { return thread() % kWarp; }

SHIM_HIDDEN inline void sync_threads(int site, int line) {
  void* key = &machine.keys->barrier[machine.barrier_phase % 2];
  release(key);
  wait(State::kAtBarrier, 0, site, line);
  acquire(key);
}

SHIM_HIDDEN inline void sync_warp(int site, int line, unsigned mask = 0xffffffffu) {
  const int warp = thread() / kWarp;
  void* key = &machine.keys->warp[warp][machine.warp_phase[warp] % 2];
  release(key);
  wait(State::kAtWarp, mask, site, line);
  acquire(key);
}

// Lanes meet, but memory is not ordered: CUDA promises that of __syncwarp alone. A source outside
// the warp gives the lane its own value, as on the GPU.
template <typename T>
SHIM_HIDDEN T shuffle(int site, int line, unsigned mask, T value, int source) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  uint64_t* slots = machine.slots[thread() / kWarp];
  std::memcpy(&slots[lane()], &value, sizeof(T));
  wait(State::kAtWarp, mask, site, line);
  if (source >= 0 && source < kWarp) {
    if (!(mask >> source & 1)) die("a shuffle reads a lane that its mask does not name");
    std::memcpy(&value, &slots[source], sizeof(T));
  }
  wait(State::kAtWarp, mask, site, line);  // no lane writes its slot before all have read
  return value;
}

// The same memory for every thread of the block. It is allocated as the scheduler, so that its
// first use by any thread comes after.
SHIM_HIDDEN inline void* shared_memory(const void* declaration, size_t bytes) {
  void* memory = nullptr;
  for (int i = 0; i < machine.shared_count; ++i) {
    if (machine.shared[i].declaration == declaration) memory = machine.shared[i].memory;
  }
  if (memory == nullptr) {
    machine.shared_bytes += bytes;
    if (machine.shared_bytes > kMaxShared) die("more than 48 KiB of shared memory");
    tsan_switch(machine.main_tsan);
    memory = poisoned(bytes);
    if (machine.shared_count == kMaxSharedArrays) die("too many shared arrays for the emulator");
    machine.shared[machine.shared_count++] = {declaration, memory};
    release(&machine.keys->start);
    tsan_switch(machine.current->tsan);
  }
  acquire(&machine.keys->start);
  return memory;
}

template <typename T>
T atomic_add(T* address, T value) {
  T before, after;
  __atomic_load(address, &before, __ATOMIC_RELAXED);
  do {
    after = before + value;
  } while (!__atomic_compare_exchange(address, &before, &after, true, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED));
  return before;
}

SHIM_HIDDEN inline void check_launch(dim3 grid, dim3 block, size_t bytes) {
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > kMaxThreads || block.z > 64) die("illegal number of threads");
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) die("empty grid");
  if (grid.x > kMaxGridX || grid.y > kMaxGridYZ || grid.z > kMaxGridYZ) die("grid too large");
  if (bytes > kMaxShared) die("more than 48 KiB of shared memory");
}

template <typename Kernel, typename... Args>
void launch(Kernel kernel, dim3 grid, dim3 block, size_t bytes, cudaStream_t, Args... args) {
  machine.threads = 0;
  check_launch(grid, block, bytes);
  ++machine.launches;
  machine.threads = static_cast<int>(block.x * block.y * block.z);
  machine.grid = grid;
  machine.block = block;
  machine.shared_bytes = bytes;
  machine.body = [&] { kernel(args...); };
#ifdef __SANITIZE_THREAD__
  machine.main_tsan = __tsan_get_current_fiber();
#endif
  std::vector<int> order(machine.threads);
  for (int i = 0; i < machine.threads; ++i) order[i] = i;
  const char* setting = std::getenv("CUDA_SHIM_ORDER");
  const bool reverse = setting != nullptr && std::strcmp(setting, "rev") == 0;
  const bool seeded = setting != nullptr && *setting >= '0' && *setting <= '9';
  if (reverse) std::reverse(order.begin(), order.end());
  std::mt19937 random(seeded ? std::atoi(setting) : 0);
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        machine.block_index = {x, y, z};
        run_block(order, seeded ? &random : nullptr);
      }
    }
  }
  acquire(&machine.end);  // blocks are ordered before the end of the launch, not among themselves
  for (void* memory : machine.garbage) std::free(memory);
  machine.garbage.clear();
}

}  // namespace shim

#define threadIdx (shim::thread_index())
#define blockIdx (shim::block_index())
#define blockDim (shim::block_dim())
#define gridDim (shim::grid_dim())
// __COUNTER__ tells two barriers on one line apart.
#define __syncthreads() shim::sync_threads(__COUNTER__, __LINE__)
#define __syncwarp(...) shim::sync_warp(__COUNTER__, __LINE__ __VA_OPT__(, ) __VA_ARGS__)
#define SHIM_SHUFFLE(mask, value, source) shim::shuffle(__COUNTER__, __LINE__, mask, value, source)
#define __shfl_sync(mask, value, source) SHIM_SHUFFLE(mask, value, source)
#define __shfl_down_sync(mask, value, delta) SHIM_SHUFFLE(mask, value, shim::lane() + (delta))
#define __shfl_up_sync(mask, value, delta) SHIM_SHUFFLE(mask, value, shim::lane() - (delta))
#define __shfl_xor_sync(mask, value, bits) SHIM_SHUFFLE(mask, value, shim::lane() ^ (bits))
#define atomicAdd(address, value) shim::atomic_add(address, value)

#define GPU_SHARED(Type, name, size)                    \
  static const char name##_declaration{};               \
  Type(&name)[size] = *reinterpret_cast<Type(*)[size]>( \
      shim::shared_memory(&name##_declaration, sizeof(Type) * (size)))
#define GPU_SHARED_DYN(Type, name) Type* name = reinterpret_cast<Type*>(shim::dynamic_shared())
#define GPU_LAUNCH(kernel, grid, block, bytes, stream, ...) \
  shim::launch(kernel, grid, block, bytes, stream, __VA_ARGS__)

#include "wmma_shim.h"
