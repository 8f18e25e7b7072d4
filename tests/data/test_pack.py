"""The written archive: format, determinism, and nothing half-written."""

import json
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from fastgan.data import ImageDataset, pack_folder, write_dataset
from fastgan.errors import DataError


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(5):
        path = tmp_path / "set" / f"class{i % 2}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    return tmp_path / "set"


def test_packed_archive_holds_the_same_pixels_and_labels(folder, tmp_path):
    path = pack_folder(folder, tmp_path / "out.zip", labels=True)
    source, packed = ImageDataset(folder, labels=True), ImageDataset(path, labels=True)
    for ours, theirs in zip(packed.batch(range(5)), source.batch(range(5)), strict=True):
        assert torch.equal(ours, theirs)
    assert packed.class_names == source.class_names


def test_packed_archive_has_the_documented_layout(folder, tmp_path):
    path = pack_folder(folder, tmp_path / "out.zip", resolution=4)
    with zipfile.ZipFile(path) as archive:
        names = [entry.filename for entry in archive.infolist()]
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        assert json.loads(archive.read("dataset.json")) == {"labels": None}
    assert names == [f"00000/img{i:08}.png" for i in range(5)] + ["dataset.json"]
    assert ImageDataset(path).image_shape == (3, 4, 4)


def test_packing_twice_gives_the_same_bytes(folder, tmp_path):
    first = pack_folder(folder, tmp_path / "first.zip", labels=True).read_bytes()
    assert pack_folder(folder, tmp_path / "second.zip", labels=True).read_bytes() == first


def test_failed_packing_leaves_the_old_archive_alone(folder, tmp_path):
    target = tmp_path / "out.zip"
    target.write_bytes(b"old")

    def images():
        yield np.zeros((4, 4, 3), dtype=np.uint8)
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        write_dataset(target, images())
    assert target.read_bytes() == b"old"
    (folder / "class0" / "bad.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"bad\.png"):
        pack_folder(folder, target)
    assert target.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.zip", "set"]


def test_folders_of_the_archive_hold_a_thousand_images_each(tmp_path):
    blank = np.zeros((1, 1, 1), dtype=np.uint8)
    path = write_dataset(tmp_path / "out.zip", [blank] * 1001)
    data = ImageDataset(path)
    assert data.names[999:] == ("00000/img00000999.png", "00001/img00001000.png")
    assert data.image_shape == (1, 1, 1)
