"""Which metrics there are, what each needs, and scores out of what was collected."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fastgan.errors import ConfigError
from fastgan.metrics.collect import Collected
from fastgan.metrics.extractors import FeatureExtractor
from fastgan.metrics.inception_score import inception_score
from fastgan.metrics.kernel_distance import kernel_distance
from fastgan.metrics.manifold import density_coverage, precision_recall
from fastgan.metrics.memorisation import memorisation
from fastgan.metrics.scores import Score
from fastgan.metrics.sliced_wasserstein import sliced_wasserstein

MAX_KEPT = 20_000  # images whose features are kept although moments would do
OF_MOMENTS = frozenset(("fd", "fid", "is"))
OF_GENERATOR = frozenset(("ppl", "ppl-z"))


@dataclass(frozen=True)
class Comparison:
    """Reals and fakes, and how they came about.

    Attributes:
        real, fake: what was collected.
        extractor: with what.
        split: which reals.
        seed: of the fakes.
        mirrored: the second half of the reals is the first half mirrored.
        kid_subsets, kid_subset: number and size of the subsets of the kernel distance.
        draws: seed of subsets, shuffles and directions.
    """

    real: Collected
    fake: Collected
    extractor: FeatureExtractor
    split: str
    seed: int
    mirrored: bool = False
    kid_subsets: int = 100
    kid_subset: int = 1000
    draws: int = 2020

    @property
    def features(self) -> tuple[Tensor, Tensor]:
        """Features of reals and fakes."""
        assert self.real.features is not None  # see keeps_features
        assert self.fake.features is not None
        return self.real.features, self.fake.features

    def score(self, name: str, value: float, std: float | None = None, **details: Any) -> Score:
        """Return a score under these conditions."""
        return Score(
            name, value, self.extractor.name, self.extractor.resize, self.real.count,
            self.fake.count, self.split, self.seed, std, details,
        )  # fmt: skip

    def named(self, stem: str) -> str:
        """The stem with the extractor's name."""
        return stem + self.extractor.names.suffix


def _fd(c: Comparison) -> list[Score]:
    return [c.score(c.extractor.names.frechet, c.real.frechet(c.fake))]


def _kid(c: Comparison) -> list[Score]:
    found = kernel_distance(
        *c.features, subsets=c.kid_subsets, subset_size=c.kid_subset, seed=c.draws
    )
    subsets = f"{c.kid_subsets}x{c.kid_subset}"
    return [c.score(c.extractor.names.kernel, found.mean, found.std, subsets=subsets)]


def _is(c: Comparison) -> list[Score]:
    assert c.fake.logits is not None  # check_names asked the extractor
    splits = min(10, c.fake.count)
    found = inception_score(c.fake.logits, splits=splits, seed=c.draws)
    return [c.score(c.named("IS"), found.mean, found.std, parts=splits)]


def _pr(c: Comparison) -> list[Score]:
    found = precision_recall(*c.features, k=3)
    return [
        c.score(c.named("Precision"), found.precision, k=3),
        c.score(c.named("Recall"), found.recall, k=3),
    ]


def _dc(c: Comparison) -> list[Score]:
    found = density_coverage(*c.features, k=5)
    return [
        c.score(c.named("Density"), found.density, k=5),
        c.score(c.named("Coverage"), found.coverage, k=5),
    ]


def _swd(c: Comparison) -> list[Score]:
    real, fake = c.features
    count = min(len(real), len(fake))
    spread = [features[:: len(features) // count][:count] for features in (real, fake)]
    value = sliced_wasserstein(*spread, seed=c.draws)
    return [c.score(c.named("SWD"), value, compared=count, projections=256)]


def _nn(c: Comparison) -> list[Score]:
    real, fake = c.features
    found = memorisation(real.chunk(2) if c.mirrored else real, fake)
    return [
        c.score(c.named("NN-ratio"), found.ratio, suspicious="below 0.5"),
        c.score(c.named("NN-copies"), found.copies, suspicious="above 0"),
    ]


@dataclass(frozen=True)
class Metric:
    """How to compute a metric, and of how many images at least."""

    compute: Callable[[Comparison], list[Score]]
    least: int = 2


METRICS: Mapping[str, Metric] = {
    "kid": Metric(_kid),
    "fd": Metric(_fd),
    "fid": Metric(_fd),
    "is": Metric(_is),
    "pr": Metric(_pr, 4),
    "dc": Metric(_dc, 6),
    "swd": Metric(_swd),
    "nn": Metric(_nn),
}


def parse_metrics(text: str) -> tuple[str, ...]:
    """Read names such as "kid,fd,pr", each once, in the order written.

    Raises: ConfigError for an unknown name or none.
    """
    names = tuple(dict.fromkeys(filter(None, text.replace(" ", "").lower().split(","))))
    known = (*METRICS, *sorted(OF_GENERATOR))
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        found = repr(unknown[0]) if unknown else "none"
        raise ConfigError(f"metrics: expected some of {', '.join(known)}, got {found}")
    return names


def check_names(names: Sequence[str], extractor: FeatureExtractor) -> None:
    """Raise ConfigError unless the extractor can serve these metrics."""
    if "is" in names and not extractor.has_logits:
        raise ConfigError(
            f"metrics: is needs a classifier, {extractor.name} is none; take efflite0 or inception"
        )
    if "fid" in names and extractor.names.frechet != "FID":
        raise ConfigError(
            f"metrics: FID is the distance of the inception extractor; ask for fd, which on "
            f"{extractor.name} is called {extractor.names.frechet}"
        )


def keeps_features(names: Sequence[str], count: int) -> bool:
    """Whether the features of `count` images have to be kept, or moments will do."""
    return count <= MAX_KEPT or not OF_MOMENTS.issuperset(set(names) - OF_GENERATOR)


def check_counts(names: Sequence[str], real: int, fake: int, kid_subset: int) -> None:
    """Raise ConfigError where there are too few images for a metric."""
    for name in [name for name in names if name in METRICS]:
        least = kid_subset if name == "kid" else METRICS[name].least
        if min(real, fake) < least:
            hint = "; or take smaller subsets with --kid-subset" if name == "kid" else ""
            raise ConfigError(
                f"metrics: {name} needs at least {least} real and {least} fake images, got {real} "
                f"and {fake}; use more images{hint}"
            )


def evaluate(names: Sequence[str], comparison: Comparison) -> list[Score]:
    """Compute the metrics of features, in the order of the names.

    Raises: ConfigError for too few images or an extractor that does not fit.
    """
    check_names(names, comparison.extractor)
    check_counts(names, comparison.real.count, comparison.fake.count, comparison.kid_subset)
    found: list[Score] = []
    for name in names:
        if name in METRICS:
            found += METRICS[name].compute(comparison)
    return found
