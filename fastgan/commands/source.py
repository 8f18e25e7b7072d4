"""Where training data comes from, as options; shared by commands. Reading is in `fastgan.data`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # torch comes with `open`, so that --help stays quick
    from fastgan.data import Dataset

POINTS = ("ring8", "grid25")
NUM_POINTS = 10_000


@dataclass(frozen=True)
class Source:
    """Training data."""

    data: str
    """A folder of images (searched recursively), a zip of them, "shipped" for the critters that
    come with fastgan, or "ring8" / "grid25": points for the vanilla recipe."""
    resolution: int | tuple[int, int] | None = None
    """Centre-crop and resize every image to this side, or to this height and width, in pixels.
    StyleGAN2 takes a base of 4 to 15 pixels, on the shorter side, times a power of two, and a
    longer side that is a multiple of the same power: 64, 96,
    256, or 64 128. Left out: as they are."""
    image_channels: Literal[1, 3, 4] | None = None
    """1 for grey, 3 for colour, 4 for colour with transparency. Left out: colour, unless all
    images are grey; transparent pixels are then white."""
    labels: bool = False
    """Train a conditional model with the labels of dataset.json, or else of class folders."""
    max_images: int | None = None
    """Use only this many images, evenly spread over the sorted names."""
    resize_filter: Literal["lanczos", "box"] = "lanczos"
    """How to resize: lanczos is sharp, box is plain averaging."""

    @property
    def is_file(self) -> bool:
        """Whether `data` is a path."""
        return self.data not in (*POINTS, "shipped")

    def open(self) -> Dataset:
        """Read the data set.

        Raises: DataError when it cannot be read as asked.
        """
        from fastgan import data

        if self.data in POINTS:
            return _points(self.data)
        return data.ImageDataset(
            data.shipped() if self.data == "shipped" else self.data,
            resolution=self.resolution,
            channels=self.image_channels,
            labels=self.labels,
            max_images=self.max_images,
            resize_filter=self.resize_filter,
        )


@dataclass(frozen=True)
class Peek:
    """The part of a Source that decides the size of the images."""

    data: str | None = None
    resolution: int | tuple[int, int] | None = None

    def image_size(self) -> tuple[int, int] | None:
        """Height and width of the images, from the first one; None for points or without data.

        Raises: DataError when there is no image.
        """
        if isinstance(self.resolution, int):
            return self.resolution, self.resolution
        if self.resolution is not None or self.data is None or self.data in POINTS:
            return self.resolution
        from fastgan import data

        return data.first_size(data.shipped() if self.data == "shipped" else self.data)


def _points(name: str) -> Dataset:
    import torch

    from fastgan import data

    mixture = data.ring_mixture(8) if name == "ring8" else data.grid_mixture(5)
    points = mixture.sample(NUM_POINTS, torch.Generator().manual_seed(0))
    return data.ArrayDataset(points, name=name)
