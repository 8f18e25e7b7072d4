// A small kernel that is right, and macros that each plant one bug in it: the test of the tests.
// plants [launch]: runs the kernel, or a launch that a GPU would refuse.
#include <cstdio>
#include <cstring>

#include "cuda/gpu_compat.h"

#ifdef PLANT_MISSING_BARRIER
#define FILL_BARRIER()
#else
#define FILL_BARRIER() __syncthreads()
#endif
#ifdef PLANT_WRITE_AFTER_READ
#define LOOP_BARRIER()
#else
#define LOOP_BARRIER() __syncthreads()
#endif

constexpr int kThreads = 64, kTiles = 3, kBlocks = 3;
constexpr int kSpan = kThreads * kTiles, kSize = kBlocks * kSpan - 17;  // a ragged end

struct alignas(16) Four {
  float values[4];
};

// y[i] = x[i] + scale * x[mirror of i in its tile], total = the sum of y.
__global__ void mirror(const float* x, const float* scale, float* y, float* total) {
  GPU_SHARED(float, tile, kThreads);
  const int thread = threadIdx.x;
#ifdef PLANT_MISALIGNED_LOAD
  const Four factors = *reinterpret_cast<const Four*>(scale + 1);
#else
  const Four factors = *reinterpret_cast<const Four*>(scale);
#endif
  float sum = 0;
  for (int t = 0; t < kTiles; ++t) {
    const int i = blockIdx.x * kSpan + t * kThreads + thread;
    tile[thread] = i < kSize ? x[i] : 0.0f;
    FILL_BARRIER();
    const float value = tile[thread] + factors.values[0] * tile[kThreads - 1 - thread];
#ifdef PLANT_OUT_OF_BOUNDS
    y[i] = value;
#else
    if (i < kSize) y[i] = value;
#endif
    if (i < kSize) sum += value;
    LOOP_BARRIER();
  }
#ifdef PLANT_DIVERGENT_BARRIER
  if (thread < 16) {
    __syncthreads();
  } else {
    sum += 0;
    __syncthreads();
  }
#endif
  unsigned mask = 0xffffffffu;
#ifdef PLANT_EXITED_LANES
  if (thread % 32 >= 20) return;
#endif
  for (int d = 16; d > 0; d /= 2) sum += __shfl_down_sync(mask, sum, d);
  if (thread % 32 != 0) return;
#ifdef PLANT_CROSS_BLOCK_RACE
  *total += sum;
#else
  atomicAdd(total, sum);
#endif
}

namespace wmma = nvcuda::wmma;

#ifdef PLANT_TRANSPOSED_FRAGMENT
using RightLayout = wmma::col_major;
#else
using RightLayout = wmma::row_major;
#endif
#ifdef PLANT_MISALIGNED_FRAGMENT
constexpr int kFragmentOffset = 8;
#else
constexpr int kFragmentOffset = 0;
#endif

// c = a * b in tiles of 16 x 16; each warp has its own b and c.
__global__ void product(const __half* a, const __half* b, float* c) {
  const int warp = threadIdx.x / 32;
  wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, wmma::row_major> left;
  wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, RightLayout> right;
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> sum;
  wmma::fill_fragment(sum, 0.0f);
  wmma::load_matrix_sync(left, a, 16);
  wmma::load_matrix_sync(right, b + warp * 256 + kFragmentOffset, 16);
  wmma::mma_sync(sum, left, right, sum);
#ifdef PLANT_DIVERGENT_FRAGMENT
  if (threadIdx.x % 32 < 16) return;
#endif
  wmma::store_matrix_sync(c + warp * 256, sum, 16, wmma::mem_row_major);
}

__global__ void nothing() {}

__global__ void too_much_shared(float* y) {
  GPU_SHARED(float, most, 12000);
  GPU_SHARED(float, more, 400);
  most[threadIdx.x] = more[threadIdx.x] = 0;
  y[threadIdx.x] = most[threadIdx.x] + more[threadIdx.x];
}

template <typename Kernel, typename... Args>
void launch(Kernel kernel, dim3 grid, dim3 block, Args... args) {
  GPU_LAUNCH(kernel, grid, block, 0, nullptr, args...);
}

void refused(const char* name, float* y) {
  if (!std::strcmp(name, "threads")) shim::launch(nothing, dim3(1), dim3(32, 33), 0, nullptr);
  if (!std::strcmp(name, "grid_y")) shim::launch(nothing, dim3(1, 70000), dim3(1), 0, nullptr);
  if (!std::strcmp(name, "grid_z")) shim::launch(nothing, dim3(1, 1, 70000), dim3(1), 0, nullptr);
  if (!std::strcmp(name, "empty")) shim::launch(nothing, dim3(0), dim3(1), 0, nullptr);
  if (!std::strcmp(name, "shared")) launch(too_much_shared, dim3(1), dim3(32), y);
}

// Elements of the emulated product that differ from a plain one; small integers are exact.
int wrong_products() {
  alignas(32) static __half a[256], b[512 + 16];
  alignas(32) static float c[512];
  for (int i = 0; i < 256; ++i) a[i] = __float2half(static_cast<float>(i % 7));
  for (int i = 0; i < 512; ++i) b[i] = __float2half(static_cast<float>(i % 5 - i / 100));
  launch(product, dim3(1), dim3(64), a, b, c);
  int wrong = 0;
  for (int i = 0; i < 512; ++i) {
    float sum = 0;
    for (int k = 0; k < 16; ++k) {
      sum +=
          __half2float(a[i / 16 % 16 * 16 + k]) * __half2float(b[i / 256 * 256 + k * 16 + i % 16]);
    }
    wrong += c[i] != sum;
  }
  if (wrong != 0) std::fprintf(stderr, "plants.cpp: the product of fragments is wrong\n");
  return wrong;
}

int main(int count, char** arguments) {
  float* x = static_cast<float*>(std::malloc(sizeof(float) * kSize));
  float* y = static_cast<float*>(std::malloc(sizeof(float) * kSize));
  alignas(16) float scale[8] = {2, 2, 2, 2, 2, 2, 2, 2};
  float total = 0, expected = 0;
  for (int i = 0; i < kSize; ++i) x[i] = static_cast<float>(i % 7);
  if (count > 1) {
    refused(arguments[1], y);
  } else {
    launch(mirror, dim3(kBlocks), dim3(kThreads), x, scale, y, &total);
  }
  int wrong = wrong_products();
  for (int i = 0; i < kSize; ++i) {
    const int opposite = i / kThreads * kThreads + kThreads - 1 - i % kThreads;
    const float value = x[i] + 2 * (opposite < kSize ? x[opposite] : 0.0f);
    wrong += !(y[i] == value);
    expected += value;
  }
  std::printf("%d wrong, total %g of %g\n", wrong, total, expected);
  std::free(x);
  std::free(y);
  return wrong == 0 && total == expected ? 0 : 1;
}
