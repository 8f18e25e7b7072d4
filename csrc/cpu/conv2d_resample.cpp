// Launchers of the 3x3 convolutions with up- or downsampling by 2 (conv2d_resample_kernel.h):
// checks, the choice of tiles and blocks, threads, registration.
#include <cmath>

#include "common/tensor.h"
#include "cpu/conv2d_resample_kernel.h"
#include "cpu/isa.h"
#include "cpu/layout.h"
#include "cpu/result_pool.h"

namespace fastgan::cpu {
namespace {

// Floats at the points of a step of tiles: with the weights of a block of channels and what is
// summed into, about what a second-level cache holds.
constexpr int64_t kStepFloats = 200 << 10;
// Tile rows of a part of the weight gradient hold at least so many low pixels.
constexpr int64_t kPartPixels = 2048;
constexpr int64_t kMostParts = 8;
// Channels of a unit of the weight gradient.
constexpr int kLowBlock = 128;
constexpr int kHighBlock = 64;

const ResampleKernels& kernels() {
  const ResampleKernels* found = nullptr;
  if (current_isa() == Isa::kAvx512) found = resample_kernels_avx512();
  if (current_isa() == Isa::kAvx2) found = resample_kernels_avx2();
  return found ? *found : *resample_kernels_portable();
}

// From this size of low on, tiles of 4 save more products than their weights cost to stream.
constexpr int64_t kLargeTiles = 32;

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

void check_image(const char* op, const char* name, const Tensor& x) {
  STD_TORCH_CHECK(x.is_cpu() && x.scalar_type() == ScalarType::Float && x.dim() == 4, op, ": ",
                  name, " must be a float32 CPU tensor of 4 dimensions");
  STD_TORCH_CHECK(x.size(1) > 0 && x.size(1) % kResampleChannels == 0, op, ": ", name,
                  " must have a multiple of ", kResampleChannels, " channels, got ", x.size(1));
}

Tensor floats(int64_t count) { return empty_result({count}, {1}, ScalarType::Float); }

// Taps that correlate, times sqrt(gain).
void read_taps(const char* op, const Tensor& taps, bool flip_filter, double gain, float* to) {
  check_numel(op, "taps", taps, ScalarType::Float, 4);
  STD_TORCH_CHECK(gain > 0, op, ": gain must be above 0, got ", gain);
  const Tensor dense = torch::stable::contiguous(taps);
  const float* from = data<float>(dense);
  for (int i = 0; i < 4; ++i) {
    to[i] = static_cast<float>(from[flip_filter ? i : 3 - i] * std::sqrt(gain));
  }
}

ResampleCall make_call(int64_t samples, int64_t height, int64_t width, int64_t low, int64_t high,
                       int64_t tile) {
  ResampleCall call{};
  call.samples = samples, call.height = height, call.width = width;
  call.low = static_cast<int>(low), call.high = static_cast<int>(high);
  call.tile = static_cast<int>(tile ? tile : std::min(height, width) < kLargeTiles ? 2 : 4);
  STD_TORCH_CHECK(call.tile == 1 || call.tile == 2 || call.tile == 4,
                  "conv2d_resample: tile must be 1, 2, 4 or 0 for the best, got ", tile);
  call.group = call.strips = call.step = call.parts = 1;
  return call;
}

int64_t points_per_tile(const ResampleCall& call) {
  const int64_t side = 2 * call.tile + 1;
  return side * side;
}

// Tile rows of one step, for `channels` channels at the points.
int64_t rows_per_step(const ResampleCall& call, int64_t channels) {
  const int64_t tiles = std::max<int64_t>(kStepFloats / (points_per_tile(call) * channels), 4);
  return std::max<int64_t>((tiles + call.tile_columns() / 2) / call.tile_columns(), 1);
}

// Small images go through the products together, large ones in strips where there are fewer images
// than the threads need. Results do not depend on either.
void share_up(ResampleCall& call) {
  const int64_t threads = torch::stable::get_num_threads(), rows = call.tile_rows();
  const int64_t step = rows_per_step(call, call.low);
  call.step = divide_up(rows, divide_up(rows, step));
  if (step >= 2 * rows) {
    const int64_t groups = divide_up(call.samples, step / rows);
    call.group = divide_up(call.samples, divide_up(groups, threads) * threads);
  } else if (call.samples % threads != 0 && call.samples < 4 * threads) {
    // A strip of fewer than 4 tile rows would be halo in the main.
    const int64_t most = std::max<int64_t>(rows / 4, 1);
    call.strips = std::min(divide_up(4 * threads, call.samples), most);
  }
}

void share_down(ResampleCall& call) {
  const int64_t threads = torch::stable::get_num_threads();
  const int64_t rows = call.samples * call.tile_rows();
  const int64_t units = divide_up(rows, rows_per_step(call, call.high));
  call.step = divide_up(rows, divide_up(units, threads) * threads);
}

void share_grad(ResampleCall& call) {
  const int64_t pixels = call.samples * call.height * call.width;
  const int64_t parts = std::min(pixels / kPartPixels, kMostParts);
  call.parts = std::max<int64_t>(std::min(parts, call.samples * call.tile_rows()), 1);
  call.high_block = std::min(call.high, kHighBlock);
  call.low_block = std::min(call.low, call.parts > 1 ? kLowBlock : kLowBlock / 2);
  const int64_t rows = divide_up(call.samples * call.tile_rows(), call.parts);
  const int64_t most = rows_per_step(call, (call.low_block + call.high_block) / 2);
  call.step = divide_up(rows, divide_up(rows, most));
}

ResampleWeight weight_view(const float* values, int64_t low_step, int64_t high_step, int64_t row,
                           int64_t column, bool flip) {
  ResampleWeight weight{values, low_step, high_step, {}};
  for (int y = 0; y < 3; ++y) {
    for (int x = 0; x < 3; ++x) {
      weight.taps[3 * y + x] = flip ? (2 - y) * row + (2 - x) * column : y * row + x * column;
    }
  }
  return weight;
}

Tensor pack(const char* op, const ResampleCall& call, const Tensor& weight, bool up, bool flip) {
  const int64_t out = up ? call.high : call.low, in = up ? call.low : call.high;
  check_numel(op, "weight", weight, ScalarType::Float, out * in * 9);
  STD_TORCH_CHECK(weight.dim() == 4 && weight.size(0) == out && weight.size(1) == in &&
                      weight.size(2) == 3 && weight.size(3) == 3,
                  op, ": weight must be [", out, ", ", in, ", 3, 3]");
  const int64_t low_step = weight.stride(up ? 1 : 0), high_step = weight.stride(up ? 0 : 1);
  const ResampleWeight view = weight_view(data<float>(weight), low_step, high_step,
                                          weight.stride(2), weight.stride(3), flip);
  const ResampleKernels& kernel = kernels();
  Tensor packed = floats(kernel.packed_size(call));
  float* to = mutable_data<float>(packed);
  torch::stable::parallel_for(0, kernel.pack_units(call, up), 4, [&](int64_t begin, int64_t end) {
    kernel.pack(call, up, view, to, begin, end);
  });
  return packed;
}

Tensor up2(const Tensor& x, const Tensor& weight, const Tensor& taps, bool flip_weight,
           bool flip_filter, double gain, int64_t tile) {
  const char* op = "conv3x3_up2";
  check_image(op, "x", x);
  ResampleCall call = make_call(x.size(0), x.size(2), x.size(3), x.size(1), weight.size(0), tile);
  STD_TORCH_CHECK(call.high > 0 && call.high % kResampleChannels == 0, op,
                  ": weight must give a multiple of ", kResampleChannels, " channels, got ",
                  call.high);
  read_taps(op, taps, flip_filter, gain, call.taps);
  const Tensor y = channels_last_result(call.samples, call.high, 2 * call.height, 2 * call.width);
  if (y.numel() == 0) return in_order_of(x, y);
  // The transposed convolution scatters by the flip of the weight that correlates.
  const Tensor packed = pack(op, call, weight, true, flip_weight);
  const Tensor low = as_channels_last(x);
  share_up(call);
  const ResampleKernels& kernel = kernels();
  const float *from = data<float>(low), *weights = data<float>(packed);
  float* to = mutable_data<float>(y);
  const int64_t units = divide_up(call.samples, call.group) * call.strips;
  torch::stable::parallel_for(0, units, 1, [&](int64_t begin, int64_t end) {
    const Tensor scratch = floats(kernel.up_scratch(call));
    kernel.up(call, from, weights, to, begin, end, mutable_data<float>(scratch));
  });
  return in_order_of(x, y);
}

void check_even(const char* op, const char* name, const Tensor& x) {
  STD_TORCH_CHECK(x.size(2) % 2 == 0 && x.size(3) % 2 == 0, op, ": ", name,
                  " must have even height and width, got ", x.size(2), " x ", x.size(3));
}

Tensor down2(const Tensor& x, const Tensor& weight, const Tensor& taps, bool flip_weight,
             bool flip_filter, double gain, int64_t tile) {
  const char* op = "conv3x3_down2";
  check_image(op, "x", x);
  check_even(op, "x", x);
  ResampleCall call =
      make_call(x.size(0), x.size(2) / 2, x.size(3) / 2, weight.size(0), x.size(1), tile);
  STD_TORCH_CHECK(call.low > 0 && call.low % kResampleChannels == 0, op,
                  ": weight must give a multiple of ", kResampleChannels, " channels, got ",
                  call.low);
  read_taps(op, taps, flip_filter, gain, call.taps);
  const Tensor y = channels_last_result(call.samples, call.low, call.height, call.width);
  if (y.numel() == 0) return in_order_of(x, y);
  const Tensor packed = pack(op, call, weight, false, !flip_weight);
  const Tensor high = as_channels_last(x);
  share_down(call);
  const ResampleKernels& kernel = kernels();
  const float *from = data<float>(high), *weights = data<float>(packed);
  float* to = mutable_data<float>(y);
  const int64_t units = divide_up(call.samples * call.tile_rows(), call.step);
  torch::stable::parallel_for(0, units, 1, [&](int64_t begin, int64_t end) {
    const Tensor scratch = floats(kernel.down_scratch(call));
    kernel.down(call, from, weights, to, begin, end, mutable_data<float>(scratch));
  });
  return in_order_of(x, y);
}

// up: of conv3x3_up2 with x = low, [high, low, 3, 3]; else of conv3x3_down2 with x = high,
// [low, high, 3, 3]. Flips are those of that op.
Tensor weight_grad(const Tensor& low_in, const Tensor& high_in, const Tensor& taps, bool up,
                   bool flip_weight, bool flip_filter, double gain, int64_t tile) {
  const char* op = "conv3x3_updown_weight_grad";
  check_image(op, "low", low_in);
  check_image(op, "high", high_in);
  check_even(op, "high", high_in);
  STD_TORCH_CHECK(high_in.size(0) == low_in.size(0) && high_in.size(2) == 2 * low_in.size(2) &&
                      high_in.size(3) == 2 * low_in.size(3),
                  op, ": high must have the samples of low and twice its height and width");
  ResampleCall call = make_call(low_in.size(0), low_in.size(2), low_in.size(3), low_in.size(1),
                                high_in.size(1), tile ? tile : 2);
  // S is the image filtered as for down: for up with the taps the other way round.
  read_taps(op, taps, up != flip_filter, gain, call.taps);
  const int64_t out = up ? call.high : call.low, in = up ? call.low : call.high;
  Tensor result = empty_result({out, in, 3, 3}, {in * 9, 9, 3, 1}, ScalarType::Float);
  if (low_in.numel() == 0) {
    torch::stable::fill_(result, 0.0);
    return result;
  }
  const Tensor low = as_channels_last(low_in), high = as_channels_last(high_in);
  share_grad(call);
  const ResampleKernels& kernel = kernels();
  const Tensor points = floats(kernel.points_size(call));
  const float *low_data = data<float>(low), *high_data = data<float>(high);
  float* sums = mutable_data<float>(points);
  torch::stable::parallel_for(0, kernel.points_units(call), 1, [&](int64_t begin, int64_t end) {
    const Tensor scratch = floats(kernel.points_scratch(call));
    kernel.points(call, low_data, high_data, sums, begin, end, mutable_data<float>(scratch));
  });
  const ResampleWeight view = weight_view(mutable_data<float>(result), up ? 9 : in * 9,
                                          up ? in * 9 : 9, 3, 1, up == flip_weight);
  torch::stable::parallel_for(0, call.low, 8, [&](int64_t begin, int64_t end) {
    kernel.weight_grad(call, sums, view, begin, end);
  });
  return result;
}

}  // namespace
}  // namespace fastgan::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(fastgan_cpp, m) {
  m.def(
      "conv3x3_up2(Tensor x, Tensor weight, Tensor taps, bool flip_weight, bool flip_filter, "
      "float gain, int tile=0) -> Tensor");
  m.def(
      "conv3x3_down2(Tensor x, Tensor weight, Tensor taps, bool flip_weight, bool flip_filter, "
      "float gain, int tile=0) -> Tensor");
  m.def(
      "conv3x3_updown_weight_grad(Tensor low, Tensor high, Tensor taps, bool up, "
      "bool flip_weight, bool flip_filter, float gain, int tile=0) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(fastgan_cpp, CPU, m) {
  m.impl("conv3x3_up2", TORCH_BOX(&fastgan::cpu::up2));
  m.impl("conv3x3_down2", TORCH_BOX(&fastgan::cpu::down2));
  m.impl("conv3x3_updown_weight_grad", TORCH_BOX(&fastgan::cpu::weight_grad));
}
