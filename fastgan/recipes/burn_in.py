"""Settings that move along half a cosine in a burn-in at the start of training.

Source: Huang et al. 2024, "The GAN is dead; long live the GAN!" (R3GAN), whose runs move the
learning rate, Adam's beta2, the weights of R1 and R2, and the average's half-life so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi
from typing import Any

from fastgan.config import TrainConfig, check_range
from fastgan.errors import ConfigError
from fastgan.training import EMASpec


@dataclass(frozen=True, kw_only=True)
class BurnIn(TrainConfig):
    """What moves, from where to where; the start is the ordinary setting."""

    burn_in_kimg: float | None = None
    """Length of the burn-in, in thousands of images: the settings below move along half a cosine
    and then stay. None: nothing moves."""
    burn_in_lr: float = 1.0
    """Both learning rates at the end of the burn-in, as a factor of lr_g and lr_d."""
    burn_in_gamma: float = 1.0
    """The weights of R1 and R2 at its end, as a factor of r1_gamma and r2_gamma."""
    burn_in_beta2: float | None = None
    """Adam's beta2 at its end. None: beta2 does not move."""
    burn_in_ema: bool = False
    """Let the half-life of the averaged generator grow from 0 to ema_kimg along it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("burn_in_kimg", "burn_in_lr"):
            check_range(name, getattr(self, name), above=0)
        check_range("burn_in_gamma", self.burn_in_gamma, low=0)
        check_range("burn_in_beta2", self.burn_in_beta2, low=0, below=1)
        moves = self.burn_in_lr != 1 or self.burn_in_gamma != 1 or self.burn_in_ema
        if self.burn_in_kimg is None and (moves or self.burn_in_beta2 is not None):
            raise ConfigError("burn_in_kimg: expected the length of the burn-in, got None")

    def schedules(self) -> dict[str, Any]:
        """Return a player's learning rate and beta2 as functions of the run's progress."""
        if self.burn_in_kimg is None:
            return {}
        beta2 = self.beta2 if self.burn_in_beta2 is None else self.burn_in_beta2
        return {
            "schedule": self._along(1.0, self.burn_in_lr),
            "beta2": self._along(self.beta2, beta2),
        }

    def gamma_schedule(self) -> Callable[[float], float] | None:
        """Return the factor on gamma as a function of the run's progress."""
        if self.burn_in_kimg is None or self.burn_in_gamma == 1:
            return None
        return self._along(1.0, self.burn_in_gamma)

    def average(self) -> EMASpec | None:
        """Return how the generator is averaged, None for not at all."""
        if self.ema_kimg <= 0:
            return None
        return EMASpec(
            self.ema_kimg, self.ema_ramp, self.burn_in_kimg if self.burn_in_ema else None
        )

    def _along(self, start: float, end: float) -> Callable[[float], float]:
        length = 1000 * (self.burn_in_kimg or self.total_kimg)

        def value(progress: float) -> float:
            # Whole images again: a run that is resumed with another length stays the same.
            return half_cosine(start, end, round(progress * self.total_images) / length)

        return value


def half_cosine(start: float, end: float, position: float) -> float:
    """Return start at position 0, end from position 1 on, and half a cosine between them."""
    return end + (start - end) * (1 + cos(pi * min(position, 1.0))) / 2
