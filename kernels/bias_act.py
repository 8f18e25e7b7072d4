"""bias_act in Triton: value, first gradient, gradient from the output, second gradient.

Memory is seen as a matrix in the order in which it lies: rows of one channel (planar), or rows of
all channels (channels_last). Channel sums are partial sums per tile, added by `reduction`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels import config, reduction, tensors

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


@triton.jit
def _expm1(v, TERMS: tl.constexpr):
    """e^v - 1 for v <= 0, by its series near zero, where the difference would cancel."""
    series = tl.zeros_like(v) + 1.0
    for i in tl.static_range(TERMS):
        series = 1.0 + v * series * (1.0 / (TERMS + 1 - i))
    return tl.where(v > -0.5, v * series, tl.exp(v) - 1.0)


@triton.jit
def _tanh(v, TERMS: tl.constexpr):
    e = _expm1(-2.0 * tl.abs(v), TERMS)
    t = -e / (e + 2.0)
    return tl.where(v < 0, -t, t)


@triton.jit
def _sigmoid(v):
    return 1.0 / (1.0 + tl.exp(-v))


@triton.jit
def _softplus(v, TERMS: tl.constexpr):
    """max(v, 0) + log1p(e^-|v|), with log1p(e) = 2 artanh(e / (2 + e)) as a series."""
    e = tl.exp(-tl.abs(v))
    s = e / (2.0 + e)
    series = tl.zeros_like(v)
    for i in tl.static_range(TERMS):
        series = series * (s * s) + 1.0 / (2 * (TERMS - 1 - i) + 1)
    # Linear above 20, as torch has it.
    return tl.where(v > 20.0, v, tl.where(v > 0, v, 0.0) + 2.0 * s * series)


@triton.jit
def activate(v, alpha, scale, ACT: tl.constexpr, TERMS: tl.constexpr):
    """act(v). "piecewise" is linear (alpha 1) and lrelu; "elu" is elu and selu."""
    if ACT == "piecewise":
        return tl.where(v > 0, v, v * alpha)
    elif ACT == "relu":
        return tl.where(v <= 0, 0.0, v)  # a NaN passes
    elif ACT == "tanh":
        return _tanh(v, TERMS)
    elif ACT == "sigmoid":
        return _sigmoid(v)
    elif ACT == "elu":
        return scale * tl.where(v > 0, v, alpha * _expm1(tl.where(v > 0, 0.0, v), TERMS))
    elif ACT == "softplus":
        return _softplus(v, TERMS)
    else:
        tl.static_assert(ACT == "swish")
        return v * _sigmoid(v)


@triton.jit
def _slope(v, alpha, scale, ACT: tl.constexpr, TERMS: tl.constexpr):
    """act'(v)."""
    if ACT == "piecewise":
        return tl.where(v > 0, 1.0, alpha)
    elif ACT == "relu":
        return tl.where(v > 0, 1.0, 0.0)
    elif ACT == "tanh":
        t = _tanh(v, TERMS)
        return 1.0 - t * t
    elif ACT == "sigmoid":
        s = _sigmoid(v)
        return s * (1.0 - s)
    elif ACT == "elu":
        return scale * tl.where(v > 0, 1.0, alpha * tl.exp(tl.where(v > 0, 0.0, v)))
    elif ACT == "softplus":
        return tl.where(v > 20.0, 1.0, _sigmoid(v))
    else:
        tl.static_assert(ACT == "swish")
        s = _sigmoid(v)
        return s * (1.0 + v * (1.0 - s))


@triton.jit
def _curve(v, alpha, scale, ACT: tl.constexpr, TERMS: tl.constexpr):
    """act''(v)."""
    if ACT == "piecewise" or ACT == "relu":
        return tl.zeros_like(v)
    elif ACT == "tanh":
        t = _tanh(v, TERMS)
        return (1.0 - t * t) * (-2.0 * t)
    elif ACT == "sigmoid":
        s = _sigmoid(v)
        return s * (1.0 - s) * (1.0 - 2.0 * s)
    elif ACT == "elu":
        return scale * tl.where(v > 0, 0.0, alpha * tl.exp(tl.where(v > 0, 0.0, v)))
    elif ACT == "softplus":
        s = _sigmoid(v)
        return tl.where(v > 20.0, 0.0, s * (1.0 - s))
    else:
        tl.static_assert(ACT == "swish")
        s = _sigmoid(v)
        return s * (1.0 - s) * (2.0 + v * (1.0 - 2.0 * s))


