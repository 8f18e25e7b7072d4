"""Sums over processes when torch.distributed runs, and what is said by one of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch
from torch import Tensor, distributed

from fastgan.metrics.sharding import joined, launched, rank, world

__all__ = ["announce", "any_process", "joined", "launched", "rank", "sum_over_processes", "world"]


def sum_over_processes(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its sum over processes, in one message per dtype."""
    if world() == 1:
        return
    for dtype in sorted({tensor.dtype for tensor in tensors}, key=str):
        group = [tensor for tensor in tensors if tensor.dtype == dtype]
        flat = torch.cat([tensor.flatten() for tensor in group])
        distributed.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in group])
        for tensor, part in zip(group, parts, strict=True):
            tensor.copy_(part.view_as(tensor))


def any_process(flag: bool) -> bool:
    """Whether the flag is set in any process; every process must ask."""
    if world() == 1:
        return flag
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    count = torch.tensor(float(flag), device=device)
    distributed.all_reduce(count)
    return bool(count > 0)


def announce(line: str) -> None:
    """Print a line about the run on standard error, once however many processes there are."""
    if rank() == 0:
        print(f"fastgan: {line}", file=sys.stderr, flush=True)
