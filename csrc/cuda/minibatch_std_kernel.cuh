// minibatch_std: the standard deviation over groups of a batch as further channels, and its
// gradient. Raw pointers, no torch.
//
// Place j of a slice of the channels is channel and pixel in the order in which they lie: channels
// by pixels (planar) or pixels by channels (channels_last). Sums are split by shape and added in
// one order. The variance is taken around the group's first sample, which loses no digits however
// far from zero the samples lie, and reads x once. Accesses are of one element: the op runs on
// images of 4 x 4, where a launch takes longer than the traffic.
#pragma once

#include "cuda/team_sum.cuh"

namespace fastgan::cuda::minibatch_std {

constexpr int kThreads = 256;
constexpr int64_t kPlaces = 2048;  // least that a block sums
constexpr int64_t kMaxParts = 32;  // of one average, as every place of the result adds them up
constexpr int64_t kMaxBlocks = int64_t{1} << 20;  // of an elementwise launch; the rest by a loop
constexpr double kEps = 1e-8;

// Sample n belongs to group n mod `groups`, as its member n / groups.
struct Shape {
  int64_t groups, members, channels, pixels, slices;
  bool channels_last;

  __host__ __device__ int64_t averages() const { return groups * slices; }
  __host__ __device__ int64_t per_slice() const { return channels / slices; }
  __host__ __device__ int64_t places() const { return per_slice() * pixels; }
  __host__ __device__ int64_t sample() const { return channels * pixels; }
  __host__ __device__ int64_t widened() const { return (channels + slices) * pixels; }

