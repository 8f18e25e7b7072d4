"""The Fréchet distance from features: fastgan against the matrix square root of scipy, in turn."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import torch

from benchmarks import plugins
from benchmarks.providers import WrongResultError
from benchmarks.report import Row
from benchmarks.runner import Options
from benchmarks.timing import measure
from fastgan.metrics.frechet import frechet_distance_of_features

ROUNDS = 3  # a square root takes up to minutes
TOLERANCE = 1e-6  # relative


@dataclass(frozen=True)
class Case:
    """Features of two sets, from mean and covariance to the distance."""

    dim: int
    count: int

    @property
    def name(self) -> str:
        """The case, as tables and --only have it."""
        return f"d {self.dim} n {self.count}"

    def features(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return float32 features with a spectrum that falls as that of networks does."""
        draws = torch.Generator().manual_seed(0)
        scale = torch.linspace(1, 0.05, self.dim).square()
        x, y = (torch.randn(self.count, self.dim, generator=draws) * scale for _ in range(2))
        return x, 1.1 * y + 0.1


def cases(quick: bool) -> list[Case]:
    """Return the sizes: of EfficientNet-Lite0 and of Inception, from few to many images."""
    if quick:
        return [Case(64, 200)]
    return [Case(1280, 2000), Case(1280, 10_000), Case(2048, 3000), Case(2048, 10_000)]


def scipy_distance(x: torch.Tensor, y: torch.Tensor) -> float:
    """What pytorch-fid and clean-fid compute, without what they add to singular covariances."""
    from scipy import linalg

    means, covariances = [], []
    for features in (x.numpy(), y.numpy()):
        means.append(features.mean(axis=0, dtype=np.float64))
        covariances.append(np.cov(features, rowvar=False))
    gap, root = means[0] - means[1], linalg.sqrtm(covariances[0] @ covariances[1])
    return float(gap @ gap + sum(np.trace(c) for c in covariances) - 2 * np.trace(root).real)


def run(options: Options) -> list[Row]:
    """Check and time every size; a contender of --contender is not called.

    Raises:
        WrongResultError: the two disagree.
        ConfigError: a case that is not there.
    """
    listed = {case.name: case for case in cases(options.quick)}
    found: list[Row] = []
    for name in plugins.selected("metrics", list(listed), options.only):
        x, y = listed[name].features()
        contenders: dict[str, Callable[[], object]] = {
            "fastgan": partial(frechet_distance_of_features, x, y),
            "scipy": partial(scipy_distance, x, y),
        }
        ours, theirs = frechet_distance_of_features(x, y), scipy_distance(x, y)
        if abs(ours - theirs) > TOLERANCE * max(1.0, theirs):
            raise WrongResultError(f"metrics {name}: fastgan {ours}, scipy {theirs}")
        timings = measure(
            contenders, rounds=min(ROUNDS, options.rounds), warmup=0,
            max_seconds=options.max_seconds,
        )  # fmt: skip
        ratio = timings["scipy"].minimum / timings["fastgan"].minimum
        print(f"metrics {name}: {ratio:.1f} times faster than scipy", file=sys.stderr, flush=True)
        shape = {"dim": listed[name].dim, "count": listed[name].count}
        found += [
            {"suite": "metrics", "case": name, "provider": provider, **shape, **asdict(timing)}
            for provider, timing in timings.items()
        ]
    return found
