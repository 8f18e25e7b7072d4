"""Writing a dataset zip: stored PNGs named 00000/img00000000.png, and dataset.json.

The same pixels give the same bytes under the same Pillow: dates and attributes are fixed.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from PIL import Image

from fastgan.data.decode import Pixels
from fastgan.data.images import ImageDataset
from fastgan.data.labels import LABEL_FILE

Label: TypeAlias = int | list[float]

_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack_folder(
    src: str | os.PathLike[str],
    dst_zip: str | os.PathLike[str],
    resolution: int | tuple[int, int] | None = None,
    *,
    channels: int | None = None,
    labels: bool = False,
    max_images: int | None = None,
) -> Path:
    """Write the images of a folder (or zip) as a dataset zip, replacing `dst_zip` atomically.

    Args: as for ImageDataset; `labels` carries class numbers or vectors over.

    Returns: the path of the archive.
    Raises: DataError as ImageDataset does; OSError when the archive cannot be written.
    """
    data = ImageDataset(
        src, resolution=resolution, channels=channels, labels=labels, max_images=max_images
    )
    pixels = (data.image(i).numpy().transpose(1, 2, 0) for i in range(len(data)))  # [H, W, C]
    values = data.label_values.tolist() if labels else None
    return write_dataset(dst_zip, pixels, values, class_names=data.class_names)


def write_dataset(
    dst_zip: str | os.PathLike[str],
    images: Iterable[Pixels],
    labels: Sequence[Label] | None = None,
    *,
    class_names: Sequence[str] = (),
    optimize: bool = False,
) -> Path:
    """Write images as a dataset zip.

    Args:
        dst_zip: the archive; an existing one is replaced only once the new one is complete.
        images: uint8 [H, W, C] each, C 1, 3 or 4.
        labels: a class number or vector per image, or None.
        class_names: a name per class.
        optimize: smallest PNGs instead of fastest ones.

    Returns: the path of the archive.
    Raises: OSError when the archive cannot be written.
    """
    target = Path(dst_zip)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                names = list(_write_images(archive, images, optimize))
                _write_entry(archive, LABEL_FILE, _label_json(names, labels, class_names))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return target


def _write_images(
    archive: zipfile.ZipFile, images: Iterable[Pixels], optimize: bool
) -> Iterator[str]:
    for i, pixels in enumerate(images):
        name = f"{i // 1000:05d}/img{i:08d}.png"
        buffer = io.BytesIO()
        image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        image.save(buffer, "PNG", optimize=optimize, compress_level=9 if optimize else 0)
        _write_entry(archive, name, buffer.getvalue())
        yield name


def _write_entry(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, date_time=_EPOCH)
    entry.create_system = 3  # the same bytes on every operating system
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content)


def _label_json(
    names: Sequence[str], labels: Sequence[Label] | None, class_names: Sequence[str]
) -> bytes:
    content: dict[str, object] = {"labels": None}
    if labels is not None:
        content["labels"] = [list(pair) for pair in zip(names, labels, strict=True)]
    if class_names:
        content["classes"] = list(class_names)
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"
