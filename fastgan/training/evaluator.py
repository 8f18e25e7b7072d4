"""Metrics on a generator while it trains: features of reals, kept, against features of fakes.

What a metric computes is in `fastgan/metrics`; an extractor turns images into vectors first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from fastgan.config import check_range
from fastgan.data import Dataset, EpochSampler
from fastgan.metrics.diversity import mean_pairwise_distance
from fastgan.metrics.sliced_wasserstein import sliced_wasserstein
from fastgan.synthesis.images import to_uint8
from fastgan.training.hooks import Every, Hook
from fastgan.training.state import TrainingState

Metric: TypeAlias = Callable[[Tensor, Tensor], float]
"""metric(features of reals [N, d], features of fakes [N, d]) -> number."""


class FeatureExtractor(Protocol):
    """Turns images into the vectors that metrics compare."""

    name: str
    """Part of every metric's name: numbers of different extractors cannot be compared."""

    def __call__(self, images: Tensor) -> Tensor:
        """Map images [N, C, H, W] in [-1, 1] (or points [N, D]) to features [N, d]."""


class Pixels:
    """The images themselves, rounded to bytes as they would be saved; points as they are."""

    name = "pixels"

    def __call__(self, images: Tensor) -> Tensor:
        if images.ndim != 4:
            return images.detach().cpu().flatten(1)
        return to_uint8(images).float().div(127.5).sub(1.0).flatten(1)


METRICS: Mapping[str, Metric] = {
    "swd": sliced_wasserstein,
    "diversity": lambda real, fake: mean_pairwise_distance(fake) / mean_pairwise_distance(real),
}


class Evaluator:
    """Compares fakes with a fixed set of reals.

    Args:
        dataset: where the reals come from; an image may occur twice if `count` exceeds it.
        count: reals, and fakes, to compare.
        extractor: images to features.
        metrics: functions of the features by name.
        seed: which reals.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        count: int = 1000,
        extractor: FeatureExtractor | None = None,
        metrics: Mapping[str, Metric] = METRICS,
        seed: int = 0,
    ) -> None:
        check_range("count", count, low=2)
        self.count, self.metrics = count, metrics
        self.extractor = extractor if extractor is not None else Pixels()
        order = EpochSampler(len(dataset), seed).indices(0, count)
        parts = [self.extractor(dataset.batch(part)[0]) for part in order.split(256)]
        self._real = torch.cat(parts)  # [count, d]

    def __call__(self, fakes: Tensor) -> dict[str, float]:
        """Return the metrics of fakes [count, ...] as {"<extractor>_<metric>": value}.

        Raises: ValueError when there are not `count` fakes.
        """
        if len(fakes) != self.count:
            raise ValueError(f"Evaluator: expected {self.count} fakes, got {len(fakes)}")
        features = torch.cat([self.extractor(part) for part in fakes.split(256)])
        return {
            f"{self.extractor.name}_{name}": metric(self._real, features)
            for name, metric in self.metrics.items()
        }


class Evaluation(Hook):
    """Evaluates the averaged generator every so many images and at both ends of a run.

    Args:
        evaluator: what is measured.
        kimg: interval, in thousands of images; 0 measures only at the ends.

    Attributes:
        history: (images seen, metrics) of this start.
    """

    name = "evaluation"

    def __init__(self, evaluator: Evaluator, kimg: float = 0.0) -> None:
        self.evaluator = evaluator
        self.history: list[tuple[int, dict[str, float]]] = []
        self._every = Every(kimg)

    def on_start(self, state: TrainingState) -> None:
        self._every.due(state.images_seen)
        self._evaluate(state)

    def on_step(self, state: TrainingState, means: Mapping[str, Tensor]) -> None:
        if self._every.due(state.images_seen):
            self._evaluate(state)

    def on_rollback(self, state: TrainingState) -> None:
        self.history = [entry for entry in self.history if entry[0] <= state.images_seen]

    def on_end(self, state: TrainingState) -> None:
        self._evaluate(state)

    def _evaluate(self, state: TrainingState) -> None:
        fakes = state.sample(self.evaluator.count, phase="evaluation")
        self.history.append((state.images_seen, self.evaluator(fakes)))
