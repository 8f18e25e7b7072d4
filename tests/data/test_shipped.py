"""The data that comes with the package is what its README says."""

import hashlib
import json
import zipfile

import numpy as np
import pytest
import torch

from fastgan.data import ImageDataset, shipped
from fastgan.errors import DataError

# Printed by tools/make_critters.py: SHA-256 of all pixels [N, H, W, C], then the labels.
CRITTERS_SHA256 = "6e6bc6ee7984d64db7aefa6efceab3bea7ea989189dff9f399b9bc24772a4f37"


@pytest.fixture(scope="module")
def critters():
    return ImageDataset(shipped(), labels=True)


def test_critters_pixels_and_labels_are_those_rendered(critters):
    digest = hashlib.sha256()
    for i in range(len(critters)):
        digest.update(critters.image(i).permute(1, 2, 0).contiguous().numpy().tobytes())
    digest.update(critters.label_values.numpy().astype("<i8").tobytes())
    assert digest.hexdigest() == CRITTERS_SHA256


def test_critters_have_the_stated_shape_and_classes(critters):
    assert len(critters) == 4096
    assert critters.image_shape == (3, 64, 64)
    assert critters.c_dim == len(critters.class_names) == 14
    counts = torch.bincount(critters.label_values)
    assert counts.min() == 265
    assert counts.max() == 321


def test_critters_are_distinct_and_colourful(critters):
    images = critters.batch(range(len(critters)))[0]
    assert len({critters.image(i).numpy().tobytes() for i in range(len(critters))}) == 4096
    corners = np.unique(critters.batch(range(500))[0][:, :, 0, 0].numpy(), axis=0)
    assert len(corners) == 12  # background colours
    saturation = (images.amax(dim=1) - images.amin(dim=1)).mean()
    assert saturation > 0.3


def test_critters_archive_is_small_and_stored():
    path = shipped()
    assert path.stat().st_size <= 8_000_000
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        content = json.loads(archive.read("dataset.json"))
    assert {entry.compress_type for entry in entries} == {zipfile.ZIP_STORED}
    assert entries[0].filename == "00000/img00000000.png"
    assert entries[4095].filename == "00004/img00004095.png"
    assert content["labels"][0][0] == entries[0].filename


def test_critters_come_with_their_licence():
    text = shipped().with_name("LICENSE-critters.txt").read_text(encoding="utf-8")
    assert "CC0-1.0" in text


def test_shipped_names_what_there_is():
    with pytest.raises(DataError, match=r"no shipped dataset 'faces'.*critters64"):
        shipped("faces")
