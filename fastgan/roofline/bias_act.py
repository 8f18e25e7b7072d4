"""Traffic of bias_act."""

from __future__ import annotations

import numpy as np

from fastgan.kernels import config
from fastgan.roofline import tiles
from fastgan.roofline.calls import BiasAct, Images
from fastgan.roofline.traffic import Stream, sectors, whole

FORWARD_FLOPS = 5  # bias, slope, gain, two comparisons, for each element
BACKWARD_FLOPS = 4  # slope, gain, clamp, sum
SUM_BYTES = 4  # partial sums are float32


def flops(call: BiasAct) -> int:
    """Floating-point operations."""
    return call.x.numel * (BACKWARD_FLOPS if call.backward else FORWARD_FLOPS)


def compulsory(call: BiasAct) -> int:
    """Forward reads x and writes y; backward reads grad_y and y and writes grad_x."""
    vector = call.x.channels * call.x.item
    return call.x.nbytes * (3 if call.backward else 2) + vector


def cuda(call: BiasAct) -> list[Stream]:
    """Streams of csrc/cuda/bias_act_kernel.cuh, for aligned tensors."""
    x = call.x
    vector = whole(x.channels * x.item)
    if not call.backward:  # packs one after another: no sector is shared between blocks
        return [
            Stream("source", loaded=whole(x.nbytes)),
            Stream("bias", loaded=vector),
            Stream("out", stored=whole(x.nbytes)),
        ]
    images, chunks = _chunked(x)
    parts = whole(chunks * x.channels * SUM_BYTES)
    return [
        Stream("source", loaded=images),
        Stream("g", loaded=images),
        Stream("out", stored=images),
        Stream("workspace", loaded=parts, stored=parts),
        Stream("grad_bias", stored=vector),
    ]


def sum_plan(x: Images) -> tuple[int, int]:
    """(elements of a chunk, chunks): plan_sum of the kernel."""
    count = x.batch * x.height * x.width
    inner = 1 if x.channels_last else x.height * x.width
    width = min(x.channels, 128) if inner == 1 else 1
    most = tiles.MAX_SUM_BLOCKS // -(-x.channels // width)
    wanted = max(min(-(-count // (tiles.SUM_ELEMENTS // width)), most), 1)
    share = -(-count // wanted)
    chunk = -(-share // 8) * 8
    return chunk, -(-count // chunk)


def _chunked(x: Images) -> tuple[int, int]:
    """(bytes of one tensor that the blocks of the gradient touch, chunks)."""
    chunk, chunks = sum_plan(x)
    first = np.arange(chunks, dtype=np.int64) * chunk
    if x.channels_last:
        row, rows = x.channels * x.item, x.batch * x.height * x.width
        pack = tiles.PACK_BYTES // x.item if x.channels * x.item % tiles.PACK_BYTES == 0 else 1
        lanes = 1
        while lanes < tiles.MAX_LANES and lanes * pack < x.channels:
            lanes *= 2
        if lanes * pack < x.channels:  # blocks side by side
            if row % 32 or lanes * pack * x.item % 32:
                raise ValueError(f"roofline: bias_act of {x} has rows that share sectors")
            return x.nbytes, chunks
        length = (np.minimum(first + chunk, rows) - first) * row
        return int(sectors((first * row)[:, None], length[:, None]).sum()) * 32, chunks
    inner = x.height * x.width
    sample = np.arange(x.batch, dtype=np.int64)
    begin = np.maximum(first[:, None], sample * inner)
    end = np.minimum(np.minimum(first[:, None] + chunk, x.batch * inner), (sample + 1) * inner)
    inside = begin - sample * inner
    touched = 0
    for channel in range(x.channels):
        at = (sample * x.channels + channel) * inner + inside
        touched += int(sectors(at * x.item, np.maximum(end - begin, 0) * x.item).sum())
    return touched * 32, chunks


def triton(call: BiasAct) -> list[Stream]:
    """Streams of kernels/bias_act.py; tiles are whole rows or start on a sector."""
    x, vector = call.x, whole(call.x.channels * call.x.item)
    images = whole(x.nbytes)
    if not call.backward:
        return [Stream("x", images), Stream("bias", vector), Stream("y", stored=images)]
    rows, cols = (x.batch * x.channels, x.height * x.width)
    if x.channels_last:
        rows, cols = x.numel // x.channels, x.channels
    block_rows, block_cols = config.tile(rows, cols)
    steps = min(config.SUM_TILES, -(-rows // block_rows))
    groups, blocks = -(-rows // (block_rows * steps)), -(-cols // block_cols)
    if x.channels_last:
        size, stored = groups * cols, whole(groups * cols * SUM_BYTES)
    else:
        size, stored = rows * blocks, _column_of_parts(rows, blocks, block_rows * steps)
    return [
        Stream("ref", images),
        Stream("grad_y", images),
        Stream("grad_x", stored=images),
        Stream("parts", loaded=whole(size * SUM_BYTES), stored=stored),
        Stream("grad_bias", stored=vector),
    ]


def _column_of_parts(rows: int, blocks: int, height: int) -> int:
    """Bytes of the sectors that programs store sums in: one a row, `blocks` apart."""
    row = np.arange(-(-rows // height) * height, dtype=np.int64).reshape(-1, height)
    touched = 0
    for block in range(min(blocks, 8)):  # how sums lie on sectors repeats after eight
        alike = -(-(blocks - block) // 8)
        length = np.where(row < rows, SUM_BYTES, 0)
        touched += alike * int(sectors((row * blocks + block) * SUM_BYTES, length).sum())
    return touched * 32
