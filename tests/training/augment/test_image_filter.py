"""The filter augmentation against scipy's convolution and the gains' definition."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from fastgan.training.augment import image_filter
from fastgan.training.augment.chances import Chances
from fastgan.training.augment.wavelets import octave_bands
from tests.training.augment.cases import F64, assert_twice_differentiable, draws, images

FILTER = frozenset(("imgfilter",))


@pytest.mark.parametrize("size", [(30, 25), (8, 5), (1, 3)])
def test_filter_equals_scipy_with_mirrored_borders(size):
    image, gains = images(2, 3, *size), images(2, 4).abs()
    found = image_filter.filter_bands(image, gains).numpy()
    for n in range(2):
        taps = (gains[n] @ octave_bands()).numpy()
        once = ndimage.convolve1d(image[n].numpy(), taps, axis=2, mode="mirror")
        expected = ndimage.convolve1d(once, taps, axis=1, mode="mirror")
        np.testing.assert_allclose(found[n], expected, atol=1e-12)


def test_gains_of_one_are_the_identity():
    image = images(2, 1, 12, 9)
    filtered = image_filter.filter_bands(image, torch.ones(2, 4, dtype=F64))
    torch.testing.assert_close(filtered, image, rtol=0, atol=1e-13)


def test_each_band_scales_its_octave():
    """A constant by the lowest band's gain in both directions, the finest checks by the highest."""
    gains = torch.tensor([[0.5, 3.0, 5.0, 2.0]], dtype=F64)
    flat = torch.ones(1, 1, 16, 16, dtype=F64)
    torch.testing.assert_close(image_filter.filter_bands(flat, gains), flat * 0.25)
    sign = 1 - 2.0 * (torch.arange(16, dtype=F64) % 2)
    checks = (sign[:, None] * sign)[None, None]
    torch.testing.assert_close(image_filter.filter_bands(checks, gains), checks * 4)


def test_filter_is_twice_differentiable():
    gains = images(2, 4).abs()
    assert_twice_differentiable(lambda x: image_filter.filter_bands(x, gains), images(2, 1, 3, 4))


def test_gains_follow_the_definition():
    numbers = Chances(draws(40, F64), 0.5, FILTER)
    gains, chosen = image_filter.band_gains(numbers)
    expected_power = [10 / 13, 1 / 13, 1 / 13, 1 / 13]
    for n in range(40):
        row, any_band = [1.0] * 4, False
        for band in range(4):
            if numbers.applies("imgfilter", f"band{band}")[n]:
                t, any_band = [1.0] * 4, True
                t[band] = 2 ** numbers.normal(f"band{band}")[n].item()
                norm = math.sqrt(sum(p * x * x for p, x in zip(expected_power, t, strict=True)))
                row = [r * x / norm for r, x in zip(row, t, strict=True)]
        assert gains[n].tolist() == pytest.approx(row)
        assert chosen[n] == any_band
    assert torch.equal(gains[~chosen], torch.ones_like(gains[~chosen]))


def test_filter_is_off_in_other_bundles():
    gains, chosen = image_filter.band_gains(Chances(draws(9, F64), 1.0, frozenset()))
    assert not chosen.any()
    assert torch.equal(gains, torch.ones_like(gains))
