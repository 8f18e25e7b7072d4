// From which size on results go around the caches.
#include "cpu/stream.h"

#include <cstdio>

#include "common/tensor.h"

namespace fastgan::cpu {
namespace {

constexpr int64_t kSecondLevel = int64_t{4} << 20;  // of two cores

// Bytes of the third-level cache of the first core, 0 where Linux does not say. Not by sysconf,
// which in virtual machines adds up the caches of the whole host.
int64_t third_level() {
  std::FILE* file = std::fopen("/sys/devices/system/cpu/cpu0/cache/index3/size", "r");
  if (file == nullptr) return 0;
  long long size = 0;
  char unit = 0;
  const int found = std::fscanf(file, "%lld%c", &size, &unit);
  std::fclose(file);
  if (found < 1 || size < 0) return 0;
  return size << (unit == 'K' ? 10 : unit == 'M' ? 20 : 0);
}

// AMD's third-level cache belongs to few cores and is about as fast as the second; with two sources
// a result of a quarter of it still fits. That of Intel's servers is shared by all cores, and
// slower than going around it (both measured, on Zen 5 and Sapphire Rapids).
bool keeps_results() {
#if defined(FASTGAN_HAVE_X86_VARIANTS)
  __builtin_cpu_init();
  return __builtin_cpu_is("amd");
#else
  return false;
#endif
}

int64_t default_stream_bytes() {
  const int64_t kept = keeps_results() ? third_level() / 4 : 0;
  return kept > kSecondLevel ? kept : kSecondLevel;
}

int64_t& chosen() {
  static int64_t bytes = default_stream_bytes();
  return bytes;
}

int64_t set_stream_bytes(int64_t bytes) {
  STD_TORCH_CHECK(bytes >= 0, "set_stream_bytes: expected at least 0, got ", bytes);
  const int64_t before = chosen();
  chosen() = bytes;
  return before;
}

}  // namespace

int64_t stream_bytes() { return chosen(); }

}  // namespace fastgan::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(fastgan_cpp, m) {
  m.def("set_stream_bytes(int bytes) -> int");  // returns what it was
}

STABLE_TORCH_LIBRARY_IMPL(fastgan_cpp, CompositeExplicitAutograd, m) {
  m.impl("set_stream_bytes", TORCH_BOX(&fastgan::cpu::set_stream_bytes));
}
