"""Data with known answers: 2-D mixtures, procedural shapes, and a wrapper for arrays in memory.

Everything is drawn from a generator that the caller passes in; nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastgan.data.base import Indices, as_index, to_signed_unit
from fastgan.data.labels import LabelTable, class_table, no_labels
from fastgan.errors import DataError


@dataclass(frozen=True)
class GaussianMixture:
    """Equal mixture of isotropic Gaussians.

    Attributes:
        centers: float32 [num_modes, D].
        std: standard deviation of every mode.
    """

    centers: Tensor
    std: float

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw `count` points, float32 [count, D], on the generator's device."""
        device, (num_modes, dim) = generator.device, self.centers.shape
        mode = torch.randint(num_modes, (count,), generator=generator, device=device)
        noise = torch.randn(count, dim, generator=generator, device=device)
        return self.centers.to(device)[mode] + self.std * noise


def ring_mixture(num_modes: int = 8, radius: float = 2.0, std: float = 0.1) -> GaussianMixture:
    """Return modes spaced evenly on a circle; the first lies at (radius, 0).

    Raises:
        DataError: `num_modes` is below 1, or `radius` or `std` is not positive.
    """
    _check_positive(num_modes=num_modes, radius=radius, std=std)
    angle = torch.arange(num_modes, dtype=torch.float64) * (2 * math.pi / num_modes)
    centers = radius * torch.stack([angle.cos(), angle.sin()], dim=1)
    return GaussianMixture(centers.to(torch.float32), std)


def grid_mixture(side: int = 5, spacing: float = 2.0, std: float = 0.05) -> GaussianMixture:
    """Return side x side modes on a square grid centred at the origin.

    Raises:
        DataError: `side` is below 1, or `spacing` or `std` is not positive.
    """
    _check_positive(side=side, spacing=spacing, std=std)
    axis = (torch.arange(side, dtype=torch.float32) - (side - 1) / 2) * spacing
    return GaussianMixture(torch.cartesian_prod(axis, axis), std)


@dataclass(frozen=True)
class Shapes:
    """Drawn shapes and the factors that made them.

    Attributes:
        images: uint8 [N, 3, H, W].
        kind: int64 [N]; 0 disc, 1 square, 2 triangle.
        colour: uint8 [N, 3], of the shape.
        background: uint8 [N, 3].
        center: float32 [N, 2], (x, y) in units of half the shorter side, 0 = middle.
        radius: float32 [N], in the same unit.
    """

    images: Tensor
    kind: Tensor
    colour: Tensor
    background: Tensor
    center: Tensor
    radius: Tensor


def shapes(num: int, resolution: int | tuple[int, int], generator: torch.Generator) -> Shapes:
    """Draw `num` bright shapes on dark backgrounds, with edges one pixel soft.

    Args:
        num: number of images, at least 1.
        resolution: side, or (height, width), in pixels.
        generator: a CPU generator; the same state gives the same shapes.

    Raises:
        DataError: `num` or `resolution` is below 1.
    """
    height, width = (resolution, resolution) if isinstance(resolution, int) else resolution
    _check_positive(num=num, height=height, width=width)
    kind = torch.randint(3, (num,), generator=generator)
    colour = torch.randint(128, 256, (num, 3), generator=generator)
    background = torch.randint(0, 96, (num, 3), generator=generator)
    center = torch.rand(num, 2, generator=generator) * 0.8 - 0.4
    radius = torch.rand(num, generator=generator) * 0.3 + 0.3

    half = min(height, width) / 2
    y = (torch.arange(height) + 0.5 - height / 2) / half
    x = (torch.arange(width) + 0.5 - width / 2) / half
    dy = (y[None, :, None] - center[:, 1, None, None]).expand(num, height, width)
    dx = (x[None, None, :] - center[:, 0, None, None]).expand(num, height, width)
    outside = _distances(dx, dy).gather(1, kind[:, None, None, None].expand(num, 1, height, width))
    cover = (0.5 - (outside - radius[:, None, None, None]) * half).clamp(0, 1)  # [N, 1, H, W]
    mixed = torch.lerp(
        background.float()[:, :, None, None], colour.float()[:, :, None, None], cover
    )
    images = mixed.round().to(torch.uint8)
    return Shapes(images, kind, colour.to(torch.uint8), background.to(torch.uint8), center, radius)


