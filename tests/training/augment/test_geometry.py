"""Geometric augmentation against flips, turns and shifts of torch and numpy, and closed forms."""

import math

import numpy as np
import pytest
import torch

from fastgan.training.augment import geometry
from fastgan.training.augment.chances import Chances
from fastgan.training.augment.pipeline import BUNDLES
from tests.training.augment.cases import F64, assert_twice_differentiable, draws, images, waves


def matrix(rows, n=1):
    return torch.tensor([*rows, [0, 0, 1]], dtype=F64).expand(n, 3, 3)


def rotation(angle, scale=1.0, shift=(0.0, 0.0)):
    c, s = math.cos(angle) * scale, math.sin(angle) * scale
    return matrix([[c, -s, shift[0]], [s, c, shift[1]]])


MIRROR = matrix([[-1, 0, 0], [0, 1, 0]])
QUARTER = matrix([[0, -1, 0], [1, 0, 0]])
HALF = matrix([[-1, 0, 0], [0, -1, 0]])


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_blits_copy_pixels(dtype):
    square, oblong = images(2, 3, 6, 6, dtype=dtype), images(2, 4, 5, 8, dtype=dtype)
    of = lambda m: m.to(dtype).expand(2, 3, 3)  # noqa: E731
    assert torch.equal(geometry.blit(square, of(QUARTER)), torch.rot90(square, 1, (2, 3)))
    assert torch.equal(geometry.blit(square, of(QUARTER @ QUARTER @ QUARTER)),
                       torch.rot90(square, -1, (2, 3)))  # fmt: skip
    assert torch.equal(geometry.blit(oblong, of(HALF)), torch.rot90(oblong, 2, (2, 3)))
    assert torch.equal(geometry.blit(oblong, of(MIRROR)), oblong.flip(3))


@pytest.mark.parametrize("shift", [(0, 1), (-3, 0), (2, -4)])
def test_integer_shift_is_a_roll_with_reflection(shift):
    """Sample (x, y) of the result is sample (x - shift) of the mirrored image."""
    dx, dy = shift
    image = images(1, 2, 6, 7)
    padded = np.pad(image.numpy(), [(0, 0), (0, 0), (5, 5), (5, 5)], mode="reflect")
    expected = np.roll(padded, (dy, dx), axis=(2, 3))[:, :, 5:-5, 5:-5]
    found = geometry.blit(image, matrix([[1, 0, -dx], [0, 1, -dy]]))
    assert np.array_equal(found.numpy(), expected)


