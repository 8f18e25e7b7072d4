"""The second half of every sum: adds partial sums in a fixed order, without atomics."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels import config


@triton.jit
def sum_partials_kernel(
    parts_ptr, out_ptr, before, results, after,
    BLOCK_PARTS: tl.constexpr, BLOCK_RESULTS: tl.constexpr,
):  # fmt: skip
    """out[k] = sum over p, q of parts[p, k, q], for a block of k."""
    acc: tl.constexpr = parts_ptr.dtype.element_ty
    k = tl.program_id(0).to(tl.int64) * BLOCK_RESULTS + tl.arange(0, BLOCK_RESULTS)
    total = tl.zeros((BLOCK_PARTS, BLOCK_RESULTS), dtype=acc)
    for first in range(0, before * after, BLOCK_PARTS):
        part = first + tl.arange(0, BLOCK_PARTS)
        p = (part // after).to(tl.int64)
        offset = (p[:, None] * results + k[None, :]) * after + (part % after)[:, None]
        mask = (part < before * after)[:, None] & (k < results)[None, :]
        total += tl.load(parts_ptr + offset, mask=mask, other=0.0)
    tl.store(out_ptr + k, tl.sum(total, 0).to(out_ptr.dtype.element_ty), mask=k < results)


def sum_partials(parts: Tensor, out: Tensor) -> None:
    """Write into `out`, with K elements, the sum of `parts` [P, K, Q] over P and Q."""
    before, results, after = parts.shape
    block_parts, block_results = config.REDUCE_TILE
    block_parts = min(block_parts, config.power_of_two(before * after))
    block_results = min(block_results, config.power_of_two(results))
    with torch.cuda.device_of(parts):
        sum_partials_kernel[(triton.cdiv(results, block_results),)](
            parts, out, before, results, after,
            BLOCK_PARTS=block_parts, BLOCK_RESULTS=block_results, num_warps=config.warps(),
        )  # fmt: skip
