"""Work divided over processes: which images are this one's, and rows back in order."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

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


def launched() -> int:
    """Number of processes that torchrun started, of which this is one, joined or not."""
    return max(world(), int(os.environ.get("WORLD_SIZE", "1")))


@contextmanager
def joined(*, on_cuda: bool = False) -> Iterator[None]:
    """Join the processes that torchrun started, if it did, and leave them at the end.

    Args:
        on_cuda: tensors on CUDA devices are exchanged; each process takes the device LOCAL_RANK.
    """
    if launched() == world():
        yield
        return
    if on_cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    # Optimizers import it, and its functions keep the group of that moment as a default argument:
    # then nothing ends the group's threads, and they may abort the process at its end.
    importlib.import_module("torch.distributed.nn")
    distributed.init_process_group("nccl" if on_cuda else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


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
