"""What every extractor does with images before its network sees them, and what it gives back."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Extracted(NamedTuple):
    """What an extractor finds in images.

    Attributes:
        features: float32 [N, d].
        logits: [N, K] of its classifier, None where it has none.
    """

    features: Tensor
    logits: Tensor | None = None


class Names(NamedTuple):
    """What scores on an extractor's features are called."""

    frechet: str
    kernel: str
    suffix: str  # of every other score

    @classmethod
    def of(cls, label: str) -> Names:
        """Names that say the extractor; FID and KID alone are those of the FID Inception."""
        return cls(f"FD-{label}", f"KID-{label}", f"-{label}")


class FeatureExtractor(Protocol):
    """Turns images into vectors."""

    name: str
    """As the command line has it."""
    names: Names
    """What scores are called."""
    resize: str
    """What is done to the size of images, in words."""
    key: str
    """Changes with anything that changes features: name, size, hash of the weights."""
    has_logits: bool
    """Whether it classifies."""

    def __call__(self, images: Tensor) -> Extracted:
        """Map images [N, C, H, W], 0 to 255, bytes or floats, to features."""


def to_rgb(images: Tensor) -> Tensor:
    """Return float32 [N, 3, H, W] of grey, RGB or RGBA images in 0..255; RGBA goes over white.

    Raises: ValueError for another shape.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3, 4):
        raise ValueError(f"expected images [N, 1, 3 or 4, H, W], got {list(images.shape)}")
    x = images.to(torch.float32)
    if x.shape[1] == 4:
        alpha = x[:, 3:] / 255
        x = x[:, :3] * alpha + 255 * (1 - alpha)
    return x.expand(-1, 3, -1, -1)
