"""Fréchet distance of two sets of features, each taken for a Gaussian: FID, FD.

    d = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)

The last trace is the sum of the square roots of the eigenvalues of a symmetric matrix, so it is
real by construction and nothing is added to a diagonal.

Source: Dowson and Landau 1982; Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule".
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.metrics.moments import Moments

# A Cholesky factor whose diagonal spans more than this stands for a matrix that is not safely
# positive definite; its square root by eigenvectors is slower and always right.
CONDITION = 1e-4


def frechet_distance(first: Moments, second: Moments) -> float:
    """Return the Fréchet distance of two sets, known by their moments.

    Equal sets have 0 up to rounding, which may be negative.

    Raises: ValueError for vectors of different lengths, or fewer than two of them.
    """
    if len(first.total) != len(second.total):
        raise ValueError(
            "frechet_distance: expected features of equal length, got "
            f"{len(first.total)} and {len(second.total)}"
        )
    one, two = first.covariance, second.covariance
    gap = first.mean - second.mean
    traces = one.trace() + two.trace()
    return float(gap @ gap + traces) - 2 * trace_sqrt_product(one, two)


def frechet_distance_of_features(first: Tensor, second: Tensor) -> float:
    """Return the Fréchet distance of features [N, d] and [M, d].

    With fewer vectors than dimensions covariances are singular, and square roots of eigenvalues
    that should be 0 add up. The trace is then the nuclear norm of X Y^T / sqrt((N-1)(M-1)), X and
    Y the centred features, which takes no square roots.

    Raises: ValueError, as frechet_distance does.
    """
    if first.ndim != 2 or second.ndim != 2 or min(len(first), len(second)) > first.shape[1]:
        return frechet_distance(Moments.of(first), Moments.of(second))
    if first.shape[1] != second.shape[1] or min(len(first), len(second)) < 2:
        raise ValueError(
            "frechet_distance: expected at least 2 features of equal length in each set, got "
            f"{list(first.shape)} and {list(second.shape)}"
        )
    (mean_1, one), (mean_2, two) = _factor(first), _factor(second)
    gap, traces = mean_1 - mean_2, one.square().sum() + two.square().sum()
    return float(gap @ gap + traces - 2 * torch.linalg.svdvals(one @ two.T).sum())


def trace_sqrt_product(first: Tensor, second: Tensor) -> float:
    """Return tr (A B)^(1/2) of two covariances [d, d].

    A = F F^T makes the eigenvalues of A B those of F^T B F. F is the Cholesky factor, or for
    matrices that are near to singular the symmetric root.
    """
    factor, failed = torch.linalg.cholesky_ex(first)
    diagonal = factor.diagonal()
    if bool(failed != 0) or bool(diagonal.min() < CONDITION * diagonal.max()):
        values, vectors = torch.linalg.eigh(first)
        factor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    inner = factor.T @ second @ factor
    eigenvalues = torch.linalg.eigvalsh((inner + inner.T) / 2)
    return float(eigenvalues.clamp(min=0).sqrt().sum())


def _factor(features: Tensor) -> tuple[Tensor, Tensor]:
    """The mean, and F [rows, d] with F^T F the covariance and no more rows than columns."""
    x = features.double()
    mean = x.mean(dim=0)
    centred = x - mean
    if len(centred) > centred.shape[1]:
        centred = torch.linalg.qr(centred, mode="r").R
    return mean, centred / (len(x) - 1) ** 0.5
