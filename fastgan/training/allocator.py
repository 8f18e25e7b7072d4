"""The C library's allocator: keep freed memory for the next step instead of returning it."""

from __future__ import annotations

import ctypes
import sys

# mallopt's parameters, from malloc.h of glibc.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3


def keep_freed_memory() -> bool:
    """Tell glibc to reuse the memory of large freed tensors.

    By default every large tensor is mapped afresh, and the system clears its pages one by one; a
    training step on the CPU does so thousands of times. The setting holds for the process, so the
    commands ask for it and the library does not.

    Returns: whether it was set; False where the C library is not glibc.
    """
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt") or not hasattr(library, "gnu_get_libc_version"):
        return False
    settings = ((_MMAP_THRESHOLD, 1 << 30), (_TRIM_THRESHOLD, (1 << 31) - 1), (_TOP_PAD, 64 << 20))
    return all(library.mallopt(name, value) == 1 for name, value in settings)
