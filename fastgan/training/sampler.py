"""Where latents and labels of fakes come from. Deterministic: all numbers are Draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from fastgan.data import Dataset
from fastgan.training.draws import Draws


@dataclass(frozen=True)
class Sampler:
    """Draws latents from a prior and labels as often as the dataset has them.

    Attributes:
        z_dim: width of a latent.
        labels: the dataset whose labels are drawn.
        prior: "normal", N(0, 1), or "uniform", U(-1, 1).
    """

    z_dim: int
    labels: Dataset
    prior: Literal["normal", "uniform"] = "normal"

    def latents(self, draws: Draws) -> Tensor:
        """Return z [len(draws), z_dim]."""
        if self.prior == "uniform":
            return draws.uniform("z", (self.z_dim,)) * 2 - 1
        return draws.normal("z", (self.z_dim,))

    def draw_labels(self, draws: Draws) -> Tensor:
        """Return labels [len(draws), c_dim], each that of a random item of the dataset."""
        items = draws.integers("label", 0, len(self.labels)).cpu()
        return self.labels.labels(items).to(device=draws.device, dtype=draws.dtype)
