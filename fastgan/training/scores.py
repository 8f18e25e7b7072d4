"""Metrics of the averaged generator while it trains: a hook that adds lines to the log.

What a metric computes is in `fastgan/metrics`; here are only the fakes and the moments to measure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from fastgan.config import TrainConfig
from fastgan.errors import ConfigError
from fastgan.metrics import evaluate
from fastgan.metrics.collect import Collected, collect, collect_reference
from fastgan.metrics.extractors import make_extractor
from fastgan.metrics.scores import Score, as_numbers
from fastgan.metrics.sources import RealImages, RenderedImages
from fastgan.synthesis.images import to_uint8
from fastgan.training.hooks import Every, Hook
from fastgan.training.state import TrainingState

BATCH = 32
KID_SUBSET = 1000


class LineWriter(Protocol):
    """Takes lines of the log."""

    def write(self, line: Mapping[str, Any]) -> None:
        """Take one line."""


class Scores(Hook):
    """Measures every so many images and at the end: numbers by name, and under "scores" sentences
    that say what they are of. The fakes have the same latents every time; their average is the
    recipe's, the images are rounded as saved ones are.

    Args:
        config: names, interval, number of fakes, extractor.
        writers: where lines go.

    Attributes:
        last: scores of the last time.
    """

    name = "scores"

    def __init__(self, config: TrainConfig, writers: Sequence[LineWriter]) -> None:
        self.names = evaluate.parse_metrics(config.metrics)
        if paths := evaluate.OF_GENERATOR.intersection(self.names):
            raise ConfigError(
                f"metrics: {min(paths)} is measured by the command fastgan metrics, not in training"
            )
        self.extractor = make_extractor(config.metrics_extractor)
        evaluate.check_names(self.names, self.extractor)
        self.count, self.writers = config.metrics_samples, writers
        self.last: list[Score] = []
        self._every = Every(config.metrics_kimg)
        self._measured = -1
        self._reference: Collected | None = None

    def on_start(self, state: TrainingState) -> None:
        self._every.due(state.images_seen)
        self._measured = state.images_seen
        self._real = RealImages(state.dataset, mirror=state.config.mirror)
        subset = min(KID_SUBSET, len(self._real), self.count)
        evaluate.check_counts(self.names, len(self._real), self.count, subset)
        self._kid_subset = subset

    def on_step(self, state: TrainingState, means: Mapping[str, Tensor]) -> None:
        if self._every.due(state.images_seen):
            self._measure(state)

    def on_rollback(self, state: TrainingState) -> None:
        self._every.due(state.images_seen)
        self._measured = state.images_seen

    def on_end(self, state: TrainingState) -> None:
        if state.images_seen > self._measured:
            self._measure(state)

    def _measure(self, state: TrainingState) -> None:
        self._measured = state.images_seen
        keep = evaluate.keeps_features(self.names, max(len(self._real), self.count))
        # Only the first process has hooks, so nothing may wait for the others.
        if self._reference is None:
            self._reference = collect_reference(self._real, self.extractor, keep=keep, alone=True)
        fakes = collect(
            RenderedImages(self.count, lambda numbers: _fakes(state, numbers)), self.extractor,
            keep=keep, logits="is" in self.names, batch=BATCH, alone=True,
        )  # fmt: skip
        comparison = evaluate.Comparison(
            self._reference, fakes, self.extractor, self._real.split, state.config.seed,
            state.config.mirror, kid_subset=self._kid_subset,
        )  # fmt: skip
        self.last = evaluate.evaluate(self.names, comparison)
        line = {
            "step": state.step,
            "kimg": state.images_seen / 1000,
            "seconds": round(state.seconds, 3),
            **as_numbers(self.last),
            "scores": [str(score) for score in self.last],
        }
        for writer in self.writers:
            writer.write(line)


def _fakes(state: TrainingState, numbers: Sequence[int]) -> Tensor:
    """A batch of fakes, which depends on its first number alone; uint8 [N, C, H, W]."""
    images = state.sample(len(numbers), phase=f"metrics/{numbers[0]}")
    return to_uint8(images.to(torch.float32)).permute(0, 3, 1, 2)