def test_quarter_turns_of_oblong_images_stay_inside():
    for height, width in ((4, 6), (5, 8)):
        image = images(1, 1, height, width)
        turned = geometry.blit(image, QUARTER)
        assert torch.isin(turned, image).all()
        column, side = turned[0, 0, :, width // 2], image[0, 0]
        assert any(torch.isin(column, row).all() for row in side)


@pytest.mark.parametrize("size", [(16, 16), (9, 14), (1, 5), (3, 2)])
def test_warp_by_the_identity_gives_the_image_back(size):
    image = images(2, 3, *size)
    warped = geometry.warp(image, matrix([[1, 0, 0], [0, 1, 0]], 2))
    torch.testing.assert_close(warped, image, rtol=0, atol=3e-6)  # the taps are float32


def test_warp_by_whole_pixels_equals_the_blit_inside():
    image = images(1, 2, 24, 24)
    by = matrix([[1, 0, 3], [0, 1, -2]])
    difference = geometry.warp(image, by) - geometry.blit(image, by)
    assert difference[..., 6:-6, 6:-6].abs().max() < 3e-6


@pytest.mark.parametrize(
    "by",
    [
        rotation(0.7),
        rotation(math.pi / 2),
        rotation(-2.5, shift=(1.3, -0.8)),
        rotation(0.0, scale=0.8),  # a place of the output shows one nearer to the middle
        rotation(0.4, scale=1.1),
        matrix([[1.2, 0.1, 0.4], [0, 0.8, 0.2]]),
        matrix([[-1, 0, 0.5], [0, 1, 0.25]]),
    ],
)
@pytest.mark.parametrize("size", [(40, 40), (40, 48)])
def test_warp_shows_each_place_what_lies_where_the_matrix_says(by, size):
    """For smooth waves the answer is known in closed form, away from borders."""
    image, at = waves(*size, channels=3)
    warped = geometry.warp(image, by)
    y = torch.arange(size[0], dtype=F64)[:, None] - (size[0] - 1) / 2
    x = torch.arange(size[1], dtype=F64)[None, :] - (size[1] - 1) / 2
    (a, b, c), (d, e, f), _ = by[0]
    expected = at(a * x + b * y + c, d * x + e * y + f)[None]
    inside = slice(14, -14)
    error = (warped - expected)[..., inside, inside].abs().max()
    assert error < 0.015  # half of a bilinear kernel's blur at this frequency; 2 is the amplitude
    assert warped.shape == image.shape


def test_far_places_are_mirrored():
    """A constant stays constant, and a row of a gradient image never leaves its range."""
    flat = torch.full((1, 1, 8, 12), 0.7, dtype=F64)
    far = rotation(1.0, scale=5.0, shift=(100.0, -60.0))
    torch.testing.assert_close(geometry.warp(flat, far), flat, rtol=0, atol=1e-6)


@pytest.mark.parametrize("function", [geometry.blit, geometry.warp])
def test_geometry_is_twice_differentiable(function):
    by = QUARTER if function is geometry.blit else rotation(0.5, 1.2, (0.4, -0.3))
    assert_twice_differentiable(lambda x: function(x, torch.cat([by, MIRROR])), images(2, 1, 4, 5))


def chances(batch, probability, bundle="bg"):
    return Chances(draws(batch, F64), probability, BUNDLES[bundle])


def test_matrices_have_the_distribution_they_name():
    """At p = 1: areas from the scale alone, of deviation 2 * 0.2 octaves; all kinds of blits."""
    numbers = chances(20_000, 1.0)
    moves, is_moved = geometry.move_matrices(numbers, 32, 32)
    assert is_moved.all()
    area = torch.linalg.det(moves).log2()
    assert abs(area.mean()) < 0.02
    assert abs(area.std() - 0.4) < 0.02
    ratio = torch.linalg.svdvals(moves[:, :2, :2])
    stretch = (ratio[:, 0] / ratio[:, 1]).log2()  # |2 * 0.2 N|, mean 0.4 sqrt(2 / pi)
    assert abs(stretch.mean() - 0.4 * math.sqrt(2 / math.pi)) < 0.02
    blits, _ = geometry.blit_matrices(numbers, 32, 16)
    kinds = {tuple(m) for m in blits[:, :2, :2].flatten(1).int().tolist()}
    assert len(kinds) == 8  # all symmetries of the square
    back = -(torch.linalg.inv(blits) @ torch.tensor([0, 0, 1.0], dtype=F64))[:, :2]
    assert torch.equal(back, back.round())
    assert back.abs().amax(0).tolist() == [2, 4]  # an eighth of width 16 and height 32


def test_shift_by_fractions_has_an_eighth_of_the_size_as_deviation():
    only = Chances(draws(20_000, F64), 1.0, frozenset(("xfrac",)))
    moves, _ = geometry.move_matrices(only, 32, 16)
    deviation = moves[:, :2, 2].std(0)
    assert abs(deviation[0] - 2) < 0.05
    assert abs(deviation[1] - 4) < 0.1


def test_rotation_either_way_happens_with_the_probability_itself():
    only = Chances(draws(20_000, F64), 0.3, frozenset(("rotate",)))
    _, turned = geometry.move_matrices(only, 32, 32)
    assert abs(turned.double().mean() - 0.3) < 5 * math.sqrt(0.3 * 0.7 / 20_000)


def test_matrices_compose_in_the_order_of_the_pipeline():
    """Each factor by itself, from draws of one transform, multiplied in order."""
    names = ("scale", "rotate", "aniso", "xfrac")
    whole, _ = geometry.move_matrices(Chances(draws(50, F64), 1.0, frozenset(names)), 20, 24)
    single = {
        name: geometry.move_matrices(Chances(draws(50, F64), 1.0, frozenset((name,))), 20, 24)[0]
        for name in names
    }
    numbers = chances(50, 1.0)
    before, after = (numbers.uniform(n, -math.pi, math.pi) for n in
                     ("rotate_before", "rotate_after"))  # fmt: skip
    turns = [torch.cat([rotation(-angle) for angle in angles]) for angles in (before, after)]
    torch.testing.assert_close(single["rotate"], turns[0] @ turns[1])
    expected = single["scale"] @ turns[0] @ single["aniso"] @ turns[1] @ single["xfrac"]
    torch.testing.assert_close(whole, expected)
