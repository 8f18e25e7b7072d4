"""The C library's allocator: keep freed memory for the next step, and now and then return the rest.

Blocks of changing sizes (augmentation pads by what it drew) leave holes between those that stay,
which later ones do not fit into: the heap of a long run grows, with no more of it in use. What lies
in the holes is given back to the system at intervals of `TRIM_SECONDS`.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fastgan.training.hooks import Hook
from fastgan.training.state import TrainingState

# mallopt's parameters, from malloc.h of glibc.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3

TRIM_SECONDS = 120.0  # the pages that are used again take a fraction of a second to map

# glibc reads it once, before the process can say anything: it has to come from the environment.
_HUGE_PAGES = "glibc.malloc.hugetlb"


_kept = False  # whether `keep_freed_memory` has set this process


def keep_freed_memory() -> bool:
    """Tell glibc to reuse the memory of large freed tensors.

    By default every large tensor is mapped afresh, and the system clears its pages one by one; a
    training step on the CPU does so thousands of times. The setting holds for the process, so the
    commands ask for it and the library does not.

    Returns: whether it was set; False where the C library is not glibc.
    """
    global _kept
    library = _glibc()
    if library is None:
        return False
    settings = ((_MMAP_THRESHOLD, 1 << 30), (_TRIM_THRESHOLD, (1 << 31) - 1), (_TOP_PAD, 64 << 20))
    _kept = all(library.mallopt(name, value) == 1 for name, value in settings)
    return _kept


def return_unused_memory() -> bool:
    """Give pages that hold nothing, anywhere in the heap, back to the system.

    Returns: whether there were any; False where the C library is not glibc.
    """
    library = _glibc()
    return library is not None and library.malloc_trim(0) == 1


class ReturnMemory(Hook):
    """Calls `return_unused_memory` at intervals, in processes that keep what is freed."""

    name = "return_memory"

    def on_start(self, state: TrainingState) -> None:
        self._last = time.monotonic()

    def on_step(self, state: TrainingState, means: Mapping[str, Tensor]) -> None:
        if _kept and time.monotonic() - self._last >= TRIM_SECONDS:
            return_unused_memory()
            self._last = time.monotonic()


def allocator_status() -> str:
    """Say whose allocator serves tensors on the CPU, and what would make it faster."""
    preloaded = [
        name
        for name in ("jemalloc", "tcmalloc", "mimalloc")
        if name in os.environ.get("LD_PRELOAD", "")
    ]
    if preloaded:
        return f"{', '.join(preloaded)}, preloaded"
    if _glibc() is None:
        return "the system's own: its thresholds cannot be set from inside"
    if f"{_HUGE_PAGES}=" in os.environ.get("GLIBC_TUNABLES", ""):
        return "glibc, thresholds set by fastgan train, huge pages as GLIBC_TUNABLES says"
    return (
        "glibc, thresholds set by fastgan train; for fewer page faults start it with "
        f"GLIBC_TUNABLES={_HUGE_PAGES}=1"
    )


def _glibc() -> Any:
    """The C library of this process, None where it is not glibc."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    is_glibc = hasattr(library, "mallopt") and hasattr(library, "gnu_get_libc_version")
    return library if is_glibc else None
