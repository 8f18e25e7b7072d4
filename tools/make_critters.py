"""Render fastgan/assets/critters64.zip, or check that it is what this script renders.

Needs, beside fastgan itself, packages that the project does not use otherwise:

    pip install dicebear-core==10.7.0 dicebear-styles==10.6.0 resvg-py==0.5.0
    python tools/make_critters.py            # writes the archive
    python tools/make_critters.py --check    # renders again and compares the decoded pixels
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import io
import json
import sys
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fastgan.data import ImageDataset, write_dataset
from fastgan.data.decode import Pixels

ARCHIVE = Path(__file__).resolve().parent.parent / "fastgan" / "assets" / "critters64.zip"
NUM_IMAGES = 4096
RESOLUTION = 64


def load_style() -> Any:
    """Return the style definition shipped in dicebear-styles."""
    definition = files("dicebear_styles").joinpath("critters.json").read_text("utf-8")
    return json.loads(definition)


def render(definition: Any, num_images: int) -> Iterator[tuple[Pixels, str]]:
    """Yield (uint8 [H, W, 3], name of the body shape) for seeds 0..num_images-1."""
    dicebear = importlib.import_module("dicebear")
    resvg = importlib.import_module("resvg_py")
    style = dicebear.Style(definition)
    for seed in range(num_images):
        avatar = dicebear.Avatar(style, {"seed": str(seed), "size": RESOLUTION}).to_json()
        png = bytes(resvg.svg_to_bytes(svg_string=avatar["svg"]))
        pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))
        if pixels[:, :, 3].min() < 255:
            raise SystemExit(f"seed {seed}: expected an opaque image, got transparent pixels")
        yield np.ascontiguousarray(pixels[:, :, :3]), str(avatar["options"]["bodyVariant"])


def digest(images: Iterable[Pixels], labels: Iterable[int]) -> str:
    """Return the SHA-256 of all pixels (H, W, C order) followed by all labels."""
    result = hashlib.sha256()
    for pixels in images:
        result.update(pixels.tobytes())
    result.update(np.array(list(labels), dtype="<i8").tobytes())
    return result.hexdigest()


def archive_digest() -> str:
    """Return the digest of the shipped archive."""
    data = ImageDataset(ARCHIVE, labels=True)
    images = (data.image(i).permute(1, 2, 0).contiguous().numpy() for i in range(len(data)))
    return digest(images, data.label_values.tolist())


def main() -> int:
    """Write or check the archive; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the shipped archive")
    check = parser.parse_args().check

    definition = load_style()
    classes = sorted(definition["components"]["body"]["variants"])
    rendered = list(render(definition, NUM_IMAGES))
    images = [pixels for pixels, _ in rendered]
    labels = [classes.index(body) for _, body in rendered]
    if len({pixels.tobytes() for pixels in images}) != NUM_IMAGES:
        raise SystemExit("two seeds gave the same picture")

    if not check:
        write_dataset(ARCHIVE, images, labels, class_names=classes, optimize=True)
    expected, found = digest(images, labels), archive_digest()
    print(f"{NUM_IMAGES} images, {ARCHIVE.stat().st_size} bytes, pixels and labels {found}")
    if found != expected:
        print(f"mismatch: rendering gives {expected}", file=sys.stderr)
    return int(found != expected)


if __name__ == "__main__":
    raise SystemExit(main())
