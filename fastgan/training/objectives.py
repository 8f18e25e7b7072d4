"""What discriminator and generator minimise, as functions of logits. No network is called here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from fastgan.config import check_range
from fastgan.networks import DiscriminatorOutput


class Objective(Protocol):
    """A game on logits; [N, 1] and patch maps [N, 1, h, w] are reduced alike, by the mean."""

    @property
    def needs_real_in_g(self) -> bool:
        """Whether `g_loss` has to be given the discriminator's output on reals."""

    def d_loss(self, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
        """Return what the discriminator minimises, a scalar."""

    def g_loss(self, fake: DiscriminatorOutput, real: DiscriminatorOutput | None) -> Tensor:
        """Return what the generator minimises, a scalar."""

    def margins(
        self, real: DiscriminatorOutput, fake: DiscriminatorOutput
    ) -> tuple[Tensor, Tensor]:
        """Return by how much D is right on reals and on fakes, above 0 where it is."""


@dataclass(frozen=True)
class NonSaturating:
    """Cross-entropy for D; G maximises log sigmoid(D(G(z))), which keeps its gradient alive.

    d_loss = mean(a softplus(-D(x)) + (1 - a) softplus(D(x))) + mean(softplus(D(G(z))))
    g_loss = mean(softplus(-D(G(z))))

    Attributes:
        real_label: a, the target for reals in (0, 1]; below 1 is one-sided label smoothing
            (fakes are never smoothed: the best D would then reward fakes where data is absent).

    Source: Goodfellow et al. 2014; smoothing: Salimans et al. 2016, section 3.4.
    """

    real_label: float = 1.0
    needs_real_in_g: bool = False

    def __post_init__(self) -> None:
        check_range("real_label", self.real_label, above=0, high=1)

    def d_loss(self, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
        return _cross_entropy(real.logits, self.real_label) + F.softplus(fake.logits).mean()

    def g_loss(self, fake: DiscriminatorOutput, real: DiscriminatorOutput | None) -> Tensor:
        return F.softplus(-fake.logits).mean()

    def margins(
        self, real: DiscriminatorOutput, fake: DiscriminatorOutput
    ) -> tuple[Tensor, Tensor]:
        return real.logits, -fake.logits


@dataclass(frozen=True)
class Minimax:
    """The original zero-sum game: G minimises log(1 - sigmoid(D(G(z)))).

    g_loss = -mean(softplus(D(G(z)))); its gradient vanishes where D is sure of a fake.

    Attributes:
        real_label: as in NonSaturating.

    Source: Goodfellow et al. 2014, equation 1.
    """

    real_label: float = 1.0
    needs_real_in_g: bool = False

    def __post_init__(self) -> None:
        check_range("real_label", self.real_label, above=0, high=1)

    def d_loss(self, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
        return _cross_entropy(real.logits, self.real_label) + F.softplus(fake.logits).mean()

    def g_loss(self, fake: DiscriminatorOutput, real: DiscriminatorOutput | None) -> Tensor:
        return -F.softplus(fake.logits).mean()

    def margins(
        self, real: DiscriminatorOutput, fake: DiscriminatorOutput
    ) -> tuple[Tensor, Tensor]:
        return real.logits, -fake.logits


@dataclass(frozen=True)
class RelativisticPairing:
    """Each real against the fake beside it: D wants the real to look more real, G the fake.

    d_loss = mean_n softplus(-(D(x_n) - D(G(z_n))))
    g_loss = mean_n softplus(-(D(G(z_n)) - D(x_n)))

    Only differences of logits matter, so D cannot win by a threshold between all reals and all
    fakes, which is how modes are dropped. Converges with R1 and R2 in each step.

    Source: Jolicoeur-Martineau 2019 (RpGAN); Huang et al. 2024 (R3GAN), section 2.
    """

    needs_real_in_g: bool = True

    def d_loss(self, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
        return _paired(real.logits, fake.logits)

    def g_loss(self, fake: DiscriminatorOutput, real: DiscriminatorOutput | None) -> Tensor:
        if real is None:
            raise ValueError("relativistic pairing: g_loss needs the logits of reals, got None")
        return _paired(fake.logits, real.logits)

    def margins(
        self, real: DiscriminatorOutput, fake: DiscriminatorOutput
    ) -> tuple[Tensor, Tensor]:
        """D's output is free up to a constant: only pairs say whether it is right."""
        difference = real.logits - fake.logits
        return difference, difference


def _paired(winner: Tensor, loser: Tensor) -> Tensor:
    if winner.shape != loser.shape:
        raise ValueError(
            "relativistic pairing: expected as many logits of reals as of fakes, got "
            f"{tuple(winner.shape)} and {tuple(loser.shape)}"
        )
    return F.softplus(loser - winner).mean()


def _cross_entropy(logits: Tensor, target: float) -> Tensor:
    if target == 1.0:
        return F.softplus(-logits).mean()
    return (target * F.softplus(-logits) + (1 - target) * F.softplus(logits)).mean()
