"""Mean and covariance of features that arrive in parts, in float64. Distances are elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor, distributed

from fastgan.metrics.sharding import world


class Moments:
    """Number, sum and sum of outer products of feature vectors.

    Parts may come in any order, from any number of processes: only rounding in the sixteenth digit
    depends on how the vectors were divided.

    Args:
        dim: length of a vector.
        device: where the sums are kept.
    """

    def __init__(self, dim: int, device: torch.device | str = "cpu") -> None:
        self.count = 0
        self.total = torch.zeros(dim, dtype=torch.float64, device=device)
        self.outer = torch.zeros(dim, dim, dtype=torch.float64, device=device)

    @classmethod
    def of(cls, features: Tensor) -> Moments:
        """Return the moments of features [N, d]."""
        moments = cls(_checked(features).shape[1], features.device)
        moments.add(features)
        return moments

    def add(self, features: Tensor) -> None:
        """Take in features [N, d].

        Raises: ValueError when they are not vectors of this length, or not finite.
        """
        x = _checked(features).to(self.total)
        if x.shape[1] != len(self.total):
            raise ValueError(f"Moments: expected [N, {len(self.total)}], got {list(x.shape)}")
        total = x.sum(dim=0)
        if not bool(torch.isfinite(total).all()):  # as every entry, and read once
            raise ValueError("Moments: a feature is NaN or infinite; look at the images")
        self.count += len(x)
        self.total += total
        if x.is_cpu:  # numpy sees that the factors are one matrix, and computes half of the product
            rows = x.detach().numpy()
            self.outer += torch.from_numpy(rows.T @ rows)
        else:
            self.outer.addmm_(x.T, x)

    def merge(self, other: Moments) -> None:
        """Take in what another collector has seen."""
        self.count += other.count
        self.total += other.total.to(self.total)
        self.outer += other.outer.to(self.outer)

    def merge_processes(self) -> None:
        """Replace these sums by those over all processes; every process must call."""
        if world() == 1:
            return
        count = torch.tensor([self.count], dtype=torch.float64, device=self.total.device)
        for tensor in (count, self.total, self.outer):
            distributed.all_reduce(tensor)
        self.count = int(count)

    @property
    def mean(self) -> Tensor:
        """The mean, float64 [d]."""
        if self.count < 1:
            raise ValueError("Moments: no features were added")
        return self.total / self.count

    @property
    def covariance(self) -> Tensor:
        """The covariance with 1 / (n - 1), float64 [d, d].

        Raises: ValueError for fewer than two vectors.
        """
        if self.count < 2:
            raise ValueError(f"Moments: a covariance needs 2 vectors, got {self.count}")
        mean = self.mean
        return (self.outer - self.count * torch.outer(mean, mean)) / (self.count - 1)


def _checked(features: Tensor) -> Tensor:
    if features.ndim != 2:
        raise ValueError(f"features: expected [N, d], got {list(features.shape)}")
    return features
