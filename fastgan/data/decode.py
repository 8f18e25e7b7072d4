"""One image file -> one uint8 array [C, H, W]: headers, colour modes, cropping and resizing.

Nothing here knows about datasets, names or labels.
"""

from __future__ import annotations

import struct
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from fastgan.errors import DataError

ResizeFilter: TypeAlias = Literal["lanczos", "box"]
Pixels: TypeAlias = NDArray[np.uint8]

RESIZE_FILTERS = {"lanczos": Image.Resampling.LANCZOS, "box": Image.Resampling.BOX}
GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"})
LISTED = 10

# What image decoders raise on damaged input, as far as it is known.
UNREADABLE = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class Header:
    """What an image file says about itself before it is decoded."""

    height: int
    width: int
    is_grey: bool


def read_header(file: IO[bytes]) -> Header:
    """Read the size (upright, in pixels) and kind of an image without decoding it.

    Raises:
        OSError or another of UNREADABLE: damaged, unknown, or above Pillow's pixel limit.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(file)
    width, height = image.size
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        limit = Image.MAX_IMAGE_PIXELS
        raise OSError(f"{width}x{height} pixels, above the safety limit of {limit} pixels")
    if _has_orientation(image) and image.getexif().get(0x0112, 1) >= 5:
        width, height = height, width
    return Header(height, width, image.mode in GREY_MODES)


def decode_image(
    file: IO[bytes], shape: tuple[int, int, int], resize_filter: ResizeFilter = "lanczos"
) -> Pixels:
    """Decode an image, flatten transparency unless it is kept, and fit it to `shape`.

    Transparent pixels are composited over white: dropping the alpha channel instead would
    uncover whatever colour the drawing program left behind them. Where transparency is kept, what
    cannot be seen becomes white for the same reason. A camera's orientation tag is
    applied. The largest centred window of the target's aspect is kept, then resized.

    Args:
        file: an image file.
        shape: (C, H, W) with C 1 (grey), 3 (RGB) or 4 (RGBA).
        resize_filter: "lanczos" (sharp) or "box" (plain averaging, no overshoot).

    Returns: uint8 [C, H, W].
    Raises: OSError or another of UNREADABLE when the file is damaged.
    """
    channels, height, width = shape
    image: Image.Image = Image.open(file)
    if _has_orientation(image):
        image = ImageOps.exif_transpose(image)
    flat = with_alpha(image) if channels == 4 else flatten(image, "L" if channels == 1 else "RGB")
    if flat.size != (width, height):
        # Not resize(box=...): its filter would reach beyond the window for neighbours.
        window = flat.crop(centre_window(flat.size, (width, height)))
        flat = window.resize((width, height), RESIZE_FILTERS[resize_filter])
    array = np.asarray(flat, dtype=np.uint8).reshape(height, width, channels)
    if channels == 4:
        array = np.where(array[..., 3:] == 0, np.array([255, 255, 255, 0], np.uint8), array)
    return np.ascontiguousarray(array.transpose(2, 0, 1))  # [C, H, W]


def flatten(image: Image.Image, mode: Literal["L", "RGB"]) -> Image.Image:
    """Convert any Pillow image to 8-bit grey or RGB without transparency."""
    image = _eight_bit(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image if image.mode == mode else image.convert(mode)


def with_alpha(image: Image.Image) -> Image.Image:
    """Convert any Pillow image to 8-bit RGBA; one without transparency is opaque."""
    image = _eight_bit(image)
    return image if image.mode == "RGBA" else image.convert("RGBA")


def _eight_bit(image: Image.Image) -> Image.Image:
    if not image.mode.startswith("I"):
        return image
    # Pillow clips 16-bit grey at 255 when it converts; keep the upper byte instead.
    wide = np.asarray(image).astype(np.int64)
    return Image.fromarray((wide.clip(0, 65535) >> 8).astype(np.uint8))


def centre_window(size: tuple[int, int], target: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom) of the largest centred window with `target`'s aspect.

    Both arguments are (width, height); the window is rounded to whole pixels.
    """
    width, height = size
    scale = min(width / target[0], height / target[1])
    kept_width = min(width, max(1, round(target[0] * scale)))
    kept_height = min(height, max(1, round(target[1] * scale)))
    left, top = (width - kept_width) // 2, (height - kept_height) // 2
    return left, top, left + kept_width, top + kept_height


def common_shape(
    names: Sequence[str],
    headers: Sequence[Header],
    resolution: tuple[int, int] | None,
    channels: int | None,
) -> tuple[int, int, int]:
    """Choose the (C, H, W) that all images are brought to.

    Raises:
        DataError: sizes differ and no resolution was asked for; lists up to 10 offenders.
    """
    if channels is None:
        channels = 1 if all(header.is_grey for header in headers) else 3
    if resolution is not None:
        return channels, *resolution
    sizes = Counter((header.height, header.width) for header in headers)
    (height, width), _ = min(sizes.items(), key=lambda item: (-item[1], item[0]))
    if len(sizes) == 1:
        return channels, height, width
    pairs = zip(names, headers, strict=True)
    others = [
        (n, f"{h.width}x{h.height}") for n, h in pairs if (h.height, h.width) != (height, width)
    ]
    raise DataError(
        f"images differ in size: most are {width}x{height} (width x height), "
        f"{len(others)} of {len(headers)} are not:\n{listing(others)}\n"
        f"Pass a resolution, such as {min(height, width)}, to crop and resize all of them."
    )


def listing(entries: Sequence[tuple[str, str]]) -> str:
    """Format up to 10 (name, reason) lines and say how many more there are."""
    lines = [f"  {name}: {reason}" for name, reason in entries[:LISTED]]
    if len(entries) > LISTED:
        lines.append(f"  ... and {len(entries) - LISTED} more")
    return "\n".join(lines)


def describe(error: BaseException) -> str:
    """Return a one-line reason for an unreadable file."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or damaged at its start"
    return " ".join(str(error).split()) or type(error).__name__


def _has_orientation(image: Image.Image) -> bool:
    # Asking a PNG for its tags would decode it; only camera formats carry orientation in practice.
    return image.format in {"JPEG", "MPO", "WEBP"}