@triton.jit
def bias_act_kernel(
    source_ptr, g_ptr, h_ptr, bias_ptr, out_ptr, sums_ptr, rows, cols, channels,
    alpha: tl.float64, scale: tl.float64, gain: tl.float64, limit: tl.float64,
    PASS: tl.constexpr, ACT: tl.constexpr, ALONG: tl.constexpr, HAS_BIAS: tl.constexpr,
    SUM: tl.constexpr, TILES: tl.constexpr, TERMS: tl.constexpr, ACC: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr,
):  # fmt: skip
    """TILES tiles below each other. ALONG: channels run along the columns, else along the rows.

    PASS: "forward" writes clamp(gain act(source + bias)); "grad" g times its slope; "from_output"
    the same where source is the output; "grad2" g h times its curve. SUM writes sums of the
    result: per row and block of columns, or with ALONG per column and program. A limit of NaN is
    no limit: every comparison with it is false.
    """
    blocks = tl.cdiv(cols, BLOCK_COLS)
    group, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    col = block.to(tl.int64) * BLOCK_COLS + tl.arange(0, BLOCK_COLS)
    first = group.to(tl.int64) * (BLOCK_ROWS * TILES)
    first_channel = (first % channels).to(tl.int32)
    alpha, scale = tl.full((), alpha, ACC), tl.full((), scale, ACC)
    gain, limit = tl.full((), gain, ACC), tl.full((), limit, ACC)
    total = tl.zeros((BLOCK_ROWS, BLOCK_COLS), dtype=ACC)
    for step in range(TILES):
        local = step * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
        row = first + local
        mask = (row < rows)[:, None] & (col < cols)[None, :]
        offset = row[:, None] * cols + col[None, :]
        v = tl.load(source_ptr + offset, mask=mask, other=0.0).to(ACC)
        if HAS_BIAS:
            if ALONG:
                v += tl.load(bias_ptr + col, mask=col < cols, other=0.0).to(ACC)[None, :]
            else:
                v += tl.load(bias_ptr + (first_channel + local) % channels).to(ACC)[:, None]
        if PASS == "from_output":
            y = v
            factor = gain * tl.where(v > 0, 1.0, alpha)
        else:
            y = gain * activate(v, alpha, scale, ACT, TERMS)
            if PASS == "grad":
                factor = gain * _slope(v, alpha, scale, ACT, TERMS)
            elif PASS == "grad2":
                factor = gain * _curve(v, alpha, scale, ACT, TERMS)
        if PASS == "forward":
            floored = tl.where(y < -limit, -limit, y)
            result = tl.where(floored > limit, limit, floored)
        else:
            g = tl.load(g_ptr + offset, mask=mask, other=0.0).to(ACC)
            if PASS == "grad2":
                g *= tl.load(h_ptr + offset, mask=mask, other=0.0).to(ACC)
            result = g * tl.where((y >= limit) | (y <= -limit), 0.0, factor)
        tl.store(out_ptr + offset, result.to(out_ptr.dtype.element_ty), mask=mask)
        if SUM:
            result = tl.where(mask, result, 0.0)
            if ALONG:
                total += result
            else:
                tl.store(sums_ptr + row * blocks + block, tl.sum(result, 1), mask=row < rows)
    if SUM and ALONG:
        place = sums_ptr + group.to(tl.int64) * cols + col
        tl.store(place, tl.sum(total, 0), mask=col < cols)


class View(NamedTuple):
    """A dense tensor as a matrix, and how the channels lie in it."""

    rows: int
    cols: int
    channels: int
    along: bool  # channels run along the columns


