"""Datasets and the order they are visited in. No network, loss or training code."""

from __future__ import annotations

from pathlib import Path

from fastgan.data.base import Dataset
from fastgan.data.images import ImageDataset, first_size
from fastgan.data.pack import pack_folder, write_dataset
from fastgan.data.sampler import EpochSampler, flips
from fastgan.data.synthetic import (
    ArrayDataset,
    GaussianMixture,
    Shapes,
    grid_mixture,
    ring_mixture,
    shapes,
)
from fastgan.errors import DataError

__all__ = [
    "ArrayDataset",
    "Dataset",
    "EpochSampler",
    "GaussianMixture",
    "ImageDataset",
    "Shapes",
    "first_size",
    "flips",
    "grid_mixture",
    "pack_folder",
    "ring_mixture",
    "shapes",
    "shipped",
    "write_dataset",
]


def shipped(name: str = "critters64") -> Path:
    """Return the path of a dataset that comes with the package.

    Raises:
        DataError: there is no such dataset.
    """
    assets = Path(__file__).resolve().parent.parent / "assets"
    path = assets / f"{name}.zip"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in assets.glob("*.zip"))) or "none"
        raise DataError(f"no shipped dataset {name!r}; this installation has: {known}")
    return path
