"""normalize_act in Triton: value and first gradient, two launches each.

Images are contiguous: a matrix of one row for each sample and channel. Statistics are one program's
sums over a group of rows, in one order; few large groups ("layer" on large images) leave much of a
GPU idle.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels import config, tensors
from fastgan.kernels.bias_act import _slope, activate, activation


@triton.jit
def moments_kernel(
    x_ptr, mean_ptr, var_ptr, outer, groups, inner,
    ACC: tl.constexpr, BLOCK_GROUPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Mean and biased variance over the outer and inner of x [outer, groups, inner].

    Every lane follows the mean of what it has seen, so that no digits are lost far from zero.
    """
    group = tl.program_id(0) * BLOCK_GROUPS + tl.arange(0, BLOCK_GROUPS)
    start = x_ptr + group.to(tl.int64) * inner
    pivot = tl.load(start, mask=group < groups, other=0.0).to(ACC)
    size = tl.full((), inner, tl.int64)
    count = size * outer
    seen = tl.zeros((BLOCK_GROUPS, BLOCK), dtype=ACC)
    mean = tl.zeros((BLOCK_GROUPS, BLOCK), dtype=ACC)
    squares = tl.zeros((BLOCK_GROUPS, BLOCK), dtype=ACC)
    for first in range(0, count, BLOCK):
        k = first + tl.arange(0, BLOCK)
        offset = k // inner * (size * groups) + k % inner
        mask = (group < groups)[:, None] & (k < count)[None, :]
        x = tl.load(start[:, None] + offset[None, :], mask=mask, other=0.0).to(ACC)
        seen += tl.where(mask, 1.0, 0.0).to(ACC)
        apart = tl.where(mask, x - mean, 0.0)
        mean += apart / tl.where(seen > 0, seen, 1.0)
        squares += apart * tl.where(mask, x - mean, 0.0)
    total = pivot + tl.sum(seen * (mean - pivot[:, None]), 1) / count
    apart = mean - total[:, None]
    variance = tl.sum(squares + seen * apart * apart, 1) / count
    tl.store(mean_ptr + group, total, mask=group < groups)
    tl.store(var_ptr + group, variance, mask=group < groups)


@triton.jit
def _row(row, mask, channels, mean_ptr, var_ptr, weight_ptr, bias_ptr, eps,
         STATS: tl.constexpr, WEIGHT: tl.constexpr, BIAS: tl.constexpr,
         ACC: tl.constexpr):  # fmt: skip
    """(mean, 1 / deviation, weight, bias) of rows, as columns. WEIGHT and BIAS: "none", "channel"
    or "row", which is per sample and channel."""
    group = row
    if STATS == "batch":
        group = row % channels
    elif STATS == "layer":
        group = row // channels
    mean = tl.load(mean_ptr + group, mask=mask, other=0.0)
    deviation = tl.sqrt(tl.load(var_ptr + group, mask=mask, other=1.0) + tl.full((), eps, ACC))
    weight = _parameter(weight_ptr, row, mask, channels, WEIGHT, 1.0, ACC)
    bias = _parameter(bias_ptr, row, mask, channels, BIAS, 0.0, ACC)
    return mean[:, None], 1.0 / deviation[:, None], weight[:, None], bias[:, None]


@triton.jit
def _parameter(ptr, row, mask, channels, KIND: tl.constexpr, DEFAULT: tl.constexpr,
               ACC: tl.constexpr):  # fmt: skip
    if KIND == "none":
        return tl.full(row.shape, DEFAULT, ACC)
    elif KIND == "channel":
        return tl.load(ptr + row % channels, mask=mask, other=0.0)
    else:
        return tl.load(ptr + row, mask=mask, other=0.0)