  // Where place j of a slice lies in a sample of `width` channels.
  __device__ __forceinline__ int64_t offset(int64_t j, int64_t slice, int64_t width) const {
    if (!channels_last) return slice * places() + j;
    const int64_t pixel = divide(j, per_slice());
    return pixel * width + slice * per_slice() + j - pixel * per_slice();
  }
};

inline int64_t chunk_of(const Shape& s) {
  const int64_t least = ceil_div(s.places(), kMaxParts);
  return least > kPlaces ? least : kPlaces;
}
inline int64_t chunks_of(const Shape& s) { return ceil_div(s.places(), chunk_of(s)); }

// Elements of the workspace: of the forward pass, and of the gradient.
inline int64_t workspace(const Shape& s) { return s.averages() * chunks_of(s); }
inline int64_t grad_workspace(const Shape& s) { return s.averages(); }

// Mean without the first sample's value, and variance, of a place over its group.
template <typename A>
struct Spread {
  A first, mean, variance;
};

template <typename T>
__device__ __forceinline__ Spread<acc_t<T>> spread(const T* x, const Shape& s) {
  using A = acc_t<T>;
  const A first = load(x[0]);
  A total = 0, squares = 0;
  for (int64_t m = 1; m < s.members; ++m) {
    const A d = load(x[m * s.groups * s.sample()]) - first;
    total += d;
    squares += d * d;
  }
  const A mean = total / static_cast<A>(s.members);
  const A variance = squares / static_cast<A>(s.members) - mean * mean;
  return {first, mean, variance < A(0) ? A(0) : variance};
}

// parts [groups, slices, chunks]: sums of the standard deviation, one chunk a block.
template <typename T, int kBlock>
__global__ void __launch_bounds__(kBlock)
    deviation(const T* __restrict__ x, acc_t<T>* __restrict__ parts, Shape s, int64_t chunk,
              int64_t chunks) {
  using A = acc_t<T>;
  GPU_SHARED(A, sums, kBlock);
  const int64_t average = divide(blockIdx.x, chunks),
                begin = (blockIdx.x - average * chunks) * chunk;
  const int64_t group = divide(average, s.slices), slice = average - group * s.slices;
  const int64_t end = smaller(begin + chunk, s.places());
  A sum = 0;
  for (int64_t j = begin + threadIdx.x; j < end; j += kBlock) {
    const T* place = x + group * s.sample() + s.offset(j, slice, s.channels);
    sum += sqrt(spread(place, s).variance + static_cast<A>(kEps));
  }
  sum = team_sum(sum, kBlock, sums);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

// y = x with the averages of its group behind the channels.
template <typename T, int kBlock>
__global__ void __launch_bounds__(kBlock)
    concatenate(const T* __restrict__ x, const acc_t<T>* __restrict__ parts, T* __restrict__ y,
                Shape s, int64_t chunks) {
  using A = acc_t<T>;
  const int64_t numel = s.groups * s.members * s.widened(), width = s.channels + s.slices;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kBlock;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < numel; i += step) {
    const int64_t sample = divide(i, s.widened()), e = i - sample * s.widened();
    const int64_t row = divide(e, s.channels_last ? width : s.pixels);
    const int64_t channel = s.channels_last ? e - row * width : row;
    if (channel < s.channels) {
      const int64_t offset = s.channels_last ? row * s.channels + channel : e;
      y[i] = x[sample * s.sample() + offset];
      continue;
    }
    const int64_t group = sample - divide(sample, s.groups) * s.groups;
    const A* part = parts + (group * s.slices + channel - s.channels) * chunks;
    A sum = 0;
    for (int64_t k = 0; k < chunks; ++k) sum += part[k];
    y[i] = store<T>(sum / static_cast<A>(s.places()));
  }
}

// sums [groups, slices] of the gradient of each average.
template <typename T, int kBlock>
__global__ void __launch_bounds__(kBlock)
    upstream(const T* __restrict__ grad_y, acc_t<T>* __restrict__ out, Shape s) {
  using A = acc_t<T>;
  GPU_SHARED(A, sums, kBlock);
  const int64_t group = divide(blockIdx.x, s.slices);
  const int64_t channel = s.channels + blockIdx.x - group * s.slices;
  A sum = 0;
  for (int64_t k = threadIdx.x; k < s.members * s.pixels; k += kBlock) {
    const int64_t member = divide(k, s.pixels), pixel = k - member * s.pixels;
    const int64_t offset =
        s.channels_last ? pixel * (s.channels + s.slices) + channel : channel * s.pixels + pixel;
    sum += load(grad_y[(member * s.groups + group) * s.widened() + offset]);
  }
  sum = team_sum(sum, kBlock, sums);
  if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

// grad_x = grad_y + upstream (x - mean) / (places members deviation): a thread for a place of a
// group, all members.
template <typename T, int kBlock>
__global__ void __launch_bounds__(kBlock)
    gradient(const T* __restrict__ grad_y, const T* __restrict__ x,
             const acc_t<T>* __restrict__ sums, T* __restrict__ grad_x, Shape s) {
  using A = acc_t<T>;
  const int64_t count = s.averages() * s.places();
  const int64_t step = static_cast<int64_t>(gridDim.x) * kBlock;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < count; i += step) {
    const int64_t average = divide(i, s.places()), j = i - average * s.places();
    const int64_t group = divide(average, s.slices), slice = average - group * s.slices;
    const int64_t at = group * s.sample() + s.offset(j, slice, s.channels);
    const int64_t from = group * s.widened() + s.offset(j, slice, s.channels + s.slices);
    const Spread<A> of_x = spread(x + at, s);
    const A factor = sums[average] / static_cast<A>(s.places() * s.members) /
                     sqrt(of_x.variance + static_cast<A>(kEps));
    for (int64_t m = 0; m < s.members; ++m) {
      const int64_t place = at + m * s.groups * s.sample();
      const A apart = load(x[place]) - of_x.first - of_x.mean;
      const A g = load(grad_y[from + m * s.groups * s.widened()]);
      grad_x[place] = store<T>(g + factor * apart);
    }
  }
}

inline dim3 grid_of(int64_t elements, int threads, int64_t max_blocks) {
  return dim3(static_cast<unsigned>(smaller(ceil_div(elements, threads), max_blocks)));
}

// y [N, C + slices, H, W] in the layout of the dense x [N, C, H, W]. parts: workspace(shape)
// elements. Nothing is launched for an empty x. Returns the number of launches.
template <typename T, int kBlock = kThreads>
int launch(const T* x, T* y, acc_t<T>* parts, const Shape& s, cudaStream_t stream,
           int64_t max_blocks = kMaxBlocks) {
  const int64_t samples = s.groups * s.members;
  if (samples * s.sample() == 0) return 0;
  const int64_t chunks = chunks_of(s);
  GPU_LAUNCH((deviation<T, kBlock>), dim3(static_cast<unsigned>(s.averages() * chunks)),
             dim3(kBlock), 0, stream, x, parts, s, chunk_of(s), chunks);
  GPU_LAUNCH((concatenate<T, kBlock>), grid_of(samples * s.widened(), kBlock, max_blocks),
             dim3(kBlock), 0, stream, x, parts, y, s, chunks);
  return 2;
}

// grad_x in the layout of x, which grad_y [N, C + slices, H, W] has too. sums:
// grad_workspace(shape) elements.
template <typename T, int kBlock = kThreads>
int launch_grad(const T* grad_y, const T* x, T* grad_x, acc_t<T>* sums, const Shape& s,
                cudaStream_t stream, int64_t max_blocks = kMaxBlocks) {
  if (s.groups * s.members * s.sample() == 0) return 0;
  GPU_LAUNCH((upstream<T, kBlock>), dim3(static_cast<unsigned>(s.averages())), dim3(kBlock), 0,
             stream, grad_y, sums, s);
  GPU_LAUNCH((gradient<T, kBlock>), grid_of(s.averages() * s.places(), kBlock, max_blocks),
             dim3(kBlock), 0, stream, grad_y, x, sums, grad_x, s);
  return 2;
}

}  // namespace fastgan::cuda::minibatch_std
