// Counts what kernels load and store, sector by sector of 32 bytes. Kernels are compiled with
// -fsanitize=thread, which makes the compiler announce every access; instead of the sanitizer's
// library, this file is linked and hears of them. So no kernel is written differently to be
// counted, and none can forget to count.
//
// Only watched tensors count. A sector counts once for each block that touches it, as if a block
// had a cache of its own, and once for each launch. Include it into one file.
#pragma once

#include "cuda/gpu_compat.h"

namespace traffic {

constexpr uintptr_t kSector = 32;
#define TRAFFIC_UNSEEN __attribute__((no_sanitize("thread"), noinline))

constexpr int kMost = 16;  // watched tensors

// Plain arrays: the functions of a vector would announce their own accesses.
struct Touched {
  uint64_t *block, *launch;  // the last that touched each sector
  int64_t blocks, launches;  // sectors, each once for a block, and for a launch
};

struct Watched {
  uintptr_t begin, end;
  Touched of[2];  // loads, stores
};

inline Watched watched[kMost];
inline int count = 0;

TRAFFIC_UNSEEN inline void note(const void* address, size_t bytes, bool is_store) {
  const auto first = reinterpret_cast<uintptr_t>(address);
  for (int w = 0; w < count; ++w) {
    Watched& tensor = watched[w];
    if (first < tensor.begin || first >= tensor.end) continue;
    Touched& touched = tensor.of[is_store];
    for (uintptr_t s = first / kSector; s <= (first + bytes - 1) / kSector; ++s) {
      const size_t i = s - tensor.begin / kSector;
      touched.blocks += touched.block[i] != shim::machine.blocks;
      touched.launches += touched.launch[i] != shim::machine.launches;
      touched.block[i] = shim::machine.blocks;
      touched.launch[i] = shim::machine.launches;
    }
  }
}

TRAFFIC_UNSEEN inline uint64_t* zeros(size_t size) {
  return static_cast<uint64_t*>(std::calloc(size, sizeof(uint64_t)));
}

}  // namespace traffic

extern "C" {

TRAFFIC_UNSEEN void traffic_watch(const void* begin, int64_t bytes) {
  if (traffic::count == traffic::kMost) std::abort();
  const auto first = reinterpret_cast<uintptr_t>(begin);
  const size_t size = (first + bytes - 1) / traffic::kSector - first / traffic::kSector + 1;
  traffic::Watched& tensor = traffic::watched[traffic::count++];
  tensor.begin = first;
  tensor.end = first + bytes;
  for (auto& touched : tensor.of) {
    touched = {traffic::zeros(size), traffic::zeros(size), 0, 0};
  }
}

TRAFFIC_UNSEEN void traffic_reset() {
  for (; traffic::count > 0; --traffic::count) {
    for (auto& touched : traffic::watched[traffic::count - 1].of) {
      std::free(touched.block);
      std::free(touched.launch);
    }
  }
}

// Bytes of the sectors of a tensor, in the order of traffic_watch.
TRAFFIC_UNSEEN int64_t traffic_bytes(int tensor, bool is_store, bool of_launches) {
  const traffic::Touched& touched = traffic::watched[tensor].of[is_store];
  return traffic::kSector * (of_launches ? touched.launches : touched.blocks);
}

// What the compiler calls.
#define TRAFFIC_ACCESS(size)                                                         \
  TRAFFIC_UNSEEN void __tsan_read##size(void* p) { traffic::note(p, size, false); }  \
  TRAFFIC_UNSEEN void __tsan_write##size(void* p) { traffic::note(p, size, true); }  \
  TRAFFIC_UNSEEN void __tsan_unaligned_read##size(void* p) { __tsan_read##size(p); } \
  TRAFFIC_UNSEEN void __tsan_unaligned_write##size(void* p) { __tsan_write##size(p); }
TRAFFIC_ACCESS(1)
TRAFFIC_ACCESS(2)
TRAFFIC_ACCESS(4)
TRAFFIC_ACCESS(8)
TRAFFIC_ACCESS(16)
TRAFFIC_UNSEEN void __tsan_read_range(void* p, size_t n) { traffic::note(p, n, false); }
TRAFFIC_UNSEEN void __tsan_write_range(void* p, size_t n) { traffic::note(p, n, true); }
TRAFFIC_UNSEEN void __tsan_vptr_update(void**, void*) {}
TRAFFIC_UNSEEN void __tsan_init() {}
TRAFFIC_UNSEEN void __tsan_func_entry(void*) {}
TRAFFIC_UNSEEN void __tsan_func_exit() {}
}
