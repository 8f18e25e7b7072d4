import pytest
import torch

from fastgan.data import ArrayDataset
from fastgan.training.evaluator import Evaluator, Pixels


def test_pixels_are_rounded_as_saved_images_are():
    values = torch.tensor([-1.0, -0.999, 0.5, 3.0]).reshape(1, 1, 2, 2)
    features = Pixels()(values)
    assert features.shape == (1, 4)
    assert torch.allclose(features * 127.5 + 127.5, torch.tensor([[0.0, 0.0, 191.0, 255.0]]))
    assert torch.equal(Pixels()(torch.tensor([[0.1234, 5.0]])), torch.tensor([[0.1234, 5.0]]))


def test_evaluator_of_the_reals_themselves(pictures):
    evaluator = Evaluator(pictures, count=40)
    reals, _ = pictures.batch(range(40))
    assert evaluator(reals) == {
        "pixels_swd": pytest.approx(0, abs=1e-9),
        "pixels_diversity": pytest.approx(1),
    }
    collapsed = evaluator(reals[:1].expand(40, -1, -1, -1))
    assert collapsed["pixels_diversity"] == 0
    assert collapsed["pixels_swd"] > 0.2


class Brightness:
    name = "brightness"

    def __call__(self, images):
        return images.flatten(1).mean(1, keepdim=True)


def test_evaluator_takes_other_features_and_metrics():
    data = ArrayDataset(torch.arange(10.0).reshape(10, 1).repeat(1, 2), name="points")
    gap = {"gap": lambda real, fake: float(fake.mean() - real.mean())}
    evaluator = Evaluator(data, count=10, extractor=Brightness(), metrics=gap)
    assert evaluator(torch.full((10, 2), 5.5)) == {"brightness_gap": pytest.approx(1.0)}
    with pytest.raises(ValueError, match="expected 10 fakes, got 3"):
        evaluator(torch.zeros(3, 2))
