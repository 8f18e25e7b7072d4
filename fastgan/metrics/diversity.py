"""Whether samples differ from one another, and whether they cover the modes of a known mixture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


def mean_pairwise_distance(samples: Tensor) -> float:
    """Return the mean root-mean-square difference between two different samples.

    d = mean over i < j of |x_i - x_j| / sqrt(D), in the unit of the data. A collapsed generator
    has 0; compare with the reals' own.

    Args:
        samples: [N, ...], N >= 2; trailing dimensions are flattened to D.

    Raises: ValueError for fewer than two samples.
    """
    if len(samples) < 2:
        raise ValueError(f"mean_pairwise_distance: expected 2 samples or more, got {len(samples)}")
    x = samples.flatten(1).double()  # [N, D]
    return float(torch.pdist(x).mean()) / math.sqrt(x.shape[1])


@dataclass(frozen=True)
class ModeCoverage:
    """How samples spread over the modes of a mixture.

    Attributes:
        modes: number of modes that got at least a tenth of their fair share of the good samples.
        num_modes: how many there are.
        high_quality: fraction of samples within 3 std of the nearest mode ("good"); a perfect
            sampler of a mixture in the plane has 1 - exp(-4.5) = 0.989.
        kl: Kullback-Leibler divergence, in nats, of the histogram of nearest modes from uniform;
            0 is even, log(num_modes) is one mode only.
    """

    modes: int
    num_modes: int
    high_quality: float
    kl: float


def mode_coverage(samples: Tensor, centers: Tensor, std: float) -> ModeCoverage:
    """Assign samples to the nearest mode of an equal mixture of isotropic Gaussians and count.

    Args:
        samples: [N, D], N >= 1.
        centers: [num_modes, D].
        std: standard deviation of every mode, above 0.

    Raises: ValueError when the dimensions differ.
    Source: Srivastava et al. 2017 (VEEGAN), section 4.1, with the share of 1/10 for a mode hit.
    """
    if samples.ndim != 2 or samples.shape[1] != centers.shape[1] or len(samples) == 0:
        raise ValueError(
            f"mode_coverage: expected samples [N, {centers.shape[1]}], got {tuple(samples.shape)}"
        )
    num_modes = len(centers)
    distance, mode = torch.cdist(samples.double(), centers.double()).min(dim=1)
    good = distance <= 3 * std
    hits = torch.bincount(mode[good], minlength=num_modes)
    needed = 0.1 * int(good.sum()) / num_modes
    share = torch.bincount(mode, minlength=num_modes).double() / len(samples)
    kl = float(torch.xlogy(share, share * num_modes).sum())
    return ModeCoverage(
        modes=int(((hits >= needed) & (hits > 0)).sum()),
        num_modes=num_modes,
        high_quality=float(good.double().mean()),
        kl=max(kl, 0.0),
    )
