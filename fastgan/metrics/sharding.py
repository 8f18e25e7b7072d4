"""Work divided over processes: which images are this one's, and rows back in order."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def is_initialized() -> bool:
    """Whether there is a process group."""
    return distributed.is_available() and distributed.is_initialized()


def rank() -> int:
    """Index of this process, 0 when it is alone."""
    return distributed.get_rank() if is_initialized() else 0


def world() -> int:
    """Number of processes."""
    return distributed.get_world_size() if is_initialized() else 1


def shard(count: int) -> range:
    """The items 0..count-1 that are this process's: rank, rank + world, ..."""
    return range(rank(), count, world())


def gather_rows(rows: Tensor, count: int) -> Tensor:
    """Put the rows of all processes together in the order of the items that `shard` handed out.

    Args:
        rows: [number of this process's items, d].
        count: items of all processes.

    Returns: [count, d], the same in every process.
    """
    if world() == 1:
        return rows
    most = -(-count // world())
    padded = rows.new_zeros(most, rows.shape[1])
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in range(world())]
    distributed.all_gather(parts, padded)
    return torch.stack(parts, dim=1).flatten(0, 1)[:count]  # item i is row i // world of rank i % w
