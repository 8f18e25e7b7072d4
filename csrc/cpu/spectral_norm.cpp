// Launchers of spectral_norm on the CPU: passes over the weight and threads. The loops are in
// spectral_norm_kernel.h, the tiles in spectral_norm_tiling.h.
//
// Determinism: the weight is cut into tiles by its shape alone. Each tile is summed by one thread
// in a fixed order, and partial sums of tiles are added in tile order, so the result has the same
// bits for any number of threads.
#include <cmath>

#include "common/tensor.h"
#include "cpu/result_pool.h"
#include "cpu/spectral_norm_kernel.h"
#include "cpu/spectral_norm_tiling.h"

namespace fastgan::cpu::spectral_norm {
namespace {

constexpr int64_t kDotElements = 16384;  // block of a dot product

// `weight` if its elements fill memory without gaps, else a copy that does.
Tensor dense(const Tensor& weight) {
  if (is_dense(weight)) return weight;
  Tensor copy = result_like(weight);
  torch::stable::copy_(copy, weight);
  return copy;
}

// Adds `count` partial vectors of `length`, in order.
template <typename A>
std::vector<A> add_up(const std::vector<A>& parts, int64_t count, int64_t length) {
  std::vector<A> total(parts.begin(), parts.begin() + length);
  // An eighth of the elements, as this adds numbers from the cache to numbers in the cache.
  for_tiles(length, length * count / 8, [&](int64_t begin, int64_t end) {
    for (int64_t b = 1; b < count; ++b) {
      const A* part = parts.data() + b * length;
      for (int64_t j = begin; j < end; ++j) total[j] += part[j];
    }
  });
  return total;
}

// Each element `count` times in a row, as the interleaved kernels want u.
template <typename A>
std::vector<A> repeat_each(const std::vector<A>& values, int64_t count) {
  std::vector<A> out(values.size() * count);
  for (size_t j = 0; j < out.size(); ++j) out[j] = values[j / count];
  return out;
}

// W^T u in memory order of the columns.
template <typename T>
std::vector<acc_t<T>> transposed_product(const T* w, const std::vector<acc_t<T>>& u,
                                         const Tiling& cut) {
  using A = acc_t<T>;
  const Matrix& m = cut.matrix;
  if (cut.interleaved) {
    const std::vector<A> repeated = repeat_each(u, m.inner);
    std::vector<A> out(m.cols());
    for_tiles(cut.tiles(), cut.elements(), [&](int64_t begin, int64_t end) {
      std::vector<A> work(cut.period);
      for (int64_t t = begin; t < end; ++t) {
        const Tiling::Tile tile = cut.tile(t);
        run<InterleavedTransposedProduct<T>>(w + tile.first * m.size(), repeated.data(),
                                             out.data() + tile.first * m.inner, work.data(),
                                             tile.last - tile.first, m.size(), m.inner, cut.period);
      }
    });
    return out;
  }
  std::vector<A> parts(cut.blocks * m.cols());
  for_tiles(cut.tiles(), cut.elements(), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const Tiling::Tile tile = cut.tile(t);
      run<TransposedProduct<T>>(w + tile.first * m.inner + tile.left, u.data() + tile.first,
                                parts.data() + tile.index * m.cols() + tile.left,
                                tile.last - tile.first, tile.right - tile.left, m.inner);
    }
  });
  return add_up(parts, cut.blocks, m.cols());
}

// W v, [rows]. Tiles in reverse: the last ones of the pass before are still in the cache.
template <typename T>
std::vector<acc_t<T>> product(const T* w, const std::vector<acc_t<T>>& v, const Tiling& cut) {
  using A = acc_t<T>;
  const Matrix& m = cut.matrix;
  if (!cut.interleaved) {
    std::vector<A> parts(cut.panels * m.rows);
    for_tiles(cut.tiles(), cut.elements(), [&](int64_t begin, int64_t end) {
      for (int64_t t = end - 1; t >= begin; --t) {
        const Tiling::Tile tile = cut.tile(t);
        run<Product<T>>(w + tile.first * m.inner + tile.left, v.data() + tile.left,
                        parts.data() + (t % cut.panels) * m.rows + tile.first,
                        tile.last - tile.first, tile.right - tile.left, m.inner);
      }
    });
    return add_up(parts, cut.panels, m.rows);
  }
  std::vector<A> parts(cut.blocks * m.size());
  for_tiles(cut.tiles(), cut.elements(), [&](int64_t begin, int64_t end) {
    std::vector<A> work(2 * cut.period);
    for (int64_t t = end - 1; t >= begin; --t) {
      const Tiling::Tile tile = cut.tile(t);
      run<InterleavedProduct<T>>(w + tile.first * m.size(), v.data() + tile.first * m.inner,
                                 parts.data() + t * m.size(), work.data(), tile.last - tile.first,
                                 m.size(), m.inner, cut.period);
    }
  });
  const std::vector<A> sums = add_up(parts, cut.blocks, m.size());
  std::vector<A> out(m.rows);
  for (int64_t j = 0; j < m.size(); ++j) out[j / m.inner] += sums[j];
  return out;
}

