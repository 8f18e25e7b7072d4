"""noise_bias_act in Triton: the value. Its gradients are those of bias_act.

A sample is seen as a matrix in the order in which it lies: channels by pixels (planar) or pixels
by channels (channels_last, LAST).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels import config, tensors
from fastgan.kernels.bias_act import activate, activation


@triton.jit
def noise_bias_act_kernel(
    x_ptr, noise_ptr, bias_ptr, y_ptr, rows, cols, noise_step,
    alpha: tl.float64, scale: tl.float64, gain: tl.float64, limit: tl.float64,
    ACT: tl.constexpr, LAST: tl.constexpr, NOISE: tl.constexpr, BIAS: tl.constexpr,
    TERMS: tl.constexpr, ACC: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr,
):  # fmt: skip
    """clamp(gain act(x + noise + bias)) for one tile of one sample. The noise of a sample begins
    noise_step elements after that of the one before: 0 where all have the same. A limit of NaN is
    no limit: every comparison with it is false."""
    blocks = tl.cdiv(cols, BLOCK_COLS)
    tiles = blocks * tl.cdiv(rows, BLOCK_ROWS)
    sample, tile = (tl.program_id(0) // tiles).to(tl.int64), tl.program_id(0) % tiles
    row = tile // blocks * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    col = tile % blocks * BLOCK_COLS + tl.arange(0, BLOCK_COLS)
    mask = (row < rows)[:, None] & (col < cols)[None, :]
    offset = (sample * rows + row[:, None]) * cols + col[None, :]
    alpha, scale = tl.full((), alpha, ACC), tl.full((), scale, ACC)
    gain, limit = tl.full((), gain, ACC), tl.full((), limit, ACC)
    v = tl.load(x_ptr + offset, mask=mask, other=0.0).to(ACC)
    if NOISE:
        place = noise_ptr + sample * noise_step
        if LAST:
            v += tl.load(place + row, mask=row < rows, other=0.0)[:, None]
        else:
            v += tl.load(place + col, mask=col < cols, other=0.0)[None, :]
    if BIAS:
        if LAST:
            v += tl.load(bias_ptr + col, mask=col < cols, other=0.0).to(ACC)[None, :]
        else:
            v += tl.load(bias_ptr + row, mask=row < rows, other=0.0).to(ACC)[:, None]
    y = gain * activate(v, alpha, scale, ACT, TERMS)
    floored = tl.where(y < -limit, -limit, y)
    result = tl.where(floored > limit, limit, floored)
    tl.store(y_ptr + offset, result.to(y_ptr.dtype.element_ty), mask=mask)


def noise_bias_act(x: Tensor, noise: Tensor | None, bias: Tensor | None, act: str, alpha: float,
                   gain: float, clamp: float) -> Tensor:  # fmt: skip
    """y = clamp(gain * act(x + noise + bias)) of images, in their layout; a negative clamp is none.

    noise [N or 1, 1, H, W] is of the dtype that x is computed in.
    """
    x = tensors.image(x)
    y = tensors.result_like(x)
    if x.numel() == 0:
        return y
    last = tensors.is_channels_last(x)
    channels, pixels = x.shape[1], x.shape[2] * x.shape[3]
    rows, cols = (pixels, channels) if last else (channels, pixels)
    block_rows, block_cols = config.noise_tile(rows, cols, last)
    name, alpha, scale = activation(act, alpha)
    acc = tensors.accumulator(x)
    with torch.cuda.device_of(x):
        noise_bias_act_kernel[
            (x.shape[0] * triton.cdiv(rows, block_rows) * triton.cdiv(cols, block_cols),)
        ](
            x, x if noise is None else noise.contiguous(), x if bias is None else bias.contiguous(),
            y, rows, cols, pixels if noise is not None and noise.shape[0] > 1 else 0,
            alpha, scale, gain, float("nan") if clamp < 0 else clamp,
            ACT=name, LAST=last, NOISE=noise is not None, BIAS=bias is not None,
            TERMS=17 if acc == tl.float64 else 8, ACC=acc, BLOCK_ROWS=block_rows,
            BLOCK_COLS=block_cols, num_warps=config.warps(),
        )  # fmt: skip
    return y
