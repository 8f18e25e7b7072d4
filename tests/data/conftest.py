"""Writing small image sets for the tests of this folder."""

import zipfile

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def noise():
    """Return a function that draws random uint8 pixels, the same in every run."""
    rng = np.random.default_rng(0)

    def draw(height=8, width=8, channels=3):
        size = (height, width) if channels == 1 else (height, width, channels)
        return rng.integers(0, 256, size, dtype=np.uint8)

    return draw


@pytest.fixture
def save():
    """Return a function that writes pixels as an image file and returns them."""

    def write(path, pixels, **options):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, **options)
        return pixels

    return write


@pytest.fixture
def zip_folder():
    """Return a function that zips everything below a folder."""

    def pack(folder, path, compression=zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(path, "w", compression) as archive:
            for file in sorted(folder.rglob("*")):
                archive.write(file, file.relative_to(folder).as_posix())
        return path

    return pack
