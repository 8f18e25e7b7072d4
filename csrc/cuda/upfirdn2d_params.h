// One upfirdn2d call in the caller's words, and in the words of the kernels. Host and device.
#pragma once

#include <algorithm>
#include <cstdint>

namespace fastgan::cuda::upfirdn2d {

// x is [batch, channels, height, width] with any strides, in elements; the result is dense, in the
// layout that `channels_last` names. Pairs are (x, y), padding is [x0, x1, y0, y1].
struct Call {
  int64_t batch, channels, height, width;
  int64_t strides[4];
  int64_t up[2], down[2], padding[4];
  int64_t filter_height, filter_width;  // equal when separable: the taps of both passes
  bool separable, flip_filter, channels_last;
  double gain;

  int64_t out_width() const {
    return (width * up[0] + padding[0] + padding[1] - filter_width + down[0]) / down[0];
  }
  int64_t out_height() const {
    return (height * up[1] + padding[2] + padding[3] - filter_height + down[1]) / down[1];
  }
  int64_t out_numel() const { return batch * channels * out_height() * out_width(); }
};

// Tap k of output o lies on upsampled position o * down - pad + k and meets input i when that is
// i * up. Coordinates of one axis are int, offsets into memory int64_t.
struct Axis {
  int in, out, up, down, pad, taps;
};

struct Params {
  Axis x, y;
  int64_t batch, channels;
  int64_t image, plane, row, column;  // strides of x
  // Tap (ky, kx) of the correlation is filter[origin + ky * filter_row + kx * filter_column]: a
  // convolution walks the filter from its end.
  int origin, filter_row, filter_column;
  bool channels_last;
  bool packed;  // whether rows of y may be written in packs
  bool wide;    // whether channels of x may be read in packs
  double gain;
};

// Positions in the padded, upsampled image and tap indices have to fit an int with room to add.
inline bool fits(const Call& call) {
  constexpr int64_t kMost = int64_t{1} << 29;
  const int64_t width = call.width * call.up[0], height = call.height * call.up[1];
  int64_t most = std::max(width, height);
  for (int64_t pad : call.padding) most = std::max(most, std::max(pad, -pad));
  most =
      std::max(most, std::max(call.out_width() * call.down[0], call.out_height() * call.down[1]));
  most = std::max(most, call.filter_height * call.filter_width);
  return most <= kMost && std::max({call.up[0], call.up[1], call.down[0], call.down[1]}) <= kMost;
}

inline Params params_of(const Call& call) {
  const auto axis = [&](int which, int64_t in, int64_t out, int64_t taps) {
    return Axis{static_cast<int>(in),
                static_cast<int>(out),
                static_cast<int>(call.up[which]),
                static_cast<int>(call.down[which]),
                static_cast<int>(call.padding[2 * which]),
                static_cast<int>(taps)};
  };
  Params p{};
  p.x = axis(0, call.width, call.out_width(), call.filter_width);
  p.y = axis(1, call.height, call.out_height(), call.filter_height);
  p.batch = call.batch;
  p.channels = call.channels;
  p.image = call.strides[0];
  p.plane = call.strides[1];
  p.row = call.strides[2];
  p.column = call.strides[3];
  const int width = p.x.taps, numel = call.separable ? width : width * p.y.taps;
  p.origin = call.flip_filter ? 0 : numel - 1;
  p.filter_column = call.flip_filter ? 1 : -1;
  p.filter_row = call.separable ? p.filter_column : width * p.filter_column;
  p.channels_last = call.channels_last;
  p.gain = call.gain;
  return p;
}

// The two passes of a separable filter, along x and then along y. Between them lies an image
// [batch, channels, height, out_width], dense and in the layout of the result.
inline Params pass_x(const Call& call) {
  Params p = params_of(call);
  p.y = {p.y.in, p.y.in, 1, 1, 0, 1};
  p.gain = 1;
  return p;
}

inline Params pass_y(const Call& call) {
  Params p = params_of(call);
  const int64_t height = p.y.in, width = p.x.out, channels = p.channels;
  p.x = {p.x.out, p.x.out, 1, 1, 0, 1};
  p.image = channels * height * width;
  p.plane = call.channels_last ? 1 : height * width;
  p.row = call.channels_last ? width * channels : width;
  p.column = call.channels_last ? channels : 1;
  return p;
}

}  // namespace fastgan::cuda::upfirdn2d
