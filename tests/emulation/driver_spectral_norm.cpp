// Runs the kernels of spectral_norm over weights in heap blocks of the exact size, alone and in a
// group, for the sanitizers. Values are compared in test_spectral_norm.py; here every result must
// only be written.
#include <cstdio>
#include <memory>

#include "cuda/spectral_norm_grad_kernel.cuh"
#include "cuda/spectral_norm_kernel.cuh"
#include "exact_buffer.h"

namespace {

using namespace fastgan::cuda;
using namespace fastgan::cuda::spectral_norm;

template <typename T>
class Weight {
 public:
  using A = fastgan::acc_t<T>;

  Weight(int64_t outer, int64_t rows, int64_t inner, bool shifted)
      : outer_(outer),
        rows_(rows),
        inner_(inner),
        cols_(outer * inner),
        weight_(rows * cols_, shifted, 0.3f),
        u_(rows, shifted, 0.1f),
        grad_(rows * cols_, shifted, 0.2f),
        grad_sigma_(1, false, 0.1f),
        normalized_(rows * cols_, shifted, NAN),
        u_new_(rows, shifted, NAN),
        v_(cols_, shifted, NAN),
        sigma_(1, false, NAN),
        result_(rows * cols_, shifted, NAN),
        right_(cols_, false, NAN),
        left_(rows, false, NAN),
        parts_(chunks_of<T>(rows * cols_), false, NAN) {}

  Layer<T> layer() {
    return {weight_.data(), u_.data(),    normalized_.data(),
            u_new_.data(),  v_.data(),    sigma_.data(),
            right_.data(),  left_.data(), outer_,
            rows_,          inner_,       {}};
  }
  GradLayer<T> grad_layer() {
    return {
        grad_.data(),   grad_sigma_.data(), weight_.data(), sigma_.data(), u_new_.data(), v_.data(),
        result_.data(), parts_.data(),      outer_,         rows_,         inner_,        {}};
  }
  int64_t missing() const {
    return normalized_.missing() + u_new_.missing() + v_.missing() + sigma_.missing() +
           result_.missing() + parts_.missing();
  }

 private:
  int64_t outer_, rows_, inner_, cols_;
  Buffer<T> weight_, u_, grad_, grad_sigma_, normalized_, u_new_, v_, sigma_, result_;
  Buffer<A> right_, left_;
  Buffer<double> parts_;
};

template <typename T>
int64_t run(bool shifted) {
  std::unique_ptr<Weight<T>> weights[] = {std::make_unique<Weight<T>>(1, 5, 16, shifted),
                                          std::make_unique<Weight<T>>(1, 9, 35, shifted),
                                          std::make_unique<Weight<T>>(3, 10, 7, shifted),
                                          std::make_unique<Weight<T>>(1, 1, 1, shifted),
                                          std::make_unique<Weight<T>>(1, 8, 264, shifted)};
  Layer<T> layers[std::size(weights)];
  GradLayer<T> grads[std::size(weights)];
  int64_t missing = 0;
  for (size_t i = 0; i < std::size(weights); ++i) {
    layers[i] = weights[i]->layer(), grads[i] = weights[i]->grad_layer();
  }
  const int64_t count = static_cast<int64_t>(std::size(weights));
  const FirstBlocks forward = number_blocks(layers, count), backward = number_blocks(grads, count);
  launch<T>(Many<Layer<T>>{layers, count}, forward, 1, 1e-12, nullptr);
  launch_grad<T>(Many<GradLayer<T>>{grads, count}, backward, nullptr);
  for (const auto& weight : weights) missing += weight->missing();

  Weight<T> alone(1, 9, 35, shifted);
  Layer<T> layer = alone.layer();
  GradLayer<T> grad = alone.grad_layer();
  launch<T>(One<Layer<T>>{layer}, number_blocks(&layer, 1), 2, 1e-12, nullptr);
  launch_grad<T>(One<GradLayer<T>>{grad}, number_blocks(&grad, 1), nullptr);
  return missing + alone.missing();
}

}  // namespace

int main() {
  const int64_t missing = run<float>(false) + run<float>(true) + run<__half>(false);
  std::printf("3 runs, %lld elements not written\n", static_cast<long long>(missing));
  return missing == 0 ? 0 : 1;
}
