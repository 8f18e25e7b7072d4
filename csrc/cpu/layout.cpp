// Copies of images between memory orders: a transposition for each sample, by blocks that write
// whole lines of the cache.
#include "cpu/layout.h"

#include "cpu/result_pool.h"

namespace fastgan::cpu {
namespace {

using Four = float __attribute__((vector_size(16), aligned(4), may_alias));

constexpr int64_t kLine = 16;  // floats of a line of the cache
constexpr int64_t kGrain = 8;  // blocks of lines for a thread at least

void transpose_four(const float* from, int64_t from_step, float* to, int64_t to_step) {
  const Four a = *reinterpret_cast<const Four*>(from);
  const Four b = *reinterpret_cast<const Four*>(from + from_step);
  const Four c = *reinterpret_cast<const Four*>(from + 2 * from_step);
  const Four d = *reinterpret_cast<const Four*>(from + 3 * from_step);
  const Four ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
  const Four ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Four cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  const Four cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  *reinterpret_cast<Four*>(to) = __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5);
  *reinterpret_cast<Four*>(to + to_step) = __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7);
  *reinterpret_cast<Four*>(to + 2 * to_step) =
      __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
  *reinterpret_cast<Four*>(to + 3 * to_step) =
      __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
}

// to[column][row] = from[row][column] for up to a line of rows.
void transpose_lines(const float* from, int64_t from_step, float* to, int64_t to_step, int64_t rows,
                     int64_t columns) {
  int64_t column = 0;
  if (rows == kLine) {
    for (; column + 4 <= columns; column += 4) {
      for (int64_t row = 0; row < kLine; row += 4) {
        transpose_four(from + row * from_step + column, from_step, to + column * to_step + row,
                       to_step);
      }
    }
  }
  for (; column < columns; ++column) {
    for (int64_t row = 0; row < rows; ++row) {
      to[column * to_step + row] = from[row * from_step + column];
    }
  }
}

// [samples, rows, columns] to [samples, columns, rows].
void transpose(const float* from, float* to, int64_t samples, int64_t rows, int64_t columns) {
  const int64_t blocks = (rows + kLine - 1) / kLine;
  const int64_t grain = std::max<int64_t>(kGrain * 64 / std::max<int64_t>(columns, 1), 1);
  torch::stable::parallel_for(0, samples * blocks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t sample = unit / blocks * rows * columns, row = unit % blocks * kLine;
      transpose_lines(from + sample + row * columns, columns, to + sample + row, rows,
                      std::min(kLine, rows - row), columns);
    }
  });
}

}  // namespace

Tensor channels_last_result(int64_t samples, int64_t channels, int64_t height, int64_t width) {
  const int64_t pixel = std::max<int64_t>(channels, 1);
  return empty_result(
      {samples, channels, height, width},
      {pixel * std::max<int64_t>(height * width, 1), 1, pixel * std::max<int64_t>(width, 1), pixel},
      ScalarType::Float);
}

Tensor as_channels_last(const Tensor& x) {
  const int64_t channels = x.size(1), height = x.size(2), width = x.size(3);
  const int64_t expected[4] = {channels * height * width, 1, width * channels, channels};
  bool same = true;
  for (int d = 0; d < 4; ++d) same = same && (x.size(d) <= 1 || x.stride(d) == expected[d]);
  if (same) return x;
  Tensor copy = channels_last_result(x.size(0), channels, height, width);
  if (x.is_contiguous()) {
    transpose(data<float>(x), mutable_data<float>(copy), x.size(0), channels, height * width);
  } else {
    torch::stable::copy_(copy, x);
  }
  return copy;
}

Tensor in_order_of(const Tensor& x, const Tensor& y) {
  if (is_channels_last(x)) return y;
  const int64_t channels = y.size(1), height = y.size(2), width = y.size(3);
  const auto least = [](int64_t size) { return std::max<int64_t>(size, 1); };
  Tensor copy = empty_result({y.size(0), channels, height, width},
                             {least(channels) * least(height) * least(width),
                              least(height) * least(width), least(width), 1},
                             ScalarType::Float);
  transpose(data<float>(y), mutable_data<float>(copy), y.size(0), height * width, channels);
  return copy;
}

}  // namespace fastgan::cpu
