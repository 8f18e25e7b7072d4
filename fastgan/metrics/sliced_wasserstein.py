"""Sliced Wasserstein distance: how far two sets of vectors are apart, seen along random lines."""

from __future__ import annotations

import torch
from torch import Tensor


def sliced_wasserstein(
    first: Tensor, second: Tensor, *, num_projections: int = 256, seed: int = 0
) -> float:
    """Return the mean 1-Wasserstein distance of two sets over random directions.

    swd = mean over unit vectors v of W1(first v, second v), where W1 of two sets of numbers of
    equal size is the mean distance of the sorted numbers. It is in the unit of the data. For sets
    of the same distribution it is not 0 but falls like 1 / sqrt(N): report that floor beside it.

    Args:
        first: [N, ...], any floating-point or integer dtype; trailing dimensions are flattened.
        second: [N, ...], as many vectors of the same size.
        num_projections: number of directions.
        seed: of the directions; the same seed gives the same directions for the same size.

    Returns: a number in float64 precision, at least 0; 0 for equal sets.
    Raises: ValueError when the sets differ in number or size, or are empty.
    Source: Rabin et al. 2011; Bonneel et al. 2015, section 3.
    """
    if first.shape != second.shape or first.numel() == 0:
        raise ValueError(
            "sliced_wasserstein: expected two sets of as many vectors of the same size, got "
            f"{tuple(first.shape)} and {tuple(second.shape)}"
        )
    x, y = first.flatten(1).double(), second.flatten(1).double()  # [N, D]
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(
        x.shape[1], num_projections, generator=generator, dtype=torch.float64
    ).to(x.device)
    directions = directions / directions.norm(dim=0)

    distances = []
    for chunk in directions.split(64, dim=1):  # bounds the memory to 64 numbers per vector
        along_x, along_y = (x @ chunk).sort(dim=0).values, (y @ chunk).sort(dim=0).values
        distances.append((along_x - along_y).abs().mean(dim=0))
    return float(torch.cat(distances).mean())
