"""spectral_norm in Triton: power iteration as products with partial sums, and its gradient.

A dense weight is seen as [outer, rows, inner] in the order in which it lies: everything that steps
slower than `dim`, `dim`, everything that steps faster. A column is a pair (outer, inner). Nothing
waits for the GPU: sigma stays on the device.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastgan.kernels import config, reduction, tensors


@triton.jit
def _columns(block, rows, inner, SPLIT: tl.constexpr, BLOCK_COLS: tl.constexpr):
    """Numbers of a block of columns, and where they lie in memory."""
    col = block.to(tl.int64) * BLOCK_COLS + tl.arange(0, BLOCK_COLS)
    place = col // inner * (inner * rows) + col % inner if SPLIT else col
    return col, place


@triton.jit
def product_kernel(
    w_ptr, vector_ptr, parts_ptr, rows, cols, inner,
    TRANSPOSED: tl.constexpr, SPLIT: tl.constexpr, TILES: tl.constexpr, ACC: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr,
):  # fmt: skip
    """Partial sums of W^T u, [groups, cols] (TRANSPOSED), or of W v, [rows, blocks]."""
    blocks = tl.cdiv(cols, BLOCK_COLS)
    group, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    col, place = _columns(block, rows, inner, SPLIT, BLOCK_COLS)
    total = tl.zeros((BLOCK_ROWS, BLOCK_COLS), dtype=ACC)
    if not TRANSPOSED:
        v = tl.load(vector_ptr + col, mask=col < cols, other=0.0)
    for step in range(TILES):
        row = (group.to(tl.int64) * TILES + step) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
        mask = (row < rows)[:, None] & (col < cols)[None, :]
        offset = row[:, None] * inner + place[None, :]
        w = tl.load(w_ptr + offset, mask=mask, other=0.0).to(ACC)
        if TRANSPOSED:
            u = tl.load(vector_ptr + row, mask=row < rows, other=0.0)
            total += tl.where(mask, w * u[:, None], 0.0)
        else:
            sums = tl.sum(tl.where(mask, w * v[None, :], 0.0), 1)
            tl.store(parts_ptr + row * blocks + block, sums, mask=row < rows)
    if TRANSPOSED:
        tl.store(parts_ptr + group.to(tl.int64) * cols + col, tl.sum(total, 0), mask=col < cols)


@triton.jit
def normalize_kernel(
    x_ptr, out_ptr, sigma_ptr, size, eps: tl.float64, ACC: tl.constexpr, STEP: tl.constexpr
):
    """out = x / max(|x|, eps), in one program; sigma = |x|^2 / max(|x|, eps)."""
    total = tl.zeros((STEP,), dtype=ACC)
    for first in range(0, size, STEP):
        i = first + tl.arange(0, STEP)
        x = tl.load(x_ptr + i, mask=i < size, other=0.0)
        total += x * x
    squared = tl.sum(total, 0)
    norm = tl.sqrt(squared)
    floor = tl.full((), eps, ACC)
    divisor = tl.where(norm < floor, floor, norm)  # NaN stays NaN
    tl.store(sigma_ptr, squared / divisor)
    for first in range(0, size, STEP):
        i = first + tl.arange(0, STEP)
        x = tl.load(x_ptr + i, mask=i < size, other=0.0)
        tl.store(out_ptr + i, x / divisor, mask=i < size)


@triton.jit
def divide_kernel(w_ptr, sigma_ptr, out_ptr, size, ACC: tl.constexpr, BLOCK: tl.constexpr):
    """out = w / sigma."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    w = tl.load(w_ptr + i, mask=i < size, other=0.0).to(ACC)
    quotient = w / tl.load(sigma_ptr)
    tl.store(out_ptr + i, quotient.to(out_ptr.dtype.element_ty), mask=i < size)


@triton.jit
def dot_kernel(a_ptr, b_ptr, parts_ptr, size, tiles, ACC: tl.constexpr, BLOCK: tl.constexpr):
    """Partial sums of <a, b> over `tiles` blocks, one per program. Their number is no constant:
    the loop would be unrolled, with more loads under way than there are registers."""
    first = tl.program_id(0).to(tl.int64) * BLOCK * tiles
    total = tl.zeros((BLOCK,), dtype=ACC)
    for step in range(tiles):
        i = first + step * BLOCK + tl.arange(0, BLOCK)
        a = tl.load(a_ptr + i, mask=i < size, other=0.0).to(ACC)
        total += a * tl.load(b_ptr + i, mask=i < size, other=0.0).to(ACC)
    tl.store(parts_ptr + tl.program_id(0), tl.sum(total, 0))


