"""The order in which a run visits a dataset: an infinite stream that is a function of position.

The whole state is one integer, the number of images drawn so far. Nothing here reads images.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastgan.data.hashing import hash_bits
from fastgan.errors import DataError

# Separate streams of the hash, so that one seed serves several unrelated draws.
_ORDER_STREAM = 1 << 62
_FLIP_STREAM = 1 << 61


class EpochSampler:
    """Endless shuffled indices: every epoch visits each index exactly once.

    Position p lies in epoch e = p // size and is entry p % size of the permutation drawn from
    (seed, e). Reading never changes the result of a later read, so resuming means continuing at
    the stored position, and a rank or micro-batch takes a slice of the global batch.

    Args:
        size: number of images, at least 1.
        seed: any integer.

    Raises:
        DataError: `size` is below 1.
    """

    def __init__(self, size: int, seed: int) -> None:
        if size < 1:
            raise DataError(f"EpochSampler: expected at least 1 image, got {size}")
        self.size = size
        self.seed = seed
        self._cached_epoch = -1
        self._cached_order: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def indices(self, start: int, count: int) -> Tensor:
        """Return the indices at positions start..start+count-1, int64 [count], in 0..size-1.

        Raises:
            DataError: `start` or `count` is negative.
        """
        _check_range(start, count)
        parts = [np.empty(0, dtype=np.int64)]
        position, end = start, start + count
        while position < end:
            epoch, offset = divmod(position, self.size)
            parts.append(self._order(epoch)[offset : offset + end - position])
            position += len(parts[-1])
        return torch.from_numpy(np.concatenate(parts))

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if epoch != self._cached_epoch:
            # Sorting hashed keys shuffles; a stable sort settles the (unlikely) ties.
            keys = hash_bits(
                self.seed, _ORDER_STREAM + epoch, np.arange(self.size, dtype=np.uint64)
            )
            self._cached_order = np.argsort(keys, kind="stable").astype(np.int64)
            self._cached_epoch = epoch
        return self._cached_order


def flips(start: int, count: int, seed: int) -> Tensor:
    """Decide left-right mirroring per stream position, each with probability 1/2.

    Returns: bool [count] for positions start..start+count-1; a function of (seed, position) only.
    Raises: DataError when `start` or `count` is negative.
    """
    _check_range(start, count)
    positions = np.arange(start, start + count, dtype=np.uint64)
    bits = hash_bits(seed, _FLIP_STREAM, positions) >> np.uint64(63)
    return torch.from_numpy(bits.astype(np.bool_))


def _check_range(start: int, count: int) -> None:
    if start < 0 or count < 0:
        raise DataError(f"expected a start and count of at least 0, got {start} and {count}")
