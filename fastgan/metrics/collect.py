"""Images through an extractor, in batches and divided over processes; references are cached."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, distributed

from fastgan.files import replacing
from fastgan.metrics.extractors import FeatureExtractor
from fastgan.metrics.frechet import frechet_distance, frechet_distance_of_features
from fastgan.metrics.moments import Moments
from fastgan.metrics.sharding import gather_rows, rank, shard, world
from fastgan.metrics.sources import ImageSource, RealImages

VERSION = 1  # of cached files and of what is in them
BATCH = 32
Progress = Callable[[int, int], None]


@dataclass
class Collected:
    """What is known of a set of images.

    Attributes:
        count: images.
        features: float32 [N, d] in the order of the images, or None where only moments were kept.
        logits: [N, K], where they were asked for.
        sums: moments, where features were not kept.
    """

    count: int
    features: Tensor | None = None
    logits: Tensor | None = None
    sums: Moments | None = None

    @property
    def moments(self) -> Moments:
        """Moments of the features."""
        if self.sums is None:
            assert self.features is not None  # one of the two is kept
            self.sums = Moments.of(self.features)
        return self.sums

    def frechet(self, other: Collected) -> float:
        """Return the Fréchet distance, the more exact way where features are at hand."""
        if self.features is not None and other.features is not None:
            fewest = min(self.count, other.count)
            if fewest <= self.features.shape[1]:
                return frechet_distance_of_features(self.features, other.features)
        return frechet_distance(self.moments, other.moments)

    def rows(self, chosen: Sequence[int] | slice) -> Collected:
        """Return a part; features must have been kept."""
        assert self.features is not None
        features = self.features[chosen]
        return Collected(len(features), features)


def collect(
    source: ImageSource,
    extractor: FeatureExtractor,
    *,
    keep: bool = True,
    logits: bool = False,
    batch: int = BATCH,
    alone: bool = False,
    progress: Progress | None = None,
) -> Collected:
    """Extract features of every image; every process takes its share and gets the whole result.

    Args:
        source: images.
        extractor: images to features.
        keep: keep the features; else their moments alone, in memory that does not grow.
        logits: keep logits.
        batch: images per call.
        alone: this process does all of it; the others do not call.
        progress: called with (images done, images), in this process.
    """
    count = len(source)
    mine = range(count) if alone else shard(count)
    kept: list[Tensor] = []
    classes: list[Tensor] = []
    sums: Moments | None = None
    for start in range(0, len(mine), batch):
        numbers = mine[start : start + batch]
        found = extractor(source.images(numbers))
        if keep:
            kept.append(found.features)
        else:
            sums = sums or Moments(found.features.shape[1])
            sums.add(found.features)
        if logits and found.logits is not None:
            classes.append(found.logits)
        if progress is not None:
            progress(start + len(numbers), len(mine))
    features, scores = (torch.cat(parts) if parts else None for parts in (kept, classes))
    if not alone:
        if sums is not None:
            sums.merge_processes()
        features, scores = (
            None if rows is None else gather_rows(rows, count) for rows in (features, scores)
        )
    return Collected(count, features, scores, sums)


def cache_folder() -> Path:
    """Where references are kept: fastgan/metrics in $XDG_CACHE_HOME or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fastgan" / "metrics"


def collect_reference(
    source: RealImages,
    extractor: FeatureExtractor,
    *,
    keep: bool = True,
    cache: bool = True,
    alone: bool = False,
    batch: int = BATCH,
    progress: Progress | None = None,
) -> Collected:
    """Extract features of reals, or take them from the cache, which is safe to delete.

    The file's name is a hash of every pixel, of the extractor with its weights and resize, and of
    the version of this code. A damaged file is written anew.
    """
    if not cache:
        return collect(source, extractor, keep=keep, alone=alone, batch=batch, progress=progress)
    facts = [VERSION, source.digest(), extractor.key, extractor.resize, keep]
    name = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    path = cache_folder() / f"{name}.safetensors"
    found = _load(path, len(source))
    if found is not None and (alone or _in_all_processes(True)):
        return found
    if found is None and not alone:
        _in_all_processes(False)  # those that found it must hear of it
    found = collect(source, extractor, keep=keep, alone=alone, batch=batch, progress=progress)
    if alone or rank() == 0:
        _save(path, found)
    return found


def _load(path: Path, count: int) -> Collected | None:
    try:
        tensors = load_file(path)
        if "features" in tensors:
            features = tensors["features"]
            return Collected(count, features) if len(features) == count else None
        sums = Moments(len(tensors["total"]))
        sums.count, sums.total, sums.outer = count, tensors["total"], tensors["outer"]
    except (OSError, SafetensorError, KeyError):
        return None
    return Collected(count, sums=sums)


def _save(path: Path, found: Collected) -> None:
    if found.features is not None:
        tensors = {"features": found.features.contiguous()}
    else:
        tensors = {"total": found.moments.total, "outer": found.moments.outer}
    try:
        with replacing(path) as temporary:
            save_file(tensors, temporary)
    except OSError:
        return  # a full or read-only disk costs the next run time, not this one its result


def _in_all_processes(flag: bool) -> bool:
    if world() == 1:
        return flag
    count = torch.tensor([float(flag)])
    distributed.all_reduce(count)
    return int(count) == world()