@triton.jit
def _through(v, g, alpha, scale, gain, limit, ACT: tl.constexpr, TERMS: tl.constexpr):
    """The gradient before the activation, from the one behind the clamp."""
    y = gain * activate(v, alpha, scale, ACT, TERMS)
    slope = gain * _slope(v, alpha, scale, ACT, TERMS)
    return g * tl.where((y >= limit) | (y <= -limit), 0.0, slope)


@triton.jit
def normalize_act_kernel(
    x_ptr, mean_ptr, var_ptr, weight_ptr, bias_ptr, y_ptr, rows, cols, channels, eps: tl.float64,
    alpha: tl.float64, scale: tl.float64, gain: tl.float64, limit: tl.float64,
    STATS: tl.constexpr, WEIGHT: tl.constexpr, BIAS: tl.constexpr, ACT: tl.constexpr,
    TERMS: tl.constexpr, ACC: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr,
):  # fmt: skip
    """y for one tile. A limit of NaN is no limit: every comparison with it is false."""
    blocks = tl.cdiv(cols, BLOCK_COLS)
    row = tl.program_id(0) // blocks * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    col = tl.program_id(0) % blocks * BLOCK_COLS + tl.arange(0, BLOCK_COLS)
    alpha, scale = tl.full((), alpha, ACC), tl.full((), scale, ACC)
    gain, limit = tl.full((), gain, ACC), tl.full((), limit, ACC)
    mask = (row < rows)[:, None] & (col < cols)[None, :]
    offset = row.to(tl.int64)[:, None] * cols + col[None, :]
    mean, inverse, weight, bias = _row(
        row, row < rows, channels, mean_ptr, var_ptr, weight_ptr, bias_ptr, eps, STATS, WEIGHT,
        BIAS, ACC,
    )  # fmt: skip
    x = tl.load(x_ptr + offset, mask=mask, other=0.0).to(ACC)
    y = gain * activate((x - mean) * inverse * weight + bias, alpha, scale, ACT, TERMS)
    floored = tl.where(y < -limit, -limit, y)
    result = tl.where(floored > limit, limit, floored)
    tl.store(y_ptr + offset, result.to(y_ptr.dtype.element_ty), mask=mask)


@triton.jit
def row_sums_kernel(
    g_ptr, x_ptr, mean_ptr, var_ptr, weight_ptr, bias_ptr, to_weight_ptr, to_bias_ptr,
    rows, cols, channels, eps: tl.float64,
    alpha: tl.float64, scale: tl.float64, gain: tl.float64, limit: tl.float64,
    STATS: tl.constexpr, WEIGHT: tl.constexpr, BIAS: tl.constexpr, ACT: tl.constexpr,
    TERMS: tl.constexpr, ACC: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr,
):  # fmt: skip
    """The gradients of bias and weight for each row: sums of the gradient before the activation,
    alone and times the normalised x."""
    row = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    alpha, scale = tl.full((), alpha, ACC), tl.full((), scale, ACC)
    gain, limit = tl.full((), gain, ACC), tl.full((), limit, ACC)
    mean, inverse, weight, bias = _row(
        row, row < rows, channels, mean_ptr, var_ptr, weight_ptr, bias_ptr, eps, STATS, WEIGHT,
        BIAS, ACC,
    )  # fmt: skip
    to_weight = tl.zeros((BLOCK_ROWS, BLOCK_COLS), dtype=ACC)
    to_bias = tl.zeros((BLOCK_ROWS, BLOCK_COLS), dtype=ACC)
    for first in range(0, cols, BLOCK_COLS):
        col = first + tl.arange(0, BLOCK_COLS)
        mask = (row < rows)[:, None] & (col < cols)[None, :]
        offset = row.to(tl.int64)[:, None] * cols + col[None, :]
        z = (tl.load(x_ptr + offset, mask=mask, other=0.0).to(ACC) - mean) * inverse
        g = tl.load(g_ptr + offset, mask=mask, other=0.0).to(ACC)
        g = _through(z * weight + bias, g, alpha, scale, gain, limit, ACT, TERMS)
        g = tl.where(mask, g, 0.0)
        to_bias += g
        to_weight += g * z
    tl.store(to_bias_ptr + row, tl.sum(to_bias, 1), mask=row < rows)
    tl.store(to_weight_ptr + row, tl.sum(to_weight, 1), mask=row < rows)


