"""ADA at work: the pipeline with a fixed probability, or one that follows D's overfitting."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fastgan.config import check_choice, check_range
from fastgan.training.augment.base import Augmentation
from fastgan.training.augment.pipeline import BUNDLES, augment
from fastgan.training.draws import Draws

_TIE = 1e-6  # rounding of a mean over the batch, which depends on how the batch is divided


class FixedAugmentation(Augmentation):
    """The transforms of a bundle, each with the same probability throughout the run.

    Args:
        bundle: a name in BUNDLES.
        probability: of each transform, in [0, 1].
    """

    def __init__(self, bundle: str = "bgc", probability: float = 0.2) -> None:
        check_choice("augment_bundle", bundle, tuple(BUNDLES))
        check_range("augment_p", probability, low=0, high=1)
        self.bundle, self.probability = bundle, probability

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        return augment(images, draws, self.probability, self.bundle)


class AdaptiveAugmentation(Augmentation):
    """The transforms of a bundle, with a probability that holds r_t = E[sign D(real)] at a target.

    Every `interval` updates of D the probability p moves by batch * interval / (kimg * 1000)
    towards more augmentation if r_t, averaged over these updates, was above the target, else
    towards less. It starts at 0 and stays in [0, 1]: beyond 1 nothing more would be transformed,
    and the way back would take longer.

    Args:
        bundle: a name in BUNDLES.
        target: of r_t, in (-1, 1).
        kimg: thousands of images in which p goes from 0 to 1.
        interval: updates of D from one move to the next.

    Source: Karras et al. 2020 (ADA), section 3.
    """

    def __init__(
        self, bundle: str = "bgc", target: float = 0.6, kimg: float = 500.0, interval: int = 4
    ) -> None:
        check_choice("augment_bundle", bundle, tuple(BUNDLES))
        check_range("ada_target", target, above=-1, below=1)
        check_range("ada_kimg", kimg, above=0)
        check_range("ada interval", interval, low=1)
        self.bundle, self.target, self.kimg, self.interval = bundle, target, kimg, interval
        # On the device of the run once it has begun, so that nobody waits for a number.
        self.p = torch.zeros((), dtype=torch.float64)
        self._sign_sum = torch.zeros((), dtype=torch.float64)
        self._updates = 0

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        return augment(images, draws, self.p, self.bundle)

    def after_update(self, means: Mapping[str, Tensor], batch: int) -> dict[str, Tensor]:
        r_t = means["r_t"]
        self._sign_sum = self._sign_sum.to(r_t.device) + r_t
        self._updates += 1
        if self._updates == self.interval:
            gap = self._sign_sum / self.interval - self.target
            direction = torch.where(gap.abs() < _TIE, 0, gap.sign())
            stride = batch * self.interval / (self.kimg * 1000)
            self.p = (self.p.to(r_t.device) + direction * stride).clamp(0, 1)
            self._sign_sum, self._updates = torch.zeros_like(self._sign_sum), 0
        return {"augment_p": self.p}

    def state_dict(self) -> dict[str, Tensor]:
        return {
            "p": self.p,
            "sign_sum": self._sign_sum,
            "updates": torch.tensor(self._updates),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        super().load_state_dict(state)
        self.p, self._sign_sum = state["p"].to(self.p), state["sign_sum"].to(self._sign_sum)
        self._updates = int(state["updates"])
