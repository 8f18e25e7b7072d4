"""Traffic of spectral_norm with one power iteration. The vectors stay in the L2 cache."""

from __future__ import annotations

from fastgan.kernels import config
from fastgan.roofline.calls import ITEM_SIZE, SpectralNorm
from fastgan.roofline.traffic import Stream, whole

WIDE = 4  # bytes of what kernels compute in


def flops(call: SpectralNorm) -> int:
    """Two products with a vector, and the division."""
    return 5 * call.rows * call.cols


def compulsory(call: SpectralNorm) -> int:
    """Two products and the division read the weight, the quotient is written. The products cannot
    share a read: the second needs all of the first."""
    return 4 * call.nbytes


def cuda(call: SpectralNorm) -> list[Stream]:
    """Streams of the three launches of csrc/cuda/spectral_norm_kernel.cuh."""
    item = ITEM_SIZE[call.dtype]
    if call.cols * item % 32:
        raise ValueError(f"roofline: rows of {call} share sectors")
    right, left = whole(call.cols * WIDE), whole(call.rows * WIDE)
    return [
        Stream("weight", loaded=3 * whole(call.nbytes)),
        Stream("normalized", stored=whole(call.nbytes)),
        Stream("u", loaded=whole(call.rows * item)),  # W^T u
        Stream("right", loaded=2 * right, stored=right),  # written; W v; written as v
        Stream("left", loaded=left, stored=left),  # W v; W / sigma
        Stream("u_new", stored=whole(call.rows * item)),
        Stream("v", stored=whole(call.cols * item)),
        Stream("sigma", stored=whole(item)),
    ]


def triton(call: SpectralNorm) -> list[Stream]:
    """Streams of the launches of kernels/spectral_norm.py, partial sums and copies included."""
    rows, cols, item = call.rows, call.cols, ITEM_SIZE[call.dtype]
    block_rows, block_cols = config.tile(rows, cols)
    groups = -(-rows // (block_rows * min(config.SUM_TILES, -(-rows // block_rows))))
    by_column, by_row = whole(groups * cols * WIDE), whole(rows * -(-cols // block_cols) * WIDE)
    right, left = whole(cols * WIDE), whole(rows * WIDE)
    copied = whole(rows * item) if call.dtype == "fp16" else 0
    return [
        Stream("weight", loaded=3 * whole(call.nbytes)),
        Stream("normalized", stored=whole(call.nbytes)),
        Stream("u", loaded=left + copied, stored=0 if copied == 0 else left),
        Stream("parts of W^T u", loaded=by_column, stored=by_column),
        Stream("W^T u", loaded=right, stored=right),
        Stream("v", loaded=2 * right, stored=right + whole(cols * item)),
        Stream("parts of W v", loaded=by_row, stored=by_row),
        Stream("W v", loaded=left, stored=left),
        Stream("u_new", loaded=left, stored=left + whole(rows * item)),
        Stream("sigma", loaded=2 * 32, stored=2 * 32),
    ]