@triton.jit
def normalize_act_grad_kernel(
    g_ptr, x_ptr, mean_ptr, var_ptr, weight_ptr, bias_ptr, to_weight_ptr, to_bias_ptr, out_ptr,
    rows, cols, channels, members, eps: tl.float64,
    alpha: tl.float64, scale: tl.float64, gain: tl.float64, limit: tl.float64,
    RUNNING: tl.constexpr, STATS: tl.constexpr, WEIGHT: tl.constexpr, BIAS: tl.constexpr,
    ACT: tl.constexpr, TERMS: tl.constexpr, ACC: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr,
):  # fmt: skip
    """grad_x for one tile: (g w - mean(g w) - z mean(g w z)) / deviation, with the means over the
    group of `members` rows that shares the statistics. RUNNING statistics are constants."""
    blocks = tl.cdiv(cols, BLOCK_COLS)
    row = tl.program_id(0) // blocks * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    col = tl.program_id(0) % blocks * BLOCK_COLS + tl.arange(0, BLOCK_COLS)
    alpha, scale = tl.full((), alpha, ACC), tl.full((), scale, ACC)
    gain, limit = tl.full((), gain, ACC), tl.full((), limit, ACC)
    mask = (row < rows)[:, None] & (col < cols)[None, :]
    offset = row.to(tl.int64)[:, None] * cols + col[None, :]
    mean, inverse, weight, bias = _row(
        row, row < rows, channels, mean_ptr, var_ptr, weight_ptr, bias_ptr, eps, STATS, WEIGHT,
        BIAS, ACC,
    )  # fmt: skip
    z = (tl.load(x_ptr + offset, mask=mask, other=0.0).to(ACC) - mean) * inverse
    g = tl.load(g_ptr + offset, mask=mask, other=0.0).to(ACC)
    g = weight * _through(z * weight + bias, g, alpha, scale, gain, limit, ACT, TERMS)
    if not RUNNING:
        along = tl.zeros((BLOCK_ROWS,), dtype=ACC)
        alone = tl.zeros((BLOCK_ROWS,), dtype=ACC)
        for m in range(members):
            other = row
            if STATS == "batch":
                other = m * channels + row % channels
            elif STATS == "layer":
                other = row // channels * channels + m
            factor = _parameter(weight_ptr, other, row < rows, channels, WEIGHT, 1.0, ACC)
            along += factor * tl.load(to_weight_ptr + other, mask=row < rows, other=0.0)
            alone += factor * tl.load(to_bias_ptr + other, mask=row < rows, other=0.0)
        count = tl.full((), cols, tl.int64) * members
        g -= alone[:, None] / count + z * (along[:, None] / count)
    tl.store(out_ptr + offset, (g * inverse).to(out_ptr.dtype.element_ty), mask=mask)


def _groups(x: Tensor, stats: str) -> tuple[int, int, int]:
    """x as [outer, groups, inner], of which statistics are taken over outer and inner."""
    samples, channels, height, width = x.shape
    if stats == "instance":
        return 1, samples * channels, height * width
    if stats == "batch":
        return samples, channels, height * width
    return 1, samples, channels * height * width


def _kind(parameter: Tensor | None) -> str:
    return "none" if parameter is None else ("channel", "row")[parameter.ndim - 1]


def _like(result: Tensor, x: Tensor) -> Tensor:
    """A contiguous result in the memory format that torch.empty_like gives x."""
    return tensors.in_layout_of(result, torch.empty_like(x))