@triton.jit
def grad_kernel(
    g_ptr, grad_sigma_ptr, dot_ptr, sigma_ptr, u_ptr, v_ptr, out_ptr, rows, cols, inner,
    SPLIT: tl.constexpr, ACC: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLS: tl.constexpr,
):  # fmt: skip
    """out = g / sigma + (grad_sigma - dot / sigma^2) u v^T for one tile."""
    blocks = tl.cdiv(cols, BLOCK_COLS)
    group, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    col, place = _columns(block, rows, inner, SPLIT, BLOCK_COLS)
    row = group.to(tl.int64) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    mask = (row < rows)[:, None] & (col < cols)[None, :]
    offset = row[:, None] * inner + place[None, :]
    sigma = tl.load(sigma_ptr).to(ACC)
    factor = tl.load(grad_sigma_ptr).to(ACC) - tl.load(dot_ptr) / sigma / sigma
    u = tl.load(u_ptr + row, mask=row < rows, other=0.0).to(ACC) * factor
    v = tl.load(v_ptr + col, mask=col < cols, other=0.0).to(ACC)
    g = tl.load(g_ptr + offset, mask=mask, other=0.0).to(ACC)
    out = g / sigma + u[:, None] * v[None, :]
    tl.store(out_ptr + offset, out.to(out_ptr.dtype.element_ty), mask=mask)


class Matrix(NamedTuple):
    """A dense weight in memory order; cols = outer * inner."""

    outer: int
    rows: int
    inner: int

    @property
    def cols(self) -> int:
        """Columns of the matrix."""
        return self.outer * self.inner