// Divides x by max(|x|, eps) and returns its dot product with what it becomes.
template <typename A>
double normalize(std::vector<A>& x, double eps) {
  double squared = 0;
  run<SquaredNorm<A>>(static_cast<const A*>(x.data()), static_cast<int64_t>(x.size()), &squared);
  const double norm = std::sqrt(squared);
  const double divisor = norm < eps ? eps : norm;  // NaN stays NaN
  for (A& value : x) value = static_cast<A>(value / divisor);
  return squared / divisor;
}

template <typename T>
void divide(const T* w, T* out, acc_t<T> sigma, const Tiling& cut) {
  const Matrix& m = cut.matrix;
  for_tiles(cut.tiles(), cut.elements(), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const Tiling::Tile tile = cut.tile(t);
      const int64_t start =
          tile.first * (cut.interleaved ? m.size() : m.inner) + (cut.interleaved ? 0 : tile.left);
      const int64_t cols = cut.interleaved ? m.size() : tile.right - tile.left;
      run<Divide<T>>(w + start, out + start, tile.last - tile.first, cols,
                     cut.interleaved ? m.size() : m.inner, sigma);
    }
  });
}

// A vector of the storage type in the type that kernels compute in; `positions` scatters it.
template <typename T>
std::vector<acc_t<T>> load_vector(const Tensor& vector,
                                  const std::vector<int64_t>& positions = {}) {
  std::vector<acc_t<T>> out(vector.numel());
  for (size_t j = 0; j < out.size(); ++j) {
    out[positions.empty() ? j : positions[j]] = load(data<T>(vector)[j]);
  }
  return out;
}

template <typename T>
void store_vector(const std::vector<acc_t<T>>& values, const Tensor& out,
                  const std::vector<int64_t>& positions = {}) {
  for (size_t j = 0; j < values.size(); ++j) {
    mutable_data<T>(out)[j] = store<T>(values[positions.empty() ? j : positions[j]]);
  }
}

struct Outputs {
  Tensor normalized, sigma, u, v;
};

template <typename T>
void forward(const Tensor& weight, const Tensor& u_in, int64_t n_power_iterations, double eps,
             int64_t dim, const Outputs& out) {
  using A = acc_t<T>;
  const T* w = data<T>(weight);
  const Tiling cut(matrix_of(weight, dim));

  std::vector<A> u = load_vector<T>(u_in);
  std::vector<A> v = transposed_product(w, u, cut);
  double sigma = normalize(v, eps);  // u^T W v is (W^T u) . v: no second pass over W
  for (int64_t i = 0; i < n_power_iterations; ++i) {
    if (i > 0) {
      v = transposed_product(w, u, cut);
      normalize(v, eps);
    }
    u = product(w, v, cut);
    sigma = normalize(u, eps);  // u^T W v is u . (W v)
  }

  store_vector<T>(u, out.u);
  store_vector<T>(v, out.v, column_positions(weight, dim, cut.matrix));
  *mutable_data<T>(out.sigma) = store<T>(static_cast<A>(sigma));
  divide(w, mutable_data<T>(out.normalized), static_cast<A>(sigma), cut);
}

template <typename T>
double dot(const T* a, const T* b, int64_t size) {
  const int64_t blocks = ceil_div(size, kDotElements);
  std::vector<double> parts(blocks);
  for_tiles(blocks, size, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t start = i * kDotElements;
      run<Dot<T>>(a + start, b + start, std::min(kDotElements, size - start), &parts[i]);
    }
  });
  double total = 0;
  for (const double part : parts) total += part;
  return total;
}

