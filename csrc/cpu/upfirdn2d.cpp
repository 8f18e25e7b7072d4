// Launcher of upfirdn2d on CPU: checks, layouts, threads, registration.
#include <array>

#include "common/tensor.h"
#include "cpu/result_pool.h"
#include "cpu/upfirdn2d_blocks.h"
#include "cpu/upfirdn2d_plan.h"

namespace fastgan::cpu {
namespace {

using upfirdn2d::AxisCall;
using upfirdn2d::Blocks;
using upfirdn2d::Params;
using upfirdn2d::Plan;
using upfirdn2d::Taps;
using upfirdn2d::WorkspaceOwner;

// Work, in output elements, that is worth a thread.
constexpr int64_t kGrain = 16384;

// Relative error to which a 2-D filter must be an outer product to be run as two 1-D ones: float32
// taps are rounded a few times; in float64 only an exact product does.
template <typename Acc>
constexpr double kSeparable = std::is_same_v<Acc, double> ? 1e-15 : 1e-6;

Taps read_taps(const Tensor& filter, bool flip_filter, double tolerance) {
  const Tensor dense = torch::stable::contiguous(filter);
  const float* from = data<float>(dense);
  std::vector<double> values(from, from + dense.numel());
  // The filter of a convolution is the correlation filter reversed along each axis.
  if (!flip_filter) std::reverse(values.begin(), values.end());
  if (filter.dim() == 1) return {filter.size(0), filter.size(0), true, {}, values, values};
  Taps taps{filter.size(0), filter.size(1), false, values, {}, {}};
  upfirdn2d::separate(taps, tolerance);
  return taps;
}

Tensor empty_image(const Tensor& x, int64_t height, int64_t width, bool channels_last) {
  const std::vector<int64_t> sizes{x.size(0), x.size(1), height, width};
  std::vector<int64_t> strides(4, 1);
  int64_t step = 1;
  for (const int d : channels_last ? std::array{1, 3, 2, 0} : std::array{3, 2, 1, 0}) {
    strides[d] = step;
    step *= std::max<int64_t>(sizes[d], 1);  // as torch has it for empty tensors
  }
  return empty_result(sizes, strides, x.scalar_type());
}

template <typename T>
void launch(const Tensor& x, const Tensor& y, const AxisCall& across, const AxisCall& along,
            const Taps& taps, double gain, bool channels_last) {
  using A = acc_t<T>;
  const Plan<A> plan(across, along, taps, gain, channels_last ? x.size(1) : 1);
  Params<A> p = plan.params();
  p.planes = channels_last ? 1 : x.size(1);
  p.x_image = x.stride(0);
  p.x_plane = x.stride(1);
  p.x_row = x.stride(2);
  p.streams = std::is_same_v<T, A> && p.inner == 1 && p.x.period > 1 && p.x.out % p.x.period == 0 &&
              y.numel() * static_cast<int64_t>(sizeof(T)) > stream_bytes();

  const T* from = data<T>(x);
  T* to = mutable_data<T>(y);
  const int64_t row = p.x.out * p.inner;
  const int64_t blocks = (p.y.out + p.block - 1) / p.block;  // of one plane
  const int64_t grain = std::max<int64_t>(kGrain / (row * p.block), 1);
  torch::stable::parallel_for(
      0, x.size(0) * p.planes * blocks, grain, [&](int64_t begin, int64_t end) {
        const WorkspaceOwner<T> workspace(plan, p);
        const Blocks<T> compute(p, workspace.view());
        for (int64_t unit = begin; unit < end; ++unit) {
          const int64_t plane = unit / blocks, top = unit % blocks * p.block;
          const T* image = from + plane / p.planes * p.x_image + plane % p.planes * p.x_plane;
          compute.compute(image, to + (plane * p.y.out + top) * row, top,
                          std::min(p.block, p.y.out - top));
        }
        if (p.streams) finish_streaming();
      });
}

Tensor upfirdn2d_cpu(const Tensor& input, const Tensor& filter, std::vector<int64_t> up,
                     std::vector<int64_t> down, std::vector<int64_t> padding, bool flip_filter,
                     double gain) {
  STD_TORCH_CHECK(input.dim() == 4, "upfirdn2d: x must have 4 dimensions, got ", input.dim());
  STD_TORCH_CHECK(filter.scalar_type() == ScalarType::Float && filter.numel() > 0 &&
                      (filter.dim() == 1 || filter.dim() == 2),
                  "upfirdn2d: filter must hold float32 taps in 1 or 2 dimensions");
  STD_TORCH_CHECK(filter.is_cpu(), "upfirdn2d: filter must be a CPU tensor like x");
  STD_TORCH_CHECK(up.size() == 2 && down.size() == 2 && padding.size() == 4,
                  "upfirdn2d: up and down must be [x, y], padding [x0, x1, y0, y1]");
  STD_TORCH_CHECK(std::min({up[0], up[1], down[0], down[1]}) >= 1,
                  "upfirdn2d: up and down must be at least 1");

  const bool channels_last = is_channels_last(input);
  const bool rows = channels_last || input.stride(3) == 1 || input.size(3) <= 1;
  const Tensor x = rows ? input : torch::stable::contiguous(input);
  const int64_t taps_y = filter.size(0), taps_x = filter.size(filter.dim() - 1);
  const AxisCall across{x.size(3), up[0], down[0], padding[0], padding[1], taps_x};
  const AxisCall along{x.size(2), up[1], down[1], padding[2], padding[3], taps_y};
  STD_TORCH_CHECK(across.out() >= 0 && along.out() >= 0,
                  "upfirdn2d: the filter is larger than the padded image");
  const Tensor y = empty_image(x, along.out(), across.out(), channels_last);
  if (y.numel() == 0) return y;

  dispatch_dtype("upfirdn2d", x.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    const Taps taps = read_taps(filter, flip_filter, kSeparable<acc_t<T>>);
    launch<T>(x, y, across, along, taps, gain, channels_last);
  });
  return y;
}

}  // namespace
}  // namespace fastgan::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(fastgan_cpp, m) {
  m.def(
      "upfirdn2d(Tensor x, Tensor filter, int[] up, int[] down, int[] padding, bool flip_filter, "
      "float gain) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(fastgan_cpp, CPU, m) {
  m.impl("upfirdn2d", TORCH_BOX(&fastgan::cpu::upfirdn2d_cpu));
}
