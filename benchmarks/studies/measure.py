"""What the studies have in common: KID of images on EfficientNet-Lite0, pictures of curves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from fastgan.data import Dataset
from fastgan.metrics.collect import Collected, collect
from fastgan.metrics.evaluate import Comparison, evaluate
from fastgan.metrics.extractors import make_extractor
from fastgan.metrics.scores import Score
from fastgan.metrics.sources import RenderedImages

Curve = tuple[Sequence[float], Sequence[float]]


def images_of(dataset: Dataset) -> Tensor:
    """Return all images of a data set as they were read, uint8 [N, C, H, W]."""
    parts = [dataset.batch(range(i, min(i + 256, len(dataset))))[0] for i in _starts(dataset)]
    return torch.cat(parts).add(1.0).mul(127.5).round().to(torch.uint8)


def _starts(dataset: Dataset) -> range:
    return range(0, len(dataset), 256)


def box_blurred(images: Tensor) -> Tensor:
    """Return images after a 3 x 3 box filter, edges repeated; uint8 [N, C, H, W]."""
    padded = pad(images.float(), (1, 1, 1, 1), mode="replicate")
    return avg_pool2d(padded, 3, stride=1).round().to(torch.uint8)


class KernelDistance:
    """KID-EffLite0 of sets of images against fixed reals, subsets of 1000 or all there are.

    Args:
        reals: uint8 [N, C, H, W].
        split: which reals these are, in words.
    """

    def __init__(self, reals: Tensor, split: str) -> None:
        self.extractor, self.split = make_extractor("efflite0"), split
        self.reals = self._collect(reals)

    def __call__(self, images: Tensor, seed: int = 0) -> Score:
        """Return the score of images, uint8 [N, C, H, W]."""
        subset = min(1000, len(images), self.reals.count)
        found = self._collect(images)
        comparison = Comparison(
            self.reals, found, self.extractor, self.split, seed, kid_subset=subset
        )
        return evaluate(["kid"], comparison)[0]

    def _collect(self, images: Tensor) -> Collected:
        source = RenderedImages(len(images), lambda numbers: images[list(numbers)])
        return collect(source, self.extractor)


def read_lines(run: Path) -> list[dict[str, Any]]:
    """Return the log of a run."""
    text = (run / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def curve(lines: Sequence[Mapping[str, Any]], name: str) -> Curve:
    """Return (kimg, values) of the lines that have a number of this name."""
    points = [(line["kimg"], line[name]) for line in lines if line.get(name) is not None]
    return [kimg for kimg, _ in points], [value for _, value in points]


def draw(
    path: Path, panels: Sequence[tuple[str, Mapping[str, Curve], Mapping[str, float]]]
) -> None:
    """Draw panels under each other: title, curves by name, horizontal lines by name."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.6 * len(panels)), layout="constrained")
    for axes, (title, curves, levels) in zip(
        figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0], panels, strict=True
    ):
        for name, (x, y) in curves.items():
            axes.plot(x, y, label=name, linewidth=1)
        for name, level in levels.items():
            axes.axhline(level, linestyle="--", color="grey", linewidth=1, label=name)
        axes.set_title(title, fontsize=10)
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    axes.set_xlabel("thousand images shown to the discriminator")
    figure.savefig(path, dpi=80)
