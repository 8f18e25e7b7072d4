"""The trained generator that comes with the package: small, sound, varied, as its report says."""

import json

import numpy as np
import torch
from safetensors.torch import load_file

from fastgan.data import ImageDataset, shipped
from fastgan.files import sha256
from fastgan.synthesis.model_file import load_model, save_model, shipped_model
from fastgan.synthesis.synthesizer import Synthesizer


def mean_distance(images):
    """Mean squared difference of two images."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    return 2 * flat.var(axis=0, ddof=1).sum()


def test_the_file_is_small_and_in_half_precision():
    path = shipped_model()
    assert path.stat().st_size <= 12 * 10**6
    kinds = {t.dtype for t in load_file(path).values() if t.is_floating_point()}
    assert kinds == {torch.float16}


def test_the_report_is_of_this_file():
    report = json.loads(shipped_model().with_suffix(".json").read_text())
    assert report["file"]["sha256"] == sha256(shipped_model())
    generator, info = load_model(shipped_model())
    assert report["training"]["images"] == info.images_seen
    assert {p.dtype for p in generator.parameters()} == {torch.float32}


def test_half_precision_weights_keep_the_images(tmp_path):
    generator, info = load_model(shipped_model())
    again = save_model(tmp_path / "again.safetensors", generator.half(), info)
    first, second = (Synthesizer.from_checkpoint(p) for p in (shipped_model(), again))
    assert (first.render(seeds=range(4)) == second.render(seeds=range(4))).all()


def test_images_are_as_varied_and_as_bright_as_the_data():
    fakes = Synthesizer.from_checkpoint(shipped_model()).render(seeds=range(256))
    dataset = ImageDataset(shipped())
    reals = np.stack([dataset.image(16 * i).permute(1, 2, 0).numpy() for i in range(256)])
    assert 0.85 < mean_distance(fakes) / mean_distance(reals) < 1.15
    assert np.abs(fakes.mean(axis=(0, 1, 2)) - reals.mean(axis=(0, 1, 2))).max() < 12
    distances = (
        (fakes[:, None, ::4, ::4] - fakes[None, :, ::4, ::4].astype(np.float32)) ** 2
    ).mean(axis=(2, 3, 4))
    assert distances[~np.eye(256, dtype=bool)].min() > 10  # no two are the same
