"""How traffic is counted: sectors of 32 bytes, once for each block of threads.

The model is a cache that each block has for itself: a block pays for a sector once, however often
its threads touch it, and blocks share nothing. This is what crosses from the L2 cache; where
neighbouring blocks run close in time, less crosses from memory, down to each byte once. Vectors
that all blocks read (bias, styles, taps, singular vectors, partial sums) stay in the L2 cache and
count once a launch. Of a convolution's operands blocks share most; `Stream.once` has the count in
which the L2 cache spares memory all of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

SECTOR = 32
Integers: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Stream:
    """What one launch, or several in a row, does to one tensor.

    Attributes:
        name: of the tensor.
        loaded, stored: bytes that cross.
        once: (loaded, stored) with every sector once a launch, where blocks share some: what
            crosses from memory if the L2 cache keeps it until all who share it have had it.
    """

    name: str
    loaded: int = 0
    stored: int = 0
    once: tuple[int, int] | None = None


def total(streams: list[Stream]) -> int:
    """Bytes of all streams."""
    return sum(stream.loaded + stream.stored for stream in streams)


def from_memory(streams: list[Stream]) -> int:
    """Bytes of all streams if the L2 cache keeps what blocks share."""
    return sum(sum(stream.once or (stream.loaded, stream.stored)) for stream in streams)


def whole(nbytes: int) -> int:
    """Bytes of the sectors of a tensor that starts on one."""
    return -(-nbytes // SECTOR) * SECTOR


def sectors(starts: Integers, lengths: Integers) -> Integers:
    """Sectors that each block touches.

    Args:
        starts: first bytes of intervals, ascending along the last axis, a block per row.
        lengths: bytes of the intervals, which do not overlap; 0 for none.
    """
    starts, lengths = np.broadcast_arrays(starts, lengths)
    first = starts // SECTOR
    last = np.where(lengths > 0, (starts + lengths - 1) // SECTOR, -1)
    before = np.maximum.accumulate(last, axis=-1)
    before = np.concatenate([np.full_like(before[..., :1], -1), before[..., :-1]], axis=-1)
    counted: Integers = np.maximum(last - np.maximum(first, before + 1) + 1, 0).sum(axis=-1)
    return counted


def phases(stride: int, count: int) -> list[tuple[int, int]]:
    """(offset, how many) of `count` like regions `stride` bytes apart that differ in how they lie
    on sectors."""
    period = SECTOR // int(np.gcd(stride, SECTOR))
    return [(k * stride, -(-(count - k) // period)) for k in range(min(period, count))]
