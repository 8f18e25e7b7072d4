"""The passes of modulated_conv2d around its convolution, in Triton: scale per sample and channel,
add noise, and the gradient of both.

A sample is seen as a matrix in the order in which it lies: channels by pixels (planar) or pixels
by channels (channels_last, LAST). Sums along the columns are partial per block of columns, sums
along the rows are partial per group of rows; `reduction` adds them.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels import config, reduction, tensors


@triton.jit
def scale_kernel(
    x_ptr, scale_ptr, noise_ptr, y_ptr, rows, cols,
    LAST: tl.constexpr, NOISE: tl.constexpr, ACC: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr,
):  # fmt: skip
    """y = x * scale + noise for one tile of one sample; scale lies along the channels, noise along
    the pixels."""
    blocks = tl.cdiv(cols, BLOCK_COLS)
    tiles = blocks * tl.cdiv(rows, BLOCK_ROWS)
    sample, tile = (tl.program_id(0) // tiles).to(tl.int64), tl.program_id(0) % tiles
    row = tile // blocks * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    col = tile % blocks * BLOCK_COLS + tl.arange(0, BLOCK_COLS)
    mask = (row < rows)[:, None] & (col < cols)[None, :]
    offset = (sample * rows + row[:, None]) * cols + col[None, :]
    value = tl.load(x_ptr + offset, mask=mask, other=0.0).to(ACC)
    by_row, by_col = scale_ptr, noise_ptr
    if LAST:
        by_row, by_col = noise_ptr, scale_ptr
    if LAST or NOISE:
        along = tl.load(by_col + sample * cols + col, mask=col < cols, other=0.0)[None, :]
    if NOISE or not LAST:
        down = tl.load(by_row + sample * rows + row, mask=row < rows, other=0.0)[:, None]
    if LAST:
        value *= along
        if NOISE:
            value += down
    else:
        value *= down
        if NOISE:
            value += along
    tl.store(y_ptr + offset, value.to(y_ptr.dtype.element_ty), mask=mask)


@triton.jit
def scale_grad_kernel(
    g_ptr, x_ptr, scale_ptr, grad_x_ptr, by_row_ptr, by_col_ptr, samples, rows, cols,
    LAST: tl.constexpr, NOISE: tl.constexpr, TILES: tl.constexpr, ACC: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr,
):  # fmt: skip
    """grad_x = g * scale for TILES tiles below each other, and partial sums of g * x along the
    pixels and of g along the channels: by_row [samples, rows, blocks], by_col [groups, samples,
    cols]."""
    blocks = tl.cdiv(cols, BLOCK_COLS)
    groups = tl.cdiv(rows, BLOCK_ROWS * TILES)
    sample = (tl.program_id(0) // (blocks * groups)).to(tl.int64)
    group = tl.program_id(0) // blocks % groups
    block = tl.program_id(0) % blocks
    col = block * BLOCK_COLS + tl.arange(0, BLOCK_COLS)
    total = tl.zeros((BLOCK_ROWS, BLOCK_COLS), dtype=ACC)
    for step in range(TILES):
        row = (group * TILES + step) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
        mask = (row < rows)[:, None] & (col < cols)[None, :]
        offset = (sample * rows + row[:, None]) * cols + col[None, :]
        g = tl.load(g_ptr + offset, mask=mask, other=0.0).to(ACC)
        x = tl.load(x_ptr + offset, mask=mask, other=0.0).to(ACC)
        if LAST:
            scale = tl.load(scale_ptr + sample * cols + col, mask=col < cols, other=0.0)[None, :]
            along_row, along_col = g, g * x
        else:
            scale = tl.load(scale_ptr + sample * rows + row, mask=row < rows, other=0.0)[:, None]
            along_row, along_col = g * x, g
        tl.store(grad_x_ptr + offset, (g * scale).to(grad_x_ptr.dtype.element_ty), mask=mask)
        if NOISE or not LAST:
            place = by_row_ptr + (sample * rows + row) * blocks + block
            tl.store(place, tl.sum(along_row, 1), mask=row < rows)
        if NOISE or LAST:
            total += along_col
    if NOISE or LAST:
        place = by_col_ptr + (group.to(tl.int64) * samples + sample) * cols + col
        tl.store(place, tl.sum(total, 0), mask=col < cols)


def _matrix(x: Tensor, channels_last: bool) -> tuple[int, int]:
    """(rows, columns) of one sample in memory order."""
    channels, pixels = x.shape[1], x.shape[2] * x.shape[3]
    return (pixels, channels) if channels_last else (channels, pixels)


def modulated_conv2d_scale(x: Tensor, scale: Tensor, noise: Tensor | None) -> Tensor:
    """y = x * scale[n, c] + noise[n, 1, h, w], in the layout and dtype of the images x.

    scale and noise are of the dtype that x is computed in: float64 for float64, else float32.
    """
    x = tensors.image(x)
    y = tensors.result_like(x)
    if x.numel() == 0:
        return y
    last = tensors.is_channels_last(x)
    rows, cols = _matrix(x, last)
    block_rows, block_cols = config.tile(rows, cols)
    factors = scale.contiguous()
    with torch.cuda.device_of(x):
        scale_kernel[(x.shape[0] * triton.cdiv(rows, block_rows) * triton.cdiv(cols, block_cols),)](
            x, factors, factors if noise is None else noise.contiguous(), y, rows, cols,
            LAST=last, NOISE=noise is not None, ACC=tensors.accumulator(x), BLOCK_ROWS=block_rows,
            BLOCK_COLS=block_cols, num_warps=config.warps(),
        )  # fmt: skip
    return y


def modulated_conv2d_scale_grad(
    grad_y: Tensor, x: Tensor, scale: Tensor, with_noise: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """(grad_y * scale, sum of grad_y * x over pixels [N, C], sum of grad_y over channels
    [N, 1, H, W] or an empty tensor without noise); the sums are of the dtype of scale."""
    x = tensors.image(x)
    samples, _, height, width = x.shape
    grad_x = tensors.result_like(x)
    grad_scale = tensors.new(scale, *scale.shape)
    grad_noise = tensors.new(scale, *((samples, 1, height, width) if with_noise else (0,)))
    if x.numel() == 0:
        return grad_x, grad_scale.zero_(), grad_noise.zero_()
    last = tensors.is_channels_last(x)
    rows, cols = _matrix(x, last)
    block_rows, block_cols = config.tile(rows, cols)
    tiles = min(config.SUM_TILES, triton.cdiv(rows, block_rows)) if with_noise or last else 1
    groups, blocks = triton.cdiv(rows, block_rows * tiles), triton.cdiv(cols, block_cols)
    by_row = tensors.new(scale, 1, samples * rows, blocks) if with_noise or not last else scale
    by_col = tensors.new(scale, groups, samples * cols, 1) if with_noise or last else scale
    with torch.cuda.device_of(x):
        scale_grad_kernel[(samples * groups * blocks,)](
            tensors.in_layout_of(grad_y, x), x, scale.contiguous(), grad_x, by_row, by_col,
            samples, rows, cols, LAST=last, NOISE=with_noise, TILES=tiles,
            ACC=tensors.accumulator(x), BLOCK_ROWS=block_rows, BLOCK_COLS=block_cols,
            num_warps=config.warps(),
        )  # fmt: skip
    reduction.sum_partials(by_col if last else by_row, grad_scale)
    if with_noise:
        reduction.sum_partials(by_row if last else by_col, grad_noise)
    return grad_x, grad_scale, grad_noise
