"""Distances to nearest neighbours, exact and in parts that fit the memory.

Squared distances come from |a|^2 + |b|^2 - 2 a.b in float64, twenty times faster than differences.
That form is wrong in the last digits, which matters where a distance equals a radius or is 0
(copies, images of few colours); such pairs are computed again from differences.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

ENTRIES = 1 << 23  # of a matrix of distances in memory at a time
ROUNDING = 1e-11  # bound on the error of the product form, relative to |a|^2 + |b|^2


def squared_distances(a: Tensor, b: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yield parts of the matrix of squared distances of a [N, d] and b [M, d].

    Returns: (rows of a, squared distances [rows, M], bound on their error [rows, M]).
    """
    square_a, square_b = a.square().sum(dim=1), b.square().sum(dim=1)
    size = max(1, ENTRIES // max(len(b), 1))
    for start in range(0, len(a), size):
        rows = slice(start, start + size)
        scale = square_a[rows, None] + square_b
        yield rows, torch.addmm(scale, a[rows], b.T, alpha=-2), scale.mul(ROUNDING)


def exact(a: Tensor, b: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return squared distances of the pairs (a[rows], b[columns]) from differences."""
    parts = [
        (a[i] - b[j]).square().sum(dim=-1)
        for i, j in zip(rows.split(1 << 13), columns.split(1 << 13), strict=True)
    ]
    return torch.cat(parts) if parts else a.new_zeros(0)


def nearest(a: Tensor, b: Tensor, k: int = 1, *, same: bool = False) -> tuple[Tensor, Tensor]:
    """Return the squared distances to the k nearest of b, and which they are.

    Args:
        a: [N, d], float64.
        b: [M, d], float64.
        k: how many.
        same: a and b are one set; a vector is not its own neighbour, its copies are.

    Returns: [N, k] ascending, and int64 [N, k].
    Raises: ValueError when b has fewer than k (k + 1 with `same`) vectors.
    """
    if k < 1 or len(b) < k + same:
        raise ValueError(f"nearest: expected at least {k + same} vectors to look in, got {len(b)}")
    distances, indices = [], []
    for rows, square, _ in squared_distances(a, b):
        if same:
            own = torch.arange(rows.start, rows.start + len(square), device=a.device)
            square[own - rows.start, own] = float("inf")
        found = square.topk(k, dim=1, largest=False).indices
        queries = torch.arange(rows.start, rows.start + len(square), device=a.device)
        values = exact(a, b, queries.repeat_interleave(k), found.flatten()).view(-1, k)
        order = values.argsort(dim=1)
        distances.append(values.gather(1, order))
        indices.append(found.gather(1, order))
    return torch.cat(distances), torch.cat(indices)


def within(a: Tensor, b: Tensor, radius: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield (rows of a, which of b have them within their radius, bool [rows, M]).

    Args:
        radius: squared, one for each of b, [M]; a distance equal to it is within.
    """
    for rows, square, error in squared_distances(a, b):
        inside = square <= radius
        doubtful = (square - radius).abs_() <= error
        i, j = doubtful.nonzero(as_tuple=True)
        inside[i, j] = exact(a, b, i + rows.start, j) <= radius[j]
        yield rows, inside