def _settings(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, stats: str, act: str
) -> dict[str, Any]:
    """The constants that all kernels but moments_kernel have."""
    return {
        "STATS": stats, "WEIGHT": _kind(weight), "BIAS": _kind(bias), "ACT": act,
        "TERMS": 17 if x.dtype == torch.float64 else 8, "ACC": tensors.accumulator(x),
        "num_warps": config.warps(),
    }  # fmt: skip


def normalize_act(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor | None, var: Tensor | None,
    stats: str, eps: float, act: str, alpha: float, gain: float, clamp: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """(y, mean, variance), the last two empty where they were given; a negative clamp is none.

    weight, bias, mean and var are of the dtype that x is computed in.
    """
    images = x.contiguous()
    y = tensors.new(images, *x.shape)
    outer, groups, inner = _groups(x, stats)
    dtype = tensors.compute_dtype(x)
    found = [tensors.new(x, groups if mean is None else 0, dtype=dtype) for _ in range(2)]
    if x.numel() == 0:
        return _like(y, x), *(t.zero_() for t in found)
    settings = _settings(x, weight, bias, stats, activation(act, alpha)[0])
    if mean is None or var is None:
        mean, var = found
        block_groups, block = config.tile(groups, outer * inner)
        with torch.cuda.device_of(x):
            moments_kernel[(triton.cdiv(groups, block_groups),)](
                images, mean, var, outer, groups, inner, ACC=settings["ACC"],
                BLOCK_GROUPS=block_groups, BLOCK=block, num_warps=config.warps(),
            )  # fmt: skip
    rows, cols = x.shape[0] * x.shape[1], x.shape[2] * x.shape[3]
    block_rows, block_cols = config.tile(rows, cols)
    _, alpha, scale = activation(act, alpha)
    weight, bias = (images if t is None else t.contiguous() for t in (weight, bias))
    with torch.cuda.device_of(x):
        normalize_act_kernel[(triton.cdiv(rows, block_rows) * triton.cdiv(cols, block_cols),)](
            images, mean.contiguous(), var.contiguous(), weight, bias, y, rows, cols, x.shape[1],
            eps, alpha, scale, gain, float("nan") if clamp < 0 else clamp,
            BLOCK_ROWS=block_rows, BLOCK_COLS=block_cols, **settings,
        )  # fmt: skip
    return _like(y, x), *found


def normalize_act_grad(
    grad_y: Tensor, x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor,
    var: Tensor, running: bool, stats: str, eps: float, act: str, alpha: float, gain: float,
    clamp: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The gradients in x, and per sample and channel in weight and bias."""
    images, grad_y = x.contiguous(), grad_y.contiguous()
    samples, channels, height, width = x.shape
    grad_x = tensors.new(images, *x.shape)
    to_weight, to_bias = (tensors.new(mean, samples, channels) for _ in range(2))
    if x.numel() == 0:
        return _like(grad_x, x), to_weight.zero_(), to_bias.zero_()
    name, alpha, scale = activation(act, alpha)
    settings = _settings(x, weight, bias, stats, name)
    rows, cols = samples * channels, height * width
    block_rows, block_cols = config.tile(rows, cols)
    settings |= {"BLOCK_ROWS": block_rows, "BLOCK_COLS": block_cols}
    weight, bias = (images if t is None else t.contiguous() for t in (weight, bias))
    inputs = (grad_y, images, mean.contiguous(), var.contiguous(), weight, bias)
    numbers = (eps, alpha, scale, gain, float("nan") if clamp < 0 else clamp)
    programs = triton.cdiv(rows, block_rows)
    with torch.cuda.device_of(x):
        row_sums_kernel[(programs,)](
            *inputs, to_weight, to_bias, rows, cols, channels, *numbers, **settings
        )
        normalize_act_grad_kernel[(programs * triton.cdiv(cols, block_cols),)](
            *inputs, to_weight, to_bias, grad_x, rows, cols, channels,
            rows // _groups(x, stats)[1], *numbers, RUNNING=running, **settings,
        )  # fmt: skip
    return _like(grad_x, x), to_weight, to_bias
