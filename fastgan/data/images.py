"""Image folders and zip archives as datasets of uint8 pixels with optional labels.

The order in which a run visits the images lives in sampler.py; augmentation in training/augment/.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from fastgan.data.base import Indices, as_index, to_signed_unit
from fastgan.data.decode import (
    RESIZE_FILTERS,
    UNREADABLE,
    Header,
    Pixels,
    ResizeFilter,
    common_shape,
    decode_image,
    describe,
    listing,
    read_header,
)
from fastgan.data.labels import no_labels, read_labels
from fastgan.data.sources import image_names, open_source
from fastgan.errors import DataError

T = TypeVar("T")

CACHE_BYTES = 2 << 30
FINGERPRINT_IMAGES = 64


class ImageDataset:
    """Every image of a folder or zip archive, brought to one shape.

    Images are sorted by name. They are decoded once into memory when they fit `cache_bytes`,
    else one by one when asked for.

    Args:
        path: a folder (searched recursively) or a zip archive; png, jpg, jpeg, webp, bmp.
        resolution: side in pixels, or (height, width); larger or smaller images are centre-cropped
            to that aspect and resized. None keeps the images' own size, which must then be equal.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA); None keeps grey when all images are grey, else
            RGB. Transparency is composited over white, but for RGBA.
        labels: read labels from dataset.json, or else from class folders.
        max_images: use this many images, evenly spread over the sorted names. None uses all.
        resize_filter: "lanczos" or "box".
        cache_bytes: largest decoded size kept in memory.

    Raises:
        DataError: nothing there, unreadable images (up to 10 are listed), mixed sizes without
            `resolution`, missing or malformed labels, or an argument out of range.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        resolution: int | tuple[int, int] | None = None,
        channels: int | None = None,
        labels: bool = False,
        max_images: int | None = None,
        resize_filter: ResizeFilter = "lanczos",
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        size = _checked_resolution(resolution)
        _check_options(channels, max_images, resize_filter)
        self.path = Path(path)
        self._source = open_source(path)
        self._filter: ResizeFilter = resize_filter

        all_names = image_names(self._source, path)
        self.names = _spread(all_names, max_images)
        count = len(self.names)
        self._table = (
            read_labels(self._source, all_names, self.names) if labels else no_labels(count)
        )
        self._shape = common_shape(self.names, self._scan(), size, channels)

        fits = count * int(np.prod(self._shape)) <= cache_bytes
        self._pixels = self._decode(range(count)) if fits else None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def name(self) -> str:
        """Name of the folder, or of the archive without its ending."""
        resolved = self.path.resolve()
        return resolved.name if resolved.is_dir() else resolved.stem

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        return self._shape

    @property
    def c_dim(self) -> int:
        """Length of a label row; 0 without labels."""
        return self._table.c_dim

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes where the set gives them, else empty."""
        return self._table.class_names

    @property
    def label_values(self) -> Tensor:
        """Labels as read: int64 class numbers [N], or float32 vectors [N, c_dim]."""
        return self._table.values

    @property
    def is_cached(self) -> bool:
        """Whether all images are held decoded in memory."""
        return self._pixels is not None

    def image(self, i: int) -> Tensor:
        """Return image `i`, uint8 [C, H, W]."""
        return self._rows(as_index([i], len(self)))[0]

    def label(self, i: int) -> Tensor:
        """Return the label of image `i`, float32 [c_dim]."""
        return self.labels([i])[0]

    def labels(self, indices: Indices) -> Tensor:
        """Return labels, float32 [N, c_dim]; one-hot rows when the labels are classes."""
        return self._table.rows(as_index(indices, len(self)))

    def batch(self, indices: Indices, flips: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return images and labels.

        Args:
            indices: int64 [N], each in 0..len-1.
            flips: bool [N], True where the image is to be mirrored left-right; None for none.

        Returns: float32 [N, C, H, W] in [-1, 1] and float32 [N, c_dim], both contiguous on the CPU.
        Raises: IndexError for an index outside the set; DataError for an image that has become
            unreadable since the set was opened.
        """
        index = as_index(indices, len(self))
        return to_signed_unit(self._rows(index), flips), self._table.rows(index)

    def fingerprint(self) -> str:
        """Return a SHA-256 over names, shape, labels and the pixels of 64 spread-out images."""
        digest = hashlib.sha256()
        for name in self.names:
            digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
        digest.update(repr((self._shape, self._table.c_dim)).encode())
        digest.update(self._table.values.numpy().tobytes())
        probes = _spread(range(len(self)), FINGERPRINT_IMAGES)
        digest.update(self._rows(torch.tensor(probes)).numpy().tobytes())
        return digest.hexdigest()

    def _rows(self, index: Tensor) -> Tensor:
        if self._pixels is not None:
            return self._pixels.index_select(0, index)
        return self._decode(index.tolist())

    def _scan(self) -> list[Header]:
        headers: list[Header] = []
        failures: list[tuple[str, str]] = []
        for name in self.names:
            try:
                with self._source.open(name) as file:
                    headers.append(read_header(file))
            except UNREADABLE as error:
                failures.append((name, describe(error)))
        if failures:
            # One complete list serves better than one pass per kind of damage.
            known = {name for name, _ in failures}
            rest = [i for i, name in enumerate(self.names) if name not in known]
            failures += self._try_decode(rest, np.empty((len(rest), 3, 1, 1), dtype=np.uint8))
            raise self._unreadable(failures)
        return headers

    def _decode(self, indices: Sequence[int]) -> Tensor:
        pixels = np.empty((len(indices), *self._shape), dtype=np.uint8)
        failures = self._try_decode(indices, pixels)
        if failures:
            raise self._unreadable(failures)
        return torch.from_numpy(pixels)

    def _try_decode(self, indices: Sequence[int], out: Pixels) -> list[tuple[str, str]]:
        """Decode images into the rows of `out`; return (name, reason) of those that fail."""
        _, channels, height, width = out.shape

        def work(slot: int) -> tuple[str, str] | None:
            name = self.names[indices[slot]]
            try:
                file = io.BytesIO(self._source.read(name))
                out[slot] = decode_image(file, (channels, height, width), self._filter)
            except UNREADABLE as error:
                return name, describe(error)
            return None

        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
            results = list(pool.map(work, range(len(indices))))
        return [result for result in results if result is not None]

    def _unreadable(self, failures: list[tuple[str, str]]) -> DataError:
        return DataError(
            f"{len(failures)} of {len(self)} images in {self.path} cannot be read:\n"
            f"{listing(sorted(failures))}\nReplace these files or remove them."
        )


