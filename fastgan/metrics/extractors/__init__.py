"""Images -> the vectors that metrics compare. Each extractor says what its numbers are called."""

from __future__ import annotations

from pathlib import Path

from fastgan.devices import usable_device
from fastgan.errors import ConfigError
from fastgan.metrics.extractors.base import Extracted, FeatureExtractor, Names
from fastgan.metrics.extractors.efflite0 import EffLite0
from fastgan.metrics.extractors.inception import Inception
from fastgan.metrics.extractors.simple import Classifier, Pixels, RandomConv

__all__ = [
    "NAMES",
    "Classifier",
    "EffLite0",
    "Extracted",
    "FeatureExtractor",
    "Inception",
    "Names",
    "Pixels",
    "RandomConv",
    "make_extractor",
]

NAMES = ("efflite0", "inception", "pixels", "random-conv")


def make_extractor(
    name: str, *, weights: Path | None = None, size: int | None = None, device: str = "cpu"
) -> FeatureExtractor:
    """Return the extractor of a name.

    Args:
        name: one of NAMES.
        weights: file of the weights; "inception" needs it, no other takes it.
        size: side that images are resized to, for "efflite0" and "random-conv"; None: their own.
        device: where it runs.

    Raises: ConfigError for an unknown name, options that it does not take, missing weights, or a
        device that is not here.
    """
    if name not in NAMES:
        raise ConfigError(f"extractor: expected one of {', '.join(NAMES)}, got {name!r}")
    device = str(usable_device(device))
    if weights is not None and name != "inception":
        raise ConfigError(f"extractor-weights: {name} takes no file of weights; leave it out")
    if size is not None and (name not in ("efflite0", "random-conv") or size < 8):
        raise ConfigError(
            "extractor-size: expected a side of at least 8 pixels, for efflite0 or random-conv, "
            f"got {size} for {name}"
        )
    if name == "inception":
        if weights is None:
            raise ConfigError(
                "extractor-weights: inception needs the file of the FID Inception weights, "
                "pt_inception-2015-12-05-6726825d.pth as torch-fidelity and pytorch-fid have it"
            )
        return Inception(weights, device=device)
    if name == "efflite0":
        return EffLite0(size=size or EffLite0.SIZE, device=device)
    if name == "random-conv":
        return RandomConv(size=size or RandomConv.SIZE, device=device)
    return Pixels()
