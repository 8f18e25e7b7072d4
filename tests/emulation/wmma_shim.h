// nvcuda::wmma on the CPU, for tests: what mma.h of CUDA declares, on top of host_shim.h.
//
// A fragment is a tile of a warp, eight (of tf32 four) elements a lane, which of them is nobody's
// business. All 32 lanes have to meet in every operation. Pointers and leading dimensions are held
// to what CUDA documents: 32 bytes and multiples of 16 bytes. Every lane reads or writes its own
// elements, where the sanitizers see it. Products are added in float in the order of k; the order
// and the width of a tensor core's sums are not documented.
#pragma once

#include <source_location>
#include <type_traits>

namespace nvcuda::wmma {

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
enum layout_t { mem_row_major, mem_col_major };
namespace precision {
struct tf32;
}

}  // namespace nvcuda::wmma

namespace shim {

struct Operands {  // of one mma_sync of one warp
  float a[256], b[256];
};
// Two in turn: a lane may be a step ahead of one that still reads.
inline Operands wmma_operands[kMaxWarps][2];

using Source = std::source_location;
using Location = const Source&;

SHIM_HIDDEN inline void meet(Location at) {
  const int site = (1 << 30) | static_cast<int>(at.line() << 10) | static_cast<int>(at.column());
  wait(State::kAtWarp, 0xffffffffu, site, static_cast<int>(at.line()));
}

[[noreturn]] SHIM_HIDDEN inline void die_at(Location at, const char* why) {
  std::fprintf(stderr, "%s, line %d: ", at.file_name(), static_cast<int>(at.line()));
  die(why);
}

// Lanes meet and have to bring the same tile.
SHIM_HIDDEN inline void meet_at_tile(const void* tile, unsigned ldm, size_t element, Location at) {
  if (reinterpret_cast<uintptr_t>(tile) % 32 != 0) {
    die_at(at, "a fragment's pointer is not aligned to 32 bytes");
  }
  if (ldm * element % 16 != 0) {
    die_at(at, "a fragment's leading dimension is no multiple of 16 bytes");
  }
  uint64_t* slots = machine.slots[thread() / kWarp];
  slots[lane()] = reinterpret_cast<uintptr_t>(tile) + ldm;
  meet(at);
  if (slots[0] != slots[lane()]) die_at(at, "lanes of a warp name different tiles");
  meet(at);
}

SHIM_HIDDEN inline Operands& operands_of_warp() {
  const int warp = thread() / kWarp;
  return wmma_operands[warp][machine.warp_phase[warp] % 2];
}

// What a tensor core sees of an operand: tf32 has 10 bits after the point, the others are cut off.
template <typename T>
SHIM_HIDDEN float operand(T value) {
  float wide = static_cast<float>(value);
  if constexpr (std::is_same_v<T, float>) {
    uint32_t bits;
    std::memcpy(&bits, &wide, 4);
    bits &= 0xffffe000u;
    std::memcpy(&wide, &bits, 4);
  }
  return wide;
}

SHIM_HIDDEN inline float round_to_tf32(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if ((bits & 0x7f800000u) != 0x7f800000u) bits = (bits + 0x1000u) & 0xffffe000u;
  std::memcpy(&value, &bits, 4);
  return value;
}

// The element of the tile, in row-major order, that a lane has at `index`.
SHIM_HIDDEN inline int element_of(int index) { return index * kWarp + (lane() ^ (index * 5 % 32)); }

template <typename T, int kElements>
SHIM_HIDDEN void publish(const T (&x)[kElements], float* to) {
  for (int i = 0; i < kElements; ++i) to[element_of(i)] = operand(x[i]);
}

template <int kN, int kK>
SHIM_HIDDEN void multiply(const Operands& operands, const float (&c)[8], float (&d)[8]) {
  for (int i = 0; i < 8; ++i) {
    const int row = element_of(i) / kN, column = element_of(i) % kN;
    float sum = c[i];
    for (int k = 0; k < kK; ++k) sum += operands.a[row * kK + k] * operands.b[k * kN + column];
    d[i] = sum;
  }
}

template <typename Use, int kM, int kN, int kK>
struct Extent;
template <int kM, int kN, int kK>
struct Extent<nvcuda::wmma::matrix_a, kM, kN, kK> {
  static constexpr int kRows = kM, kColumns = kK;
};
template <int kM, int kN, int kK>
struct Extent<nvcuda::wmma::matrix_b, kM, kN, kK> {
  static constexpr int kRows = kK, kColumns = kN;
};
template <int kM, int kN, int kK>
struct Extent<nvcuda::wmma::accumulator, kM, kN, kK> {
  static constexpr int kRows = kM, kColumns = kN;
};

template <typename T>
struct Stored {
  using type = T;
};
template <>
struct Stored<nvcuda::wmma::precision::tf32> {
  using type = float;
};

}  // namespace shim

