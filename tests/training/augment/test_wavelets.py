"""Filters against the equations that define them."""

import pytest
import torch

from fastgan.training.augment.wavelets import SYM2, SYM6, octave_bands

F64 = torch.float64


@pytest.mark.parametrize("taps", [SYM2, SYM6], ids=["sym2", "sym6"])
def test_wavelet_is_orthonormal(taps):
    h = torch.tensor(taps, dtype=F64)
    for shift in range(0, len(h), 2):
        product = (h[shift:] * h[: len(h) - shift]).sum()
        assert abs(product - float(shift == 0)) < 1e-11
    assert abs(h.sum() - 2**0.5) < 1e-11


@pytest.mark.parametrize("taps", [SYM2, SYM6], ids=["sym2", "sym6"])
def test_wavelet_has_all_the_vanishing_moments_of_its_length(taps):
    h = torch.tensor(taps, dtype=F64)
    high = h.flip(0) * torch.tensor([1.0, -1.0] * (len(h) // 2), dtype=F64)
    places = torch.arange(len(h), dtype=F64) - (len(h) - 1) / 2
    for order in range(len(h) // 2):
        assert abs((high * places**order).sum()) < 1e-9


def test_sym2_in_closed_form():
    root, scale = 3**0.5, 4 * 2**0.5
    exact = [(1 - root) / scale, (3 - root) / scale, (3 + root) / scale, (1 + root) / scale]
    assert pytest.approx(exact, abs=1e-14) == SYM2


def test_octave_bands_have_the_responses_of_the_closed_form():
    """|H(w)|^2 / 2 of sym2 is cos^4(w/2) (1 + 2 sin^2(w/2))."""

    def low(w):
        return (w / 2).cos() ** 4 * (1 + 2 * (w / 2).sin() ** 2)

    w = torch.linspace(0, torch.pi, 100, dtype=F64)
    expected = [
        low(w) * low(2 * w) * low(4 * w),
        low(w) * low(2 * w) * (1 - low(4 * w)),
        low(w) * (1 - low(2 * w)),
        1 - low(w),
    ]
    bands = octave_bands()
    places = torch.arange(bands.shape[1], dtype=F64) - bands.shape[1] // 2
    for band, response in zip(bands, expected, strict=True):
        found = (band[None] * (w[:, None] * places).cos()).sum(1)
        torch.testing.assert_close(found, response, rtol=0, atol=1e-12)
        assert torch.allclose(band, band.flip(0), atol=1e-15)


def test_octave_bands_sum_to_the_identity():
    total = octave_bands().sum(0)
    total[len(total) // 2] -= 1
    assert total.abs().max() < 1e-14