def _distances(dx: Tensor, dy: Tensor) -> Tensor:
    """Return, for each kind, the radius of the shape whose edge passes through a point."""
    disc = torch.hypot(dx, dy)
    square = torch.maximum(dx.abs(), dy.abs())
    slope = 0.5 * math.sqrt(3)
    triangle = torch.maximum(dy, slope * dx.abs() - 0.5 * dy) * 1.5
    return torch.stack([disc, square, triangle], dim=1)  # [N, 3, H, W]


class ArrayDataset:
    """Images or points held in memory, with the interface of ImageDataset.

    Args:
        array: uint8 images [N, C, H, W], or floating-point points [N, D].
        labels: int64 class numbers [N], floating-point vectors [N, c_dim], or None.
        name: short name for logs.

    Raises:
        DataError: a shape or dtype is none of these, there is no item, or a value is not finite.
    """

    def __init__(
        self,
        array: Tensor | NDArray[np.generic],
        labels: Tensor | NDArray[np.generic] | None = None,
        *,
        name: str = "array",
    ) -> None:
        items = torch.as_tensor(array).detach().cpu()
        is_image = items.ndim == 4 and items.dtype == torch.uint8
        is_point = items.ndim == 2 and items.is_floating_point()
        if not (is_image or is_point) or len(items) == 0:
            raise DataError(
                "ArrayDataset: expected uint8 images [N, C, H, W] or floating-point points [N, D] "
                f"with N >= 1, got {items.dtype} {tuple(items.shape)}"
            )
        if is_point and not items.isfinite().all():
            raise DataError("ArrayDataset: points contain NaN or infinity; remove them first")
        self.name = name
        self._items = items.contiguous() if is_image else items.to(torch.float32).contiguous()
        self._table = _array_labels(labels, len(items))

    def __len__(self) -> int:
        return len(self._items)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(C, H, W) of every image, or (D,) of every point."""
        return tuple(self._items.shape[1:])

    @property
    def c_dim(self) -> int:
        """Length of a label row; 0 without labels."""
        return self._table.c_dim

    def image(self, i: int) -> Tensor:
        """Return item `i` as stored: uint8 [C, H, W] or float32 [D]."""
        return self._items[int(as_index([i], len(self))[0])]

    def label(self, i: int) -> Tensor:
        """Return the label of item `i`, float32 [c_dim]."""
        return self.labels([i])[0]

    def labels(self, indices: Indices) -> Tensor:
        """Return labels, float32 [N, c_dim]; one-hot rows when the labels are classes."""
        return self._table.rows(as_index(indices, len(self)))

    def batch(self, indices: Indices, flips: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return items and labels.

        Args:
            indices: int64 [N], each in 0..len-1.
            flips: bool [N], True where an image is to be mirrored; must be all False for points.

        Returns: float32 images [N, C, H, W] in [-1, 1], or points [N, D] unchanged, and float32
            labels [N, c_dim].
        Raises: IndexError for an index outside the set; DataError for mirrored points.
        """
        index = as_index(indices, len(self))
        items, labels = self._items.index_select(0, index), self._table.rows(index)
        if items.ndim == 4:
            return to_signed_unit(items, flips), labels
        if flips is not None and bool(flips.any()):
            raise DataError("ArrayDataset: points cannot be mirrored; turn x-flips off")
        return items, labels

    def fingerprint(self) -> str:
        """Return a SHA-256 over shape, dtype, items and labels."""
        digest = hashlib.sha256(repr((self._items.dtype, tuple(self._items.shape))).encode())
        digest.update(repr(self.c_dim).encode() + self._items.numpy().tobytes())
        digest.update(self._table.values.numpy().tobytes())
        return digest.hexdigest()


def _array_labels(labels: Tensor | NDArray[np.generic] | None, count: int) -> LabelTable:
    if labels is None:
        return no_labels(count)
    values = torch.as_tensor(labels).detach().cpu()
    is_class = values.ndim == 1 and not values.is_floating_point() and values.dtype != torch.bool
    is_vector = values.ndim == 2 and values.is_floating_point()
    if len(values) != count or not (is_class or is_vector):
        raise DataError(
            f"ArrayDataset: expected {count} class numbers [N] or vectors [N, c_dim], "
            f"got {values.dtype} {tuple(values.shape)}"
        )
    if is_vector:
        return LabelTable(values.to(torch.float32), values.shape[1])
    if int(values.min()) < 0:
        raise DataError(f"ArrayDataset: expected class numbers >= 0, got {int(values.min())}")
    return class_table(values.tolist(), int(values.max()) + 1)


def _check_positive(**settings: float) -> None:
    for name, value in settings.items():
        if not value > 0:
            raise DataError(f"expected {name} above 0, got {value}")