namespace nvcuda::wmma {

template <typename Use, int kM, int kN, int kK, typename T, typename Layout = void>
struct fragment : shim::Extent<Use, kM, kN, kK> {
  using Extent = shim::Extent<Use, kM, kN, kK>;
  static constexpr bool kSum = std::is_same_v<Use, accumulator>;
  static constexpr int kDepth = std::is_same_v<T, precision::tf32> ? 8 : 16;
  static_assert(kM == 16 && kN == 16 && (kSum || kK == kDepth),
                "the emulator knows 16 x 16 x 16, and 16 x 16 x 8 of tf32");
  static constexpr int num_elements = Extent::kRows * Extent::kColumns / shim::kWarp;
  typename shim::Stored<T>::type x[num_elements];
};

inline float __float_to_tf32(float value) { return shim::round_to_tf32(value); }

template <typename Fragment, typename T>
void fill_fragment(Fragment& f, const T& value) {
  for (auto& element : f.x) element = value;
}

template <typename Use, int kM, int kN, int kK, typename T, typename Layout, typename Memory>
void load_matrix_sync(fragment<Use, kM, kN, kK, T, Layout>& f, const Memory* from, unsigned ldm,
                      shim::Location at = shim::Source::current()) {
  shim::meet_at_tile(from, ldm, sizeof(Memory), at);
  constexpr int kColumns = shim::Extent<Use, kM, kN, kK>::kColumns;
  constexpr bool kByRows = std::is_same_v<Layout, row_major>;
  static_assert(kByRows || std::is_same_v<Layout, col_major>, "a or b; sums are not loaded");
  for (int i = 0; i < f.num_elements; ++i) {
    const int row = shim::element_of(i) / kColumns, column = shim::element_of(i) % kColumns;
    f.x[i] = kByRows ? from[row * ldm + column] : from[column * ldm + row];
  }
}

template <int kM, int kN, int kK, typename T, typename LayoutA, typename LayoutB>
void mma_sync(fragment<accumulator, kM, kN, kK, float>& d,
              const fragment<matrix_a, kM, kN, kK, T, LayoutA>& a,
              const fragment<matrix_b, kM, kN, kK, T, LayoutB>& b,
              const fragment<accumulator, kM, kN, kK, float>& c,
              shim::Location at = shim::Source::current()) {
  shim::Operands& operands = shim::operands_of_warp();
  shim::publish(a.x, operands.a);
  shim::publish(b.x, operands.b);
  shim::meet(at);
  shim::multiply<kN, kK>(operands, c.x, d.x);
}

template <int kM, int kN, int kK>
void store_matrix_sync(float* to, const fragment<accumulator, kM, kN, kK, float>& f, unsigned ldm,
                       layout_t layout, shim::Location at = shim::Source::current()) {
  shim::meet_at_tile(to, ldm, sizeof(float), at);
  for (int i = 0; i < f.num_elements; ++i) {
    const int row = shim::element_of(i) / kN, column = shim::element_of(i) % kN;
    (layout == mem_row_major ? to[row * ldm + column] : to[column * ldm + row]) = f.x[i];
  }
}

}  // namespace nvcuda::wmma