def view(x: Tensor, dim: int, per_channel: bool) -> View:
    """The matrix of a dense, non-empty tensor; one row where channels do not matter."""
    channels = x.shape[dim] if x.ndim and per_channel else 1
    if channels == 1:
        return View(1, x.numel(), 1, False)
    inner = x.stride(dim)
    if inner == 1:
        return View(x.numel() // channels, channels, channels, True)
    return View(x.numel() // inner, inner, channels, False)


def activation(act: str, alpha: float) -> tuple[str, float, float]:
    """(kernel's name, alpha, scale) of an activation."""
    if act == "selu":
        return "elu", SELU_ALPHA, SELU_SCALE
    if act == "linear" or act == "elu":
        return ("elu" if act == "elu" else "piecewise"), 1.0, 1.0
    return ("piecewise" if act == "lrelu" else act), alpha, 1.0


def _launch(
    kind: str, source: Tensor, g: Tensor, h: Tensor, bias: Tensor | None, out: Tensor,
    sums: Tensor | None, settings: tuple[int, str, float, float, float],
) -> None:  # fmt: skip
    """Run one pass over dense, non-empty tensors of one layout; `sums` becomes channel sums."""
    dim, act, alpha, gain, clamp = settings
    name, alpha, scale = activation(act, alpha)
    m = view(source, dim, bias is not None or sums is not None)
    block_rows, block_cols = config.tile(m.rows, m.cols)
    tiles = min(config.SUM_TILES, triton.cdiv(m.rows, block_rows)) if sums is not None else 1
    groups, blocks = triton.cdiv(m.rows, block_rows * tiles), triton.cdiv(m.cols, block_cols)
    parts = out
    if sums is not None:
        size = (groups, m.cols, 1) if m.along else (m.rows // m.channels, m.channels, blocks)
        parts = tensors.new(source, *size, dtype=tensors.compute_dtype(source))
    acc = tensors.accumulator(source)
    with torch.cuda.device_of(source):
        bias_act_kernel[(groups * blocks,)](
            source, g, h, source if bias is None else bias, out, parts, m.rows, m.cols,
            m.channels, alpha, scale, gain, float("nan") if clamp < 0 else clamp,
            PASS=kind, ACT=name, ALONG=m.along, HAS_BIAS=bias is not None, SUM=sums is not None,
            TILES=tiles, TERMS=17 if acc == tl.float64 else 8, ACC=acc, BLOCK_ROWS=block_rows,
            BLOCK_COLS=block_cols, num_warps=config.warps(),
        )  # fmt: skip
    if sums is not None:
        reduction.sum_partials(parts, sums)


def bias_act(x: Tensor, bias: Tensor | None, dim: int, act: str, alpha: float, gain: float,
             clamp: float) -> Tensor:  # fmt: skip
    """y = clamp(gain * act(x + bias)), in the layout of x; a negative clamp is none."""
    x = tensors.dense(x)
    y = tensors.result_like(x)
    if x.numel() > 0:
        bias = None if bias is None else bias.contiguous()
        _launch("forward", x, x, x, bias, y, None, (dim, act, alpha, gain, clamp))
    return y


def bias_act_grad(grad_y: Tensor, ref: Tensor, bias: Tensor | None, dim: int, act: str,
                  alpha: float, gain: float, clamp: float, from_output: bool,
                  with_bias: bool) -> tuple[Tensor, Tensor]:  # fmt: skip
    """(grad_y * gain * act' inside the clamp, its sum over each channel or an empty tensor).

    `ref` is the output when `from_output`, else the input.
    """
    ref = tensors.dense(ref)
    grad_x = tensors.result_like(ref)
    sums = tensors.new(ref, ref.shape[dim] if with_bias else 0)
    if ref.numel() == 0:
        return grad_x, sums.zero_()
    bias = None if bias is None or from_output else bias.contiguous()
    kind = "from_output" if from_output else "grad"
    _launch(kind, ref, tensors.in_layout_of(grad_y, ref), ref, bias, grad_x,
            sums if with_bias else None, (dim, act, alpha, gain, clamp))  # fmt: skip
    return grad_x, sums


def bias_act_grad2(grad_grad_x: Tensor, grad_y: Tensor, x: Tensor, bias: Tensor | None, dim: int,
                   act: str, alpha: float, gain: float, clamp: float) -> Tensor:  # fmt: skip
    """grad_grad_x * grad_y * gain * act'' inside the clamp."""
    x = tensors.dense(x)
    out = tensors.result_like(x)
    if x.numel() > 0:
        g, h = (tensors.in_layout_of(t, x) for t in (grad_y, grad_grad_x))
        bias = None if bias is None else bias.contiguous()
        _launch("grad2", x, g, h, bias, out, None, (dim, act, alpha, gain, clamp))
    return out
