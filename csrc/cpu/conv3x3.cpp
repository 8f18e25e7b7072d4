// Launchers of the 3x3 convolution with stride 1 and padding 1, of its transpose and of the
// gradient of its weight: checks, plans, threads, registration. float32; the kernels read and
// write channels last, images in another order through copies. Everything else is torch's.
#include "common/tensor.h"
#include "cpu/conv3x3_plan.h"
#include "cpu/isa.h"
#include "cpu/layout.h"
#include "cpu/result_pool.h"

namespace fastgan::cpu {
namespace {

using conv3x3::GradPlan;
using conv3x3::Kernels;
using conv3x3::kPanel;
using conv3x3::Plan;

// What a thread's tiles may take of the second-level cache, in floats; the weights and sums that
// pass by need room too.
constexpr int64_t kStripFloats = int64_t{256} << 10;
constexpr int64_t kMostStrip = 112;  // tiles; more save little
constexpr int64_t kLeastStrip = 14;  // tiles; fewer reload weights more often than they compute
constexpr int64_t kSumsFloats = int64_t{256} << 10;  // of a unit of the weight gradient
constexpr int64_t kGroupTiles = 256;                 // of tiles that are worth sums of their own
constexpr int64_t kMostGroups = 8;

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

const Kernels& kernels() {
  const Kernels* found = current_isa() == Isa::kAvx512 ? conv3x3::avx512_kernels()
                         : current_isa() == Isa::kAvx2 ? conv3x3::avx2_kernels()
                                                       : nullptr;
  return found != nullptr ? *found : *conv3x3::portable_kernels();
}

Plan make_plan(const Tensor& x, int64_t out, int lanes) {
  Plan plan{};
  plan.samples = x.size(0), plan.in = x.size(1), plan.height = x.size(2), plan.width = x.size(3);
  plan.out = out;
  plan.in_blocks = divide_up(plan.in, lanes), plan.out_vecs = divide_up(out, lanes);
  // Products per channel pair with tiles of 4 and of 2.
  const int64_t four = 36 * divide_up(plan.height, 4) * divide_up(plan.width, 4);
  const int64_t two = 16 * divide_up(plan.height, 2) * divide_up(plan.width, 2);
  plan.tile = four <= two ? 4 : 2;
  plan.tiles_y = divide_up(plan.height, plan.tile), plan.tiles_x = divide_up(plan.width, plan.tile);
  plan.tiles = plan.samples * plan.tiles_y * plan.tiles_x;
  return plan;
}

int64_t strip_of(const Plan& plan, int64_t floats_per_tile) {
  const int64_t fit = kStripFloats / floats_per_tile;
  return std::min({plan.tiles, kMostStrip, std::max(fit, kLeastStrip)});
}

// Strips as equal as they can be, and as many for each thread. The result is the same for any.
void split_strips(Plan& plan, int lanes) {
  const int64_t floats = plan.points() * (plan.in_blocks + kPanel) * lanes;
  const int64_t threads = torch::stable::get_num_threads();
  const int64_t strips = divide_up(plan.tiles, strip_of(plan, floats));
  plan.strip = divide_up(plan.tiles, divide_up(strips, threads) * threads);
}

// By size and never by threads, because the order of the sums follows.
void split_units(GradPlan& plan, int lanes) {
  const int64_t columns = plan.tile + 2;
  const int64_t sums = plan.points() * plan.in_blocks * plan.out_vecs * lanes * lanes;
  plan.slices = 1;
  while (plan.slices < columns && sums / plan.slices > kSumsFloats) {
    do ++plan.slices;
    while (columns % plan.slices != 0);
  }
  plan.groups = std::min(std::max<int64_t>(plan.tiles / kGroupTiles, 1), kMostGroups);
  const int64_t floats = plan.points() / plan.slices * (plan.in_blocks + plan.out_vecs) * lanes;
  plan.strip = std::min(strip_of(plan, floats), divide_up(plan.tiles, plan.groups));
}

// Large enough for the pool of results, so that its pages are mapped once.
Tensor workspace(int64_t floats) {
  return empty_result({std::max<int64_t>(floats, 1 << 18)}, {1}, ScalarType::Float);
}

void check_image(const char* op, const char* name, const Tensor& x) {
  STD_TORCH_CHECK(x.is_cpu() && x.scalar_type() == ScalarType::Float && x.dim() == 4, op, ": ",
                  name, " must be a float32 CPU tensor [N, C, H, W]");
}

Tensor conv3x3_cpu(const Tensor& x_in, const Tensor& weight_in, bool transposed) {
  check_image("conv3x3", "x", x_in);
  STD_TORCH_CHECK(weight_in.dim() == 4, "conv3x3: weight must have 4 dimensions, got ",
                  weight_in.dim());
  const int64_t out = weight_in.size(transposed ? 1 : 0);
  check_numel("conv3x3", "weight", weight_in, ScalarType::Float, out * x_in.size(1) * 9);
  STD_TORCH_CHECK(weight_in.size(2) == 3 && weight_in.size(3) == 3 &&
                      weight_in.size(transposed ? 0 : 1) == x_in.size(1),
                  "conv3x3: weight must be [C_out, C_in, 3, 3] with the channels of x");
  const Tensor y = channels_last_result(x_in.size(0), out, x_in.size(2), x_in.size(3));
  if (y.numel() == 0) return in_order_of(x_in, y);
  const Kernels& kernel = kernels();
  const Tensor x = as_channels_last(x_in), weight = torch::stable::contiguous(weight_in);
  Plan plan = make_plan(x, out, kernel.lanes);
  split_strips(plan, kernel.lanes);

  const Tensor packed = workspace(kernel.packed(plan));
  const float *x_data = data<float>(x), *weight_data = data<float>(weight);
  float *packed_data = mutable_data<float>(packed), *y_data = mutable_data<float>(y);
  torch::stable::parallel_for(0, plan.panels() * plan.in_blocks, 1,
                              [&](int64_t begin, int64_t end) {
                                kernel.pack(plan, weight_data, transposed, packed_data, begin, end);
                              });
  torch::stable::parallel_for(
      0, divide_up(plan.tiles, plan.strip), 1, [&](int64_t begin, int64_t end) {
        const Tensor scratch = workspace(kernel.scratch(plan));
        kernel.strips(plan, x_data, packed_data, y_data, mutable_data<float>(scratch), begin, end);
      });
  return in_order_of(x_in, y);
}

Tensor conv3x3_weight_grad_cpu(const Tensor& x_in, const Tensor& grad_y_in) {
  check_image("conv3x3_weight_grad", "x", x_in);
  check_image("conv3x3_weight_grad", "grad_y", grad_y_in);
  for (const int d : {0, 2, 3}) {
    STD_TORCH_CHECK(x_in.size(d) == grad_y_in.size(d),
                    "conv3x3_weight_grad: x and grad_y must differ in channels alone");
  }
  const int64_t in = x_in.size(1), out = grad_y_in.size(1);
  if (x_in.numel() == 0 || out == 0) return torch::stable::new_zeros(x_in, {out, in, 3, 3});
  const Tensor grad_weight = empty_result({out, in, 3, 3}, {in * 9, 9, 3, 1}, ScalarType::Float);
  const Kernels& kernel = kernels();
  const Tensor x = as_channels_last(x_in), grad_y = as_channels_last(grad_y_in);
  GradPlan plan{make_plan(x, out, kernel.lanes), 1, 1};
  split_units(plan, kernel.lanes);

  const Tensor sums = workspace(kernel.sums(plan));
  const float *x_data = data<float>(x), *grad_data = data<float>(grad_y);
  float *sums_data = mutable_data<float>(sums), *to = mutable_data<float>(grad_weight);
  torch::stable::parallel_for(0, plan.groups * plan.slices, 1, [&](int64_t begin, int64_t end) {
    const Tensor scratch = workspace(kernel.grad_scratch(plan));
    kernel.grad_units(plan, x_data, grad_data, sums_data, mutable_data<float>(scratch), begin, end);
  });
  torch::stable::parallel_for(
      0, plan.panels() * plan.in_blocks, 1,
      [&](int64_t begin, int64_t end) { kernel.grad_finish(plan, sums_data, to, begin, end); });
  return grad_weight;
}

}  // namespace
}  // namespace fastgan::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(fastgan_cpp, m) {
  m.def("conv3x3(Tensor x, Tensor weight, bool transposed) -> Tensor");
  m.def("conv3x3_weight_grad(Tensor x, Tensor grad_y) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(fastgan_cpp, CPU, m) {
  m.impl("conv3x3", TORCH_BOX(&fastgan::cpu::conv3x3_cpu));
  m.impl("conv3x3_weight_grad", TORCH_BOX(&fastgan::cpu::conv3x3_weight_grad_cpu));
}
