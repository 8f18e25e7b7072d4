"""Precision, recall, density and coverage: sets of features as unions of balls.

The ball of a vector reaches to its k-th nearest neighbour in its own set, itself excluded, and
includes its surface.

Source: Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric"; Naeem et al. 2020,
"Reliable Fidelity and Diversity Metrics".
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fastgan.metrics.neighbours import nearest, within


class PrecisionRecall(NamedTuple):
    """Fraction of fakes in a ball of the reals; fraction of reals in a ball of the fakes."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """Balls of reals that a fake lies in, over k, on average; fraction of balls with a fake."""

    density: float
    coverage: float


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> PrecisionRecall:
    """Return improved precision and recall.

    Both see a copy of the training set as perfect: look for memorisation apart.

    Args:
        real, fake: features [N, d] and [M, d].
        k: neighbours.

    Raises: ValueError for other shapes, or k vectors or fewer in a set.
    """
    real, fake = _checked(real, fake, k)
    return PrecisionRecall(_covered(fake, real, k), _covered(real, fake, k))


def density_coverage(real: Tensor, fake: Tensor, k: int = 5) -> DensityCoverage:
    """Return density, 1 for equal distributions, and coverage, at most 1.

    Args: as in precision_recall.
    Raises: ValueError, as there.
    """
    real, fake = _checked(real, fake, k)
    radius = nearest(real, real, k, same=True)[0][:, -1]
    hits = torch.zeros(len(real), dtype=torch.int64, device=real.device)
    for _, inside in within(fake, real, radius):
        hits += inside.sum(dim=0)
    density = float(hits.sum()) / (k * len(fake))
    return DensityCoverage(density, float((hits > 0).double().mean()))


def expected_coverage(num_real: int, num_fake: int, k: int = 5) -> float:
    """Return the coverage that two samples of one distribution have on average.

    1 - prod_{i < k} (N - 1 - i) / (N + M - 1 - i)
    """
    missed = 1.0
    for i in range(k):
        missed *= (num_real - 1 - i) / (num_real + num_fake - 1 - i)
    return 1 - missed


def _covered(queries: Tensor, centers: Tensor, k: int) -> float:
    radius = nearest(centers, centers, k, same=True)[0][:, -1]
    count = sum(int(inside.any(dim=1).sum()) for _, inside in within(queries, centers, radius))
    return count / len(queries)


def _checked(real: Tensor, fake: Tensor, k: int) -> tuple[Tensor, Tensor]:
    if real.ndim != 2 or fake.ndim != 2 or real.shape[1] != fake.shape[1]:
        raise ValueError(
            f"expected features [N, d] and [M, d], got {list(real.shape)} and {list(fake.shape)}"
        )
    if k < 1 or min(len(real), len(fake)) <= k:
        raise ValueError(
            f"expected more than k = {k} >= 1 vectors in each set, got {len(real)} and {len(fake)}"
        )
    return real.detach().double(), fake.detach().double()
