"""Colour augmentation against closed forms and colorsys' idea of grey, hue and saturation."""

import math

import pytest
import torch

from fastgan.training.augment import color
from fastgan.training.augment.chances import Chances
from fastgan.training.augment.pipeline import BUNDLES
from tests.training.augment.cases import F64, assert_twice_differentiable, draws, images

EYE = torch.eye(3, dtype=F64)
GRAY = torch.ones(3, dtype=F64)


def of(*values):
    return torch.tensor(values, dtype=F64)


def test_hue_of_a_whole_turn_is_the_identity_and_thirds_permute_the_channels():
    turns = color.hue_rotation(of(0, 2 * math.pi, 2 * math.pi / 3))
    torch.testing.assert_close(turns[0], EYE, rtol=0, atol=0)
    torch.testing.assert_close(turns[1], EYE)
    torch.testing.assert_close(turns[2] @ of(1, 0, 0), of(0, 1, 0))
    torch.testing.assert_close(turns[2] @ of(0, 1, 0), of(0, 0, 1))


def test_hue_rotations_add_and_keep_lengths_and_greys():
    a, b, c = color.hue_rotation(of(0.4, 1.1, 1.5))
    torch.testing.assert_close(b @ a, c)
    torch.testing.assert_close(a @ a.T, EYE)
    torch.testing.assert_close(a @ GRAY, GRAY)


def test_luma_flip_twice_is_the_identity():
    flip, stay = color.luma_flip(torch.tensor([True, False]))
    torch.testing.assert_close(flip @ flip, EYE)
    torch.testing.assert_close(stay, EYE, rtol=0, atol=0)
    torch.testing.assert_close(flip @ GRAY, -GRAY)
    torch.testing.assert_close(flip @ of(1, -1, 0), of(1, -1, 0))  # without luma


def test_saturation_scales_the_distance_from_grey():
    none, same, double = color.saturation(of(0, 1, 2))
    x = images(3)
    torch.testing.assert_close(none @ x, GRAY * x.mean())
    torch.testing.assert_close(same @ x, x)
    torch.testing.assert_close(double @ x - x.mean(), 2 * (x - x.mean()))


def test_recolor_maps_each_pixel_and_leaves_alpha_alone():
    image, maps = images(2, 4, 3, 5), images(2, 3, 4)
    found = color.recolor(image, maps)
    assert torch.equal(found[:, 3], image[:, 3])
    for n in range(2):
        for y in range(3):
            for x in range(5):
                expected = maps[n, :, :3] @ image[n, :3, y, x] + maps[n, :, 3]
                torch.testing.assert_close(found[n, :3, y, x], expected)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_recolor_is_twice_differentiable(channels):
    colors = min(channels, 3)
    maps = images(2, colors, colors + 1)
    assert_twice_differentiable(lambda x: color.recolor(x, maps), images(2, channels, 2, 2))


def only(*names, probability=1.0, batch=20_000):
    return Chances(draws(batch, F64), probability, frozenset(names))


def test_brightness_then_contrast():
    numbers = only("brightness", "contrast")
    maps, chosen = color.color_matrices(numbers)
    assert chosen.all()
    scale, shift = maps[:, 0, 0], maps[:, 0, 3] / maps[:, 0, 0]
    assert abs(scale.log2().mean()) < 0.02
    assert abs(scale.log2().std() - 0.5) < 0.02
    assert abs(shift.std() - 0.2) < 0.01
    assert maps[:, 0, 1].abs().max() < 1e-15


def test_all_colour_transforms_compose_in_order():
    names = ("brightness", "contrast", "lumaflip", "hue", "saturation")
    whole, _ = color.color_matrices(only(*names, batch=30))
    light, _ = color.color_matrices(only(*names[:2], batch=30))
    flip, hue, dye = (color.color_matrices(only(name, batch=30))[0][:, :, :3] for name in names[2:])
    torch.testing.assert_close(whole, dye @ hue @ flip @ light)


def test_luma_is_flipped_half_of_the_time_at_most():
    _, flipped = color.color_matrices(only("lumaflip", probability=0.6))
    assert abs(flipped.double().mean() - 0.3) < 5 * math.sqrt(0.3 * 0.7 / 20_000)


def test_grey_images_have_brightness_and_contrast_only():
    grey, _ = color.grey_matrices(Chances(draws(10, F64), 1.0, BUNDLES["color"]))
    rgb, _ = color.color_matrices(only("brightness", "contrast", batch=10))
    torch.testing.assert_close(grey, rgb[:, :1, [0, 3]])
    _, chosen = color.grey_matrices(only("lumaflip", "hue", "saturation", batch=10))
    assert not chosen.any()
