"""What the training loop needs from a dataset, and the one conversion from bytes to [-1, 1].

No file access and no sampling order live here: see images.py and sampler.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

Indices: TypeAlias = Tensor | Sequence[int]


class Dataset(Protocol):
    """A finite, ordered collection of images (or points) with optional labels."""

    @property
    def name(self) -> str:
        """Short name for logs and checkpoints."""

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(C, H, W) of every image, or (D,) of every point."""

    @property
    def c_dim(self) -> int:
        """Length of a label row; 0 when the dataset has no labels."""

    def __len__(self) -> int: ...

    def batch(self, indices: Indices, flips: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return float32 items [N, *image_shape] and float32 labels [N, c_dim]."""

    def labels(self, indices: Indices) -> Tensor:
        """Return float32 labels [N, c_dim] without touching any pixel."""

    def fingerprint(self) -> str:
        """Return a hexadecimal digest that changes when the contents change."""


def as_index(indices: Indices, size: int) -> Tensor:
    """Return `indices` as an int64 CPU tensor [N], checked against 0 <= index < size.

    Raises:
        IndexError: an index is outside the dataset, or `indices` is not one-dimensional.
    """
    index = torch.as_tensor(indices, dtype=torch.int64, device="cpu")
    if index.ndim != 1:
        raise IndexError(f"expected a list of indices [N], got shape {tuple(index.shape)}")
    if len(index) and (int(index.min()) < 0 or int(index.max()) >= size):
        found = f"{int(index.min())}..{int(index.max())}"
        raise IndexError(f"expected indices in 0..{size - 1}, got {found}")
    return index


def to_signed_unit(pixels: Tensor, flips: Tensor | None = None) -> Tensor:
    """Map bytes to floats, y = x / 127.5 - 1, mirroring left-right the chosen images.

    Args:
        pixels: uint8 [N, C, H, W].
        flips: bool [N], True where an image is to be mirrored; None mirrors nothing.

    Returns: float32 [N, C, H, W], contiguous, in [-1, 1].
    Raises: IndexError when `flips` does not have one entry per image.
    """
    if flips is not None:
        if flips.shape != pixels.shape[:1]:
            expected, found = len(pixels), tuple(flips.shape)
            raise IndexError(f"expected flips of shape ({expected},), got {found}")
        mask = flips.to(device=pixels.device, dtype=torch.bool)[:, None, None, None]
        pixels = torch.where(mask, pixels.flip(3), pixels)
    return pixels.to(torch.float32).div_(127.5).sub_(1.0)
