// Huge pages for large results. A fresh allocation is mapped page by page while it is first
// written, and with 4 KiB pages that takes longer than a memory-bound kernel. No torch in here.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace fastgan {

// Asks the system to back the whole 2 MiB pages inside [start, start + bytes) by huge pages. Only a
// hint: nothing changes where the system does not offer them, and contents are kept.
inline void advise_huge_pages(void* start, size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr uintptr_t kPage = uintptr_t{2} << 20;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(start) + kPage - 1) & ~(kPage - 1);
  const uintptr_t end = (reinterpret_cast<uintptr_t>(start) + bytes) & ~(kPage - 1);
  if (end < begin + 2 * kPage) return;
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
  (void)start;
  (void)bytes;
#endif
}

}  // namespace fastgan
