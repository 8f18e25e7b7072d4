"""Noise and cutout against their definitions, pixel by pixel."""

import torch

from fastgan.training.augment import corruption
from fastgan.training.augment.chances import Chances
from tests.training.augment.cases import F64, assert_twice_differentiable, draws, images


def test_noise_is_white_with_a_deviation_of_its_own_for_each_image():
    numbers = Chances(draws(500, F64), 1.0, frozenset(("noise",)))
    noisy = corruption.apply_noise(torch.zeros(500, 3, 16, 16, dtype=F64), numbers)
    sigma = (numbers.normal("noise") * 0.1).abs()
    ratio = noisy.flatten(1).std(1) / sigma
    assert abs(ratio.mean() - 1) < 0.01
    assert ratio.std() < 0.04
    assert abs(noisy.mean()) < 1e-3


def test_noise_is_not_drawn_where_it_is_off(monkeypatch):
    numbers = Chances(draws(5), 1.0, frozenset(("cutout",)))
    monkeypatch.setattr(type(numbers.draws), "normal", None)
    image = images(5, 1, 2, 2, dtype=torch.float32)
    assert corruption.apply_noise(image, numbers) is image


def test_cutout_clears_half_of_each_side_around_its_centre():
    centre = torch.tensor([[0.5, 0.5], [0.0, 1.0], [0.3, 0.8]], dtype=F64)
    image = images(3, 2, 6, 10)
    found = corruption.cut_out(image, centre)
    for n, (cx, cy) in enumerate(centre.tolist()):
        for y in range(6):
            for x in range(10):
                inside = -0.25 <= (x + 0.5) / 10 - cx < 0.25 and -0.25 <= (y + 0.5) / 6 - cy < 0.25
                expected = torch.zeros(2, dtype=F64) if inside else image[n, :, y, x]
                assert torch.equal(found[n, :, y, x], expected)
    assert (found[0, 0] == 0).sum() == 3 * 5


def test_corruptions_are_twice_differentiable():
    noise, sigma = images(2, 1, 3, 3), torch.tensor([0.1, 0.3], dtype=F64)
    centre = torch.tensor([[0.5, 0.4], [0.1, 0.9]], dtype=F64)
    x = images(2, 1, 3, 3) + 1
    assert_twice_differentiable(lambda x: corruption.add_noise(x, noise, sigma), x)
    assert_twice_differentiable(lambda x: corruption.cut_out(x, centre), x)