// grad / sigma + (grad_sigma - <grad, W> / sigma^2) u v^T
template <typename T>
void backward(const Tensor& grad, const Tensor& grad_sigma, const Tensor& weight,
              const Tensor& sigma_in, const Tensor& u_in, const Tensor& v_in, int64_t dim,
              const Tensor& out) {
  using A = acc_t<T>;
  const Tiling cut(matrix_of(weight, dim));
  const Matrix& m = cut.matrix;
  const T* g = data<T>(grad);
  T* result = mutable_data<T>(out);
  const A sigma = load(*data<T>(sigma_in));
  const double along = dot(g, data<T>(weight), weight.numel());
  const double square = static_cast<double>(sigma) * static_cast<double>(sigma);
  const A factor = static_cast<A>(load(*data<T>(grad_sigma)) - along / square);

  std::vector<A> u = load_vector<T>(u_in);
  if (cut.interleaved) u = repeat_each(u, m.inner);
  const std::vector<A> v = load_vector<T>(v_in, column_positions(weight, dim, m));
  for_tiles(cut.tiles(), cut.elements(), [&](int64_t begin, int64_t end) {
    std::vector<A> work(cut.interleaved ? cut.period : 0);
    for (int64_t t = end - 1; t >= begin; --t) {  // backwards: these are still in the cache
      const Tiling::Tile tile = cut.tile(t);
      if (cut.interleaved) {
        const int64_t start = tile.first * m.size();
        run<InterleavedGrad<T>>(g + start, u.data(), v.data() + tile.first * m.inner,
                                result + start, work.data(), tile.last - tile.first, m.size(),
                                m.inner, cut.period, sigma, factor);
        continue;
      }
      const int64_t start = tile.first * m.inner + tile.left;
      run<GradTile<T>>(g + start, u.data() + tile.first, v.data() + tile.left, result + start,
                       tile.last - tile.first, tile.right - tile.left, m.inner, sigma, factor);
    }
  });
}

void check(const Tensor& weight, const Tensor& u, int64_t dim) {
  STD_TORCH_CHECK(weight.dim() > 0 && dim >= 0 && dim < weight.dim(), "spectral_norm: dim ", dim,
                  " is out of range for a weight of ", weight.dim(), " dimensions");
  STD_TORCH_CHECK(u.dim() == 1 && u.size(0) == weight.size(dim), "spectral_norm: u must have ",
                  weight.size(dim), " entries");
  STD_TORCH_CHECK(u.scalar_type() == weight.scalar_type(),
                  "spectral_norm: u must have the dtype of weight");
}

void check_like(const char* name, const Tensor& tensor, int64_t numel, const Tensor& weight) {
  STD_TORCH_CHECK(tensor.numel() == numel && tensor.scalar_type() == weight.scalar_type(),
                  "spectral_norm_grad: ", name, " must have ", numel,
                  " entries in the dtype of weight");
}

std::tuple<Tensor, Tensor, Tensor, Tensor> normalize_weight(const Tensor& weight, const Tensor& u,
                                                            int64_t n_power_iterations, double eps,
                                                            int64_t dim) {
  check(weight, u, dim);
  const Tensor w = dense(weight), u_in = torch::stable::contiguous(u);
  const int64_t rows = w.size(dim), cols = columns_of(w, dim);
  const Outputs out{result_like(w), torch::stable::new_empty(w, {}),
                    torch::stable::new_empty(w, {rows}), torch::stable::new_empty(w, {cols})};
  dispatch_dtype("spectral_norm", w.scalar_type(), [&](auto type) {
    forward<decltype(type)>(w, u_in, n_power_iterations, eps, dim, out);
  });
  return {out.normalized, out.sigma, out.u, out.v};
}

Tensor normalize_weight_grad(const Tensor& grad_normalized, const Tensor& grad_sigma,
                             const Tensor& weight, const Tensor& sigma, const Tensor& u,
                             const Tensor& v, int64_t dim) {
  check(weight, u, dim);
  check_like("grad_normalized", grad_normalized, weight.numel(), weight);
  check_like("grad_sigma", grad_sigma, 1, weight);
  check_like("sigma", sigma, 1, weight);
  check_like("v", v, columns_of(weight, dim), weight);
  const Tensor w = dense(weight), grad = in_layout_of(grad_normalized, w);
  Tensor out = result_like(w);
  const Tensor u_in = torch::stable::contiguous(u), v_in = torch::stable::contiguous(v);
  dispatch_dtype("spectral_norm_grad", w.scalar_type(), [&](auto type) {
    backward<decltype(type)>(grad, grad_sigma, w, sigma, u_in, v_in, dim, out);
  });
  return out;
}

}  // namespace
}  // namespace fastgan::cpu::spectral_norm

STABLE_TORCH_LIBRARY_FRAGMENT(fastgan_cpp, m) {
  m.def(
      "spectral_norm(Tensor weight, Tensor u, int n_power_iterations, float eps, int dim) -> "
      "(Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "spectral_norm_grad(Tensor grad_normalized, Tensor grad_sigma, Tensor weight, Tensor sigma, "
      "Tensor u, Tensor v, int dim) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(fastgan_cpp, CPU, m) {
  m.impl("spectral_norm", TORCH_BOX(&fastgan::cpu::spectral_norm::normalize_weight));
  m.impl("spectral_norm_grad", TORCH_BOX(&fastgan::cpu::spectral_norm::normalize_weight_grad));
}
