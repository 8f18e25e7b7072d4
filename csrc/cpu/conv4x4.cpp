// Launchers of the 4x4 convolution with stride 2 and padding 1, of its transpose and of the
// gradient of its weight: checks, plans, threads, registration. float32; the kernels read and
// write channels last, images in another order through copies. Everything else is torch's.
#include "common/tensor.h"
#include "cpu/conv4x4_plan.h"
#include "cpu/isa.h"
#include "cpu/layout.h"
#include "cpu/result_pool.h"

namespace fastgan::cpu {
namespace {

using conv4x4::Kernels;
using conv4x4::kPhases;
using conv4x4::panels;
using conv4x4::Plan;

constexpr int64_t kChunkFloats = int64_t{2} << 20;  // of transformed pixels at a time
constexpr int64_t kGroup = 66;     // tiles of a unit at most: products stay in the cache
constexpr int64_t kAddressed = 8;  // tiles of a unit of the way to points

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

const Kernels& kernels_of(int tile) {
  const Kernels* found = current_isa() == Isa::kAvx512 ? conv4x4::avx512_kernels()
                         : current_isa() == Isa::kAvx2 ? conv4x4::avx2_kernels()
                                                       : nullptr;
  return (found != nullptr ? found : conv4x4::portable_kernels())[tile == 4];
}

// `blocks_at_points`: vectors of transformed channels that a tile has, of `plan`.
template <typename Blocks>
Plan make_plan(const Tensor& high, int64_t height, int64_t width, int64_t low_channels,
               int64_t tiled_height, int64_t tiled_width, const Blocks& blocks_at_points) {
  Plan plan{};
  plan.lanes = kernels_of(4).lanes;
  plan.samples = high.size(0), plan.high = high.size(1);
  plan.height = high.size(2), plan.width = high.size(3);
  plan.low = low_channels, plan.low_height = height, plan.low_width = width;
  plan.high_blocks = divide_up(plan.high, plan.lanes);
  plan.low_blocks = divide_up(plan.low, plan.lanes);
  const int64_t four = 25 * divide_up(tiled_height, 4) * divide_up(tiled_width, 4);
  const int64_t two = 9 * divide_up(tiled_height, 2) * divide_up(tiled_width, 2);
  plan.tile = four <= two ? 4 : 2;
  plan.tiles_y = divide_up(tiled_height, plan.tile);
  plan.tiles_x = divide_up(tiled_width, plan.tile);
  plan.tiles = plan.samples * plan.tiles_y * plan.tiles_x;
  const int64_t fit = kChunkFloats / (plan.points() * plan.lanes * blocks_at_points(plan));
  plan.chunk = std::min(plan.tiles, std::max(fit, kGroup));
  plan.chunk = divide_up(plan.tiles, divide_up(plan.tiles, plan.chunk));
  plan.group = divide_up(plan.chunk, divide_up(plan.chunk, kGroup));
  return plan;
}

// Four vectors of output channels for a unit, or two where threads would be left without units. The
// result is the same for both.
void split_panels(Plan& plan, int64_t blocks) {
  plan.vectors = static_cast<int>(std::min<int64_t>(blocks, 4));
  const int64_t threads = torch::stable::get_num_threads();
  if (plan.vectors > 2 && panels(blocks, plan.vectors) * plan.groups() < threads) plan.vectors = 2;
}

// Large enough for the pool of results, so that its pages are mapped once.
Tensor workspace(int64_t floats) {
  return empty_result({std::max<int64_t>(floats, 1 << 18)}, {1}, ScalarType::Float);
}

void check_image(const char* op, const char* name, const Tensor& x) {
  STD_TORCH_CHECK(x.is_cpu() && x.scalar_type() == ScalarType::Float && x.dim() == 4, op, ": ",
                  name, " must be a float32 CPU tensor [N, C, H, W]");
}

void check_weight(const char* op, const Tensor& weight, int dim, int64_t channels) {
  STD_TORCH_CHECK(weight.is_cpu() && weight.scalar_type() == ScalarType::Float &&
                      weight.dim() == 4 && weight.size(2) == 4 && weight.size(3) == 4 &&
                      weight.size(dim) == channels,
                  op, ": weight must be a float32 CPU tensor [C_low, C_high, 4, 4] with ", channels,
                  " channels in dimension ", dim);
}

// body(first, count) for all chunks of the tiles of a plan.
template <typename Body>
void for_chunks(const Plan& plan, const Body& body) {
  for (int64_t first = 0; first < plan.tiles; first += plan.chunk) {
    body(first, std::min(plan.chunk, plan.tiles - first));
  }
}

// body(begin, end) on the threads: pieces of `count` tiles.
template <typename Body>
void for_tiles(int64_t count, const Body& body) {
  torch::stable::parallel_for(0, divide_up(count, kAddressed), 1, [&](int64_t begin, int64_t end) {
    body(begin * kAddressed, std::min(end * kAddressed, count));
  });
}

int64_t scratch_floats(const Plan& plan) {
  return plan.points() * (plan.weight_plane() + plan.product_plane());
}

Tensor conv4x4_cpu(const Tensor& x_in, const Tensor& weight_in) {
  check_image("conv4x4", "x", x_in);
  check_weight("conv4x4", weight_in, 1, x_in.size(1));
  STD_TORCH_CHECK(x_in.size(2) >= 2 && x_in.size(3) >= 2, "conv4x4: x must be at least 2 x 2");
  const int64_t height = x_in.size(2) / 2, width = x_in.size(3) / 2;
  const Tensor y = channels_last_result(x_in.size(0), weight_in.size(0), height, width);
  if (y.numel() == 0) return in_order_of(x_in, y);
  if (x_in.size(1) == 0) return in_order_of(x_in, torch::stable::zero_(const_cast<Tensor&>(y)));
  const Tensor x = as_channels_last(x_in), weight = torch::stable::contiguous(weight_in);
  Plan plan = make_plan(x, height, width, weight.size(0), height, width,
                        [](const Plan& p) { return p.high_blocks * kPhases; });
  split_panels(plan, plan.low_blocks);
  const Kernels& kernel = kernels_of(plan.tile);
  const Tensor points = workspace(plan.pixels(plan.high_blocks * kPhases));
  const float *from = data<float>(x), *w = data<float>(weight);
  float *v = mutable_data<float>(points), *to = mutable_data<float>(y);
  for_chunks(plan, [&](int64_t first, int64_t count) {
    for_tiles(count, [&](int64_t begin, int64_t end) {
      kernel.high_points(plan, from, v, first, begin, end);
    });
    const int64_t units = panels(plan.low_blocks, plan.vectors) * divide_up(count, plan.group);
    torch::stable::parallel_for(0, units, 1, [&](int64_t begin, int64_t end) {
      const Tensor scratch = workspace(scratch_floats(plan));
      kernel.down_units(plan, v, w, to, mutable_data<float>(scratch), first, count, begin, end);
    });
  });
  return in_order_of(x_in, y);
}

Tensor conv4x4_transposed_cpu(const Tensor& y_in, const Tensor& weight_in, int64_t height,
                              int64_t width) {
  check_image("conv4x4_transposed", "y", y_in);
  check_weight("conv4x4_transposed", weight_in, 0, y_in.size(1));
  STD_TORCH_CHECK(
      height / 2 == y_in.size(2) && width / 2 == y_in.size(3) && height >= 2 && width >= 2,
      "conv4x4_transposed: expected twice the size of y, or one more, got ", height, " x ", width);
  const Tensor x = channels_last_result(y_in.size(0), weight_in.size(1), height, width);
  if (x.numel() == 0) return in_order_of(y_in, x);
  if (y_in.size(1) == 0) return in_order_of(y_in, torch::stable::zero_(const_cast<Tensor&>(x)));
  const Tensor y = as_channels_last(y_in), weight = torch::stable::contiguous(weight_in);
  Plan plan = make_plan(x, y.size(2), y.size(3), y.size(1), divide_up(height, 2),
                        divide_up(width, 2), [](const Plan& p) { return p.low_blocks; });
  split_panels(plan, plan.high_blocks);
  const Kernels& kernel = kernels_of(plan.tile);
  const Tensor points = workspace(plan.pixels(plan.low_blocks));
  const float *from = data<float>(y), *w = data<float>(weight);
  float *v = mutable_data<float>(points), *to = mutable_data<float>(x);
  for_chunks(plan, [&](int64_t first, int64_t count) {
    const int64_t units = panels(plan.high_blocks, plan.vectors) * divide_up(count, plan.group);
    for (int phase = 0; phase < kPhases; ++phase) {
      for_tiles(count, [&](int64_t begin, int64_t end) {
        kernel.low_points(plan, phase, from, v, first, begin, end);
      });
      torch::stable::parallel_for(0, units, 1, [&](int64_t begin, int64_t end) {
        const Tensor scratch = workspace(scratch_floats(plan));
        kernel.up_units(plan, phase, v, w, to, mutable_data<float>(scratch), first, count, begin,
                        end);
      });
    }
  });
  return in_order_of(y_in, x);
}

Tensor conv4x4_weight_grad_cpu(const Tensor& x_in, const Tensor& y_in) {
  check_image("conv4x4_weight_grad", "x", x_in);
  check_image("conv4x4_weight_grad", "y", y_in);
  STD_TORCH_CHECK(x_in.size(0) == y_in.size(0) && x_in.size(2) / 2 == y_in.size(2) &&
                      x_in.size(3) / 2 == y_in.size(3),
                  "conv4x4_weight_grad: x must have the samples and twice the size of y");
  const int64_t high = x_in.size(1), low = y_in.size(1);
  if (x_in.numel() == 0 || y_in.numel() == 0) {
    return torch::stable::new_zeros(x_in, {low, high, 4, 4});
  }
  const Tensor grad = empty_result({low, high, 4, 4}, {high * 16, 16, 4, 1}, ScalarType::Float);
  const Tensor x = as_channels_last(x_in), y = as_channels_last(y_in);
  Plan plan = make_plan(x, y.size(2), y.size(3), low, y.size(2), y.size(3),
                        [](const Plan& p) { return p.high_blocks * kPhases + p.low_blocks; });
  plan.vectors = static_cast<int>(std::min<int64_t>(plan.low_blocks, 4));
  const Kernels& kernel = kernels_of(plan.tile);
  const int64_t units = plan.high_blocks * panels(plan.low_blocks, plan.vectors);
  const int64_t floats = plan.points() * plan.sum_plane();
  const bool once = plan.chunk == plan.tiles;  // no sums to be kept from chunk to chunk
  const int64_t high_floats = plan.pixels(plan.high_blocks * kPhases);
  const Tensor points = workspace(high_floats + plan.pixels(plan.low_blocks));
  const Tensor kept = workspace(once ? 0 : units * floats);
  const float *x_data = data<float>(x), *y_data = data<float>(y);
  float *v = mutable_data<float>(points), *d = v + high_floats, *sums = mutable_data<float>(kept);
  float* const to = mutable_data<float>(grad);
  for_chunks(plan, [&](int64_t first, int64_t count) {
    for_tiles(count, [&](int64_t begin, int64_t end) {
      kernel.high_points(plan, x_data, v, first, begin, end);
      kernel.grad_points(plan, y_data, d, first, begin, end);
    });
    torch::stable::parallel_for(0, units, 1, [&](int64_t begin, int64_t end) {
      const Tensor scratch = workspace(once ? floats : 0);
      for (int64_t unit = begin; unit < end; ++unit) {
        float* const of = once ? mutable_data<float>(scratch) : sums + unit * floats;
        kernel.grad_unit(plan, v, d, of, unit, count, first > 0);
        if (first + count == plan.tiles) kernel.grad_finish(plan, of, to, unit);
      }
    });
  });
  return grad;
}

}  // namespace
}  // namespace fastgan::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(fastgan_cpp, m) {
  m.def("conv4x4(Tensor x, Tensor weight) -> Tensor");
  m.def("conv4x4_transposed(Tensor y, Tensor weight, int height, int width) -> Tensor");
  m.def("conv4x4_weight_grad(Tensor x, Tensor y) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(fastgan_cpp, CPU, m) {
  m.impl("conv4x4", TORCH_BOX(&fastgan::cpu::conv4x4_cpu));
  m.impl("conv4x4_transposed", TORCH_BOX(&fastgan::cpu::conv4x4_transposed_cpu));
  m.impl("conv4x4_weight_grad", TORCH_BOX(&fastgan::cpu::conv4x4_weight_grad_cpu));
}
