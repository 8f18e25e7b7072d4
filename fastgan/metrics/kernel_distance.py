"""Kernel distance of two sets of features: the unbiased MMD^2 with a cubic kernel (KID, KD).

Source: Binkowski et al. 2018, "Demystifying MMD GANs", section 4.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

ROWS = 2048  # of a kernel matrix in memory at a time


class KernelDistance(NamedTuple):
    """Mean and standard deviation of the MMD^2 over subsets. The mean may be negative."""

    mean: float
    std: float


def kernel_distance(
    first: Tensor, second: Tensor, *, subsets: int = 100, subset_size: int = 1000, seed: int = 2020
) -> KernelDistance:
    """Return the unbiased MMD^2, k(x, y) = (x . y / d + 1)^3, over random subsets.

    mmd = sum_{i != j} k(x_i, x_j) / (m (m - 1)) + the same of y - 2 sum_{i, j} k(x_i, y_j) / m^2

    It is computed in float64. The subsets are drawn as torch-fidelity draws them, of `first` and
    then of `second`, so that the same seed gives the same number.

    Args:
        first, second: [N, d] and [M, d].
        subsets: number of subsets of each.
        subset_size: m, from 2 to the smaller of N and M.
        seed: of the subsets.

    Raises: ValueError when the features differ in length or there are fewer than `subset_size`.
    """
    _check(first, second, subsets, subset_size)
    x, y = first.detach().double(), second.detach().double()
    random = np.random.RandomState(seed)
    drawn = [
        (
            random.choice(len(x), subset_size, replace=False),
            random.choice(len(y), subset_size, replace=False),
        )
        for _ in range(subsets)
    ]
    rows_x, rows_y = (torch.from_numpy(np.stack(rows)).to(x.device) for rows in zip(*drawn))  # noqa: B905
    products = 3 * subsets * subset_size**2
    # Every kernel value once, summed for all subsets together, or those of each subset anew.
    whole = len(x) ** 2 + len(y) ** 2 + len(x) * len(y) <= products
    sums = _sums_of_all(x, y, rows_x, rows_y) if whole else _sums_each(x, y, rows_x, rows_y)
    m = subset_size
    mmd = (sums[0] + sums[1]) / (m * (m - 1)) - 2 * sums[2] / m**2
    return KernelDistance(float(mmd.mean()), float(mmd.std(correction=0)))


def _sums_of_all(x: Tensor, y: Tensor, rows_x: Tensor, rows_y: Tensor) -> Tensor:
    """Sums of k over each subset, [3, subsets]: s^T K s with s the 0-1 vector of a subset."""
    s = [torch.zeros(len(rows_x), len(f), dtype=f.dtype, device=f.device) for f in (x, y)]
    s_x, s_y = s[0].scatter_(1, rows_x, 1.0), s[1].scatter_(1, rows_y, 1.0)
    return torch.stack(
        [
            _quadratic(x, x, s_x, s_x) - s_x @ _kernel_of_self(x),
            _quadratic(y, y, s_y, s_y) - s_y @ _kernel_of_self(y),
            _quadratic(x, y, s_x, s_y),
        ]
    )


def _quadratic(a: Tensor, b: Tensor, s_a: Tensor, s_b: Tensor) -> Tensor:
    """Row by row s_a^T k(a, b) s_b, with a part of the kernel matrix in memory."""
    total = torch.zeros(len(s_a), dtype=a.dtype, device=a.device)
    for start in range(0, len(a), ROWS):
        rows = slice(start, start + ROWS)
        total += (s_a[:, rows] * (s_b @ _kernel(b, a[rows]))).sum(dim=1)
    return total


def _sums_each(x: Tensor, y: Tensor, rows_x: Tensor, rows_y: Tensor) -> Tensor:
    """The same sums, subset by subset."""
    sums = []
    for a, b in zip(rows_x, rows_y, strict=True):
        u, v = x[a], y[b]
        off_u = _kernel(u, u).sum() - _kernel_of_self(u).sum()
        off_v = _kernel(v, v).sum() - _kernel_of_self(v).sum()
        sums.append(torch.stack([off_u, off_v, _kernel(u, v).sum()]))
    return torch.stack(sums, dim=1)


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    base = (a @ b.T).div_(a.shape[1]).add_(1.0)
    return base.square().mul_(base)  # pow(3) takes ten times as long


def _kernel_of_self(a: Tensor) -> Tensor:
    return (a.square().sum(dim=1) / a.shape[1] + 1).pow(3)


def _check(first: Tensor, second: Tensor, subsets: int, subset_size: int) -> None:
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise ValueError(
            "kernel_distance: expected features [N, d] and [M, d], got "
            f"{list(first.shape)} and {list(second.shape)}"
        )
    fewest = min(len(first), len(second))
    if subsets < 1 or not 2 <= subset_size <= fewest:
        raise ValueError(
            f"kernel_distance: expected at least 1 subset of 2 to {fewest} vectors, got {subsets} "
            f"of {subset_size}; take more images or smaller subsets"
        )
