"""The random numbers of the ADA pipeline, each in a place of its own.

A transform finds the same numbers whichever others are on, so that bundles can be compared.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.training.augment.wavelets import BANDS
from fastgan.training.draws import Draws

_BAND_GATES = tuple(f"band{index}" for index in range(BANDS))
_GATES = (
    "xflip", "rotate90", "xint", "scale", "rotate_before", "aniso", "rotate_after", "xfrac",
    "brightness", "contrast", "lumaflip", "hue", "saturation", *_BAND_GATES, "noise", "cutout",
)  # fmt: skip
_UNIFORM = (
    "xflip", "rotate90", "xint_x", "xint_y", "rotate_before", "rotate_after", "lumaflip", "hue",
    "cutout_x", "cutout_y",
)  # fmt: skip
_NORMAL = (
    "scale", "aniso", "xfrac_x", "xfrac_y", "brightness", "contrast", "saturation", *_BAND_GATES,
    "noise",
)  # fmt: skip


class Chances:
    """For each sample, whether a transform is applied and how strongly.

    Args:
        draws: of the samples, for one discriminator and one set of images.
        probability: of each transform, at least 0; above 1 is 1. A number or a scalar tensor.
        transforms: names of those that are on at all.
    """

    def __init__(
        self, draws: Draws, probability: float | Tensor, transforms: frozenset[str]
    ) -> None:
        self.draws, self.transforms = draws, transforms
        self._gates = draws.uniform("gates", (len(_GATES),))
        self._uniform = draws.uniform("uniform", (len(_UNIFORM),))
        self._normal = draws.normal("normal", (len(_NORMAL),))
        self._probability = torch.as_tensor(
            probability, dtype=torch.float64, device=draws.device
        ).clamp(0, 1)

    def applies(self, transform: str, gate: str | None = None) -> Tensor:
        """Return bool [N]: whether the transform, or this part of it, is applied."""
        if transform not in self.transforms:
            return torch.zeros(len(self.draws), dtype=torch.bool, device=self.draws.device)
        probability = self._probability
        if transform == "rotate":  # twice, so that either happens with the probability itself
            probability = 1 - (1 - probability).sqrt()
        return self._gates[:, _GATES.index(gate or transform)] < probability

    def uniform(self, name: str, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Return numbers [N] in [low, high)."""
        return self._uniform[:, _UNIFORM.index(name)] * (high - low) + low

    def normal(self, name: str) -> Tensor:
        """Return standard normal numbers [N]."""
        return self._normal[:, _NORMAL.index(name)]