def first_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Height and width of the first image of a folder or zip archive; no pixel is decoded.

    Raises: DataError when there is no image, or the first one cannot be read.
    """
    source = open_source(path)
    name = image_names(source, path)[0]
    try:
        with source.open(name) as file:
            header = read_header(file)
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot read {name}: {describe(error)}") from error
    return header.height, header.width


def _checked_resolution(resolution: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if resolution is None:
        return None
    pair = (resolution, resolution) if isinstance(resolution, int) else tuple(resolution)
    if len(pair) != 2 or any(not isinstance(side, int) or side < 1 for side in pair):
        raise DataError(f"expected resolution as a side or (height, width) in pixels, got {pair}")
    return pair[0], pair[1]


def _check_options(channels: int | None, max_images: int | None, resize_filter: str) -> None:
    if channels not in (None, 1, 3, 4):
        raise DataError(f"expected channels 1 (grey), 3 (RGB) or 4 (RGBA), got {channels}")
    if max_images is not None and max_images < 1:
        raise DataError(f"expected max_images of at least 1, got {max_images}")
    if resize_filter not in RESIZE_FILTERS:
        known = " or ".join(RESIZE_FILTERS)
        raise DataError(f"expected resize_filter {known}, got {resize_filter!r}")


def _spread(items: Sequence[T], limit: int | None) -> tuple[T, ...]:
    """Return at most `limit` items, evenly spread, in order."""
    if limit is None or len(items) <= limit:
        return tuple(items)
    return tuple(items[i * len(items) // limit] for i in range(limit))
