// The table of conv2d_resample's kernels for the instruction set of the stamp. Included once per
// stamped file, in the region.
#include "cpu/conv2d_resample_grad.h"
#include "cpu/conv2d_resample_up.h"

namespace fastgan::cpu::FASTGAN_STAMPED {

// Calls `name<A>` for the tile size of the call.
#define FASTGAN_FOR_TILE(expression) \
  switch (call.tile) {               \
    case 4: {                        \
      using A = Up4;                 \
      return expression;             \
    }                                \
    case 2: {                        \
      using A = Up2;                 \
      return expression;             \
    }                                \
    default: {                       \
      using A = Up1;                 \
      return expression;             \
    }                                \
  }

static int64_t packed_size_of(const ResampleCall& call) { FASTGAN_FOR_TILE(packed_size<A>(call)) }
static int64_t pack_units_of(const ResampleCall& call, bool up) {
  FASTGAN_FOR_TILE(pack_units<A>(call, up))
}
static void pack_of(const ResampleCall& call, bool up, const ResampleWeight& weight, float* packed,
                    int64_t begin, int64_t end) {
  FASTGAN_FOR_TILE(pack<A>(call, up, weight, packed, begin, end))
}
static int64_t up_scratch_of(const ResampleCall& call) { FASTGAN_FOR_TILE(Up<A>(call).scratch()) }
static void up_of(const ResampleCall& call, const float* low, const float* packed, float* high,
                  int64_t begin, int64_t end, float* scratch) {
  FASTGAN_FOR_TILE(Up<A>(call).run(low, packed, high, begin, end, scratch))
}
static int64_t down_scratch_of(const ResampleCall& call) {
  FASTGAN_FOR_TILE(Down<A>(call).scratch())
}
static void down_of(const ResampleCall& call, const float* high, const float* packed, float* low,
                    int64_t begin, int64_t end, float* scratch) {
  FASTGAN_FOR_TILE(Down<A>(call).run(high, packed, low, begin, end, scratch))
}
static int64_t points_size_of(const ResampleCall& call) {
  FASTGAN_FOR_TILE(WeightGrad<A>(call).size())
}
static int64_t points_units_of(const ResampleCall& call) {
  FASTGAN_FOR_TILE(WeightGrad<A>(call).units())
}
static int64_t points_scratch_of(const ResampleCall& call) {
  FASTGAN_FOR_TILE(WeightGrad<A>(call).scratch())
}
static void points_of(const ResampleCall& call, const float* low, const float* high, float* points,
                      int64_t begin, int64_t end, float* scratch) {
  FASTGAN_FOR_TILE(WeightGrad<A>(call).run(low, high, points, begin, end, scratch))
}
static void weight_grad_of(const ResampleCall& call, const float* points,
                           const ResampleWeight& weight, int64_t begin, int64_t end) {
  FASTGAN_FOR_TILE(WeightGrad<A>(call).finish(points, weight, begin, end))
}

static const ResampleKernels kResampleKernels = {
    &packed_size_of,  &pack_units_of,     &pack_of,   &up_scratch_of,
    &up_of,           &down_scratch_of,   &down_of,   &points_size_of,
    &points_units_of, &points_scratch_of, &points_of, &weight_grad_of,
};

}  // namespace fastgan::cpu::FASTGAN_STAMPED
