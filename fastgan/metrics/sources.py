"""Images to measure, as bytes [N, C, H, W]: a data set, or whatever a function renders."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeAlias

import torch
from torch import Tensor

from fastgan.data import Dataset
from fastgan.errors import ConfigError

Split: TypeAlias = Literal["all", "even", "odd"]
HASH_BATCH = 256


class ImageSource(Protocol):
    """Images by number."""

    def __len__(self) -> int: ...

    def images(self, numbers: Sequence[int]) -> Tensor:
        """Return uint8 [N, C, H, W]."""


class RealImages:
    """Images of a data set.

    Args:
        dataset: images, not points.
        split: all of them, or those at even or odd places of its order, for comparisons of reals
            with reals.
        mirror: each once more, mirrored, after all others.

    Raises: ConfigError for points, or a split without images.
    """

    def __init__(self, dataset: Dataset, split: Split = "all", *, mirror: bool = False) -> None:
        if len(dataset.image_shape) != 3:
            raise ConfigError(f"data: {dataset.name} holds points; metrics need images")
        first, step = {"all": (0, 1), "even": (0, 2), "odd": (1, 2)}[split]
        self.indices = list(range(first, len(dataset), step))
        if not self.indices:
            raise ConfigError(
                f"split {split}: {dataset.name} has {len(dataset)} images, none there"
            )
        self.dataset, self.mirror = dataset, mirror
        self.split = f"{split}{' and mirrored' if mirror else ''} of {dataset.name}"

    def __len__(self) -> int:
        return len(self.indices) * (2 if self.mirror else 1)

    def images(self, numbers: Sequence[int]) -> Tensor:
        """Return the bytes that the data set was read from, mirrored where it is asked for."""
        count = len(self.indices)
        flips = torch.tensor([number >= count for number in numbers])
        found, _ = self.dataset.batch([self.indices[n % count] for n in numbers], flips)
        return found.add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8)

    def digest(self) -> str:
        """Return a SHA-256 over every pixel, which takes a fraction of what extraction does."""
        digest = hashlib.sha256(repr((tuple(self.dataset.image_shape), self.mirror)).encode())
        for start in range(0, len(self.indices), HASH_BATCH):
            numbers = range(start, min(start + HASH_BATCH, len(self.indices)))
            digest.update(self.images(numbers).numpy().tobytes())
        return digest.hexdigest()


class RenderedImages:
    """Fakes.

    Args:
        count: how many.
        render: numbers below `count` to uint8 [N, C, H, W]; the same number gives the same image.
    """

    def __init__(self, count: int, render: Callable[[Sequence[int]], Tensor]) -> None:
        self.count, self.images = count, render

    def __len__(self) -> int:
        return self.count