def _matrix(w: Tensor, dim: int) -> Matrix:
    rows = w.shape[dim]
    cols = w.numel() // max(rows, 1)
    if rows <= 1 or cols == 0:
        return Matrix(1, rows, cols)
    return Matrix(cols // w.stride(dim), rows, w.stride(dim))


def _memory_order(w: Tensor, dim: int) -> list[int]:
    """The dimensions but `dim`, slowest first, as positions among themselves."""
    others = [d for d in range(w.ndim) if d != dim]
    return sorted(range(len(others)), key=lambda i: -w.stride(others[i]))


def _sizes(w: Tensor, dim: int) -> list[int]:
    return [size for d, size in enumerate(w.shape) if d != dim]


def _to_memory(v: Tensor, w: Tensor, dim: int) -> Tensor:
    """A vector over the columns, from logical order to memory order."""
    order = _memory_order(w, dim)
    return v.reshape(_sizes(w, dim)).permute(order).reshape(-1) if order else v.reshape(-1)


def _to_logical(v: Tensor, w: Tensor, dim: int) -> Tensor:
    """The inverse of `_to_memory`."""
    order = _memory_order(w, dim)
    if not order:
        return v
    sizes = _sizes(w, dim)
    inverse = sorted(range(len(order)), key=order.__getitem__)
    return v.reshape([sizes[i] for i in order]).permute(inverse).reshape(-1)


def _product(w: Tensor, vector: Tensor, m: Matrix, transposed: bool) -> Tensor:
    """W^T u in memory order of the columns, or W v."""
    block_rows, block_cols = config.tile(m.rows, m.cols)
    tiles = min(config.SUM_TILES, triton.cdiv(m.rows, block_rows)) if transposed else 1
    groups, blocks = triton.cdiv(m.rows, block_rows * tiles), triton.cdiv(m.cols, block_cols)
    length = m.cols if transposed else m.rows
    parts = tensors.new(vector, *((groups, length, 1) if transposed else (1, length, blocks)))
    out = tensors.new(vector, length)
    with torch.cuda.device_of(w):
        product_kernel[(groups * blocks,)](
            w, vector, parts, m.rows, m.cols, m.inner, TRANSPOSED=transposed, SPLIT=m.outer > 1,
            TILES=tiles, ACC=tensors.accumulator(w), BLOCK_ROWS=block_rows, BLOCK_COLS=block_cols,
            num_warps=config.warps(),
        )  # fmt: skip
    reduction.sum_partials(parts, out)
    return out


def _normalize(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """(x / max(|x|, eps), the dot product of x with that)."""
    out, sigma = tensors.new(x, x.numel()), tensors.new(x, 1)
    step = min(config.VECTOR_STEP, config.power_of_two(x.numel()))
    with torch.cuda.device_of(x):
        normalize_kernel[(1,)](
            x, out, sigma, x.numel(), eps, ACC=tensors.accumulator(x), STEP=step,
            num_warps=config.warps(),
        )  # fmt: skip
    return out, sigma


def spectral_norm(weight: Tensor, u: Tensor, n_power_iterations: int, eps: float,
                  dim: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """(weight / sigma, sigma, u, v) after power iteration with W = weight, [rows, cols]: each
    v = normalize(W^T u), u = normalize(W v); without any, one v and the same u."""
    w = tensors.dense(weight)
    m = _matrix(w, dim)
    out = tensors.result_like(w)
    if w.numel() == 0:
        after = u.clone() if n_power_iterations == 0 else torch.zeros_like(u)
        return out, w.new_zeros(()), after, w.new_zeros(_count(w, dim))
    u_wide = u.to(tensors.compute_dtype(w)).contiguous()
    v, sigma = _normalize(
        _product(w, u_wide, m, True), eps
    )  # u^T W v is (W^T u) . v: no second pass over W
    for iteration in range(n_power_iterations):
        if iteration > 0:
            v, _ = _normalize(_product(w, u_wide, m, True), eps)
        u_wide, sigma = _normalize(_product(w, v, m, False), eps)  # u^T W v is u . (W v)
    block = min(config.TILE_ELEMENTS, config.power_of_two(w.numel()))
    with torch.cuda.device_of(w):
        divide_kernel[(triton.cdiv(w.numel(), block),)](
            w, sigma, out, w.numel(), ACC=tensors.accumulator(w), BLOCK=block,
            num_warps=config.warps(),
        )  # fmt: skip
    u_new = tensors.new(w, m.rows).copy_(u_wide)
    v_new = tensors.new(w, m.cols).copy_(_to_logical(v, w, dim))
    return out, tensors.new(w).copy_(sigma.reshape(())), u_new, v_new


def _count(w: Tensor, dim: int) -> int:
    count = 1
    for size in _sizes(w, dim):
        count *= size
    return count


def spectral_norm_grad(grad_normalized: Tensor, grad_sigma: Tensor, weight: Tensor, sigma: Tensor,
                       u: Tensor, v: Tensor, dim: int) -> Tensor:  # fmt: skip
    """grad / sigma + (grad_sigma - <grad, W> / sigma^2) u v^T, in the layout of weight."""
    w = tensors.dense(weight)
    out = tensors.result_like(w)
    if w.numel() == 0:
        return out
    g, m = tensors.in_layout_of(grad_normalized, w), _matrix(w, dim)
    acc, size = tensors.accumulator(w), w.numel()
    block = min(config.TILE_ELEMENTS, config.power_of_two(size))
    tiles = min(config.SUM_TILES, triton.cdiv(size, block))
    programs = triton.cdiv(size, block * tiles)
    parts = tensors.new(w, programs, 1, 1, dtype=tensors.compute_dtype(w))
    dot = tensors.new(parts, 1)
    block_rows, block_cols = config.tile(m.rows, m.cols)
    grid = triton.cdiv(m.rows, block_rows) * triton.cdiv(m.cols, block_cols)
    with torch.cuda.device_of(w):
        dot_kernel[(programs,)](
            g, w, parts, size, tiles, ACC=acc, BLOCK=block, num_warps=config.warps()
        )
        reduction.sum_partials(parts, dot)
        grad_kernel[(grid,)](
            g, grad_sigma.contiguous(), dot, sigma.contiguous(), u.contiguous(),
            _to_memory(v, w, dim).contiguous(), out, m.rows, m.cols, m.inner, SPLIT=m.outer > 1,
            ACC=acc, BLOCK_ROWS=block_rows, BLOCK_COLS=block_cols, num_warps=config.warps(),
        )  # fmt: skip
    return out
