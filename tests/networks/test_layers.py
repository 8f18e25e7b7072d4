"""Layers, sizes and normalisations that the style-based networks are made of."""

import pytest
import torch

from fastgan.errors import ConfigError
from fastgan.networks import mix_styles
from fastgan.networks.geometry import HalfPrecision, Widths, nearest_sizes, pyramid
from fastgan.networks.layers import (
    EqualizedConv2d,
    FullyConnected,
    MinibatchStdDev,
    normalize_2nd_moment,
)
from fastgan.networks.stylegan2_synthesis import SynthesisLayer, SynthesisOptions
from tests.networks.stylegan2_oracle import batch_deviation


@pytest.mark.parametrize("lr_multiplier", [1.0, 0.01])
def test_fully_connected_keeps_unit_variance(lr_multiplier):
    layer = FullyConnected(256, 256, lr_multiplier=lr_multiplier)
    assert layer.weight.std().item() == pytest.approx(1 / lr_multiplier, rel=0.05)
    assert layer(torch.randn(512, 256)).std().item() == pytest.approx(1, rel=0.1)


def test_fully_connected_scales_the_bias_by_the_multiplier():
    layer = FullyConnected(4, 3, lr_multiplier=0.01, bias_init=2.0)
    torch.testing.assert_close(layer(torch.zeros(1, 4)), torch.full((1, 3), 0.02))


@pytest.mark.parametrize("options", [{}, {"up": 2}, {"down": 2}], ids=str)
def test_convolution_keeps_unit_variance(options):
    layer = EqualizedConv2d(32, 64, 3, resample_filter=(1, 1), **options)
    x = torch.randn(4, 32, 32, 32)
    # Averaging two neighbours each way divides the variance by 4, doubling keeps it.
    expected = 0.5 if "down" in options else 1.0
    interior = layer(x)[:, :, 2:-2, 2:-2]
    assert interior.std().item() == pytest.approx(expected, rel=0.1)


def test_convolution_gain_scales_output_and_clamp():
    layer = EqualizedConv2d(4, 4, 3, activation="lrelu", conv_clamp=0.5)
    x = torch.randn(2, 4, 8, 8)
    y = layer(x)
    assert y.abs().max().item() == 0.5
    torch.testing.assert_close(layer(x, gain=0.5), y * 0.5)
    plain = EqualizedConv2d(4, 4, 1, bias=False)
    torch.testing.assert_close(plain(x, gain=0.5), plain(x) * 0.5)


def test_demodulation_keeps_unit_variance_for_any_style():
    layer = SynthesisLayer(
        64, 64, size=(32, 32), index=0, up=1, options=SynthesisOptions(w_dim=8, img_channels=3)
    )
    with torch.no_grad():
        layer.weight.mul_(7.0)
    for scale in (0.1, 1.0, 30.0):
        w = scale * torch.randn(4, 8)
        x = torch.randn(4, 64, 32, 32)
        y = layer(x, w, noise_mode="none")
        # sqrt(2) * lrelu of a unit normal has second moment (1 + 0.2^2) / 2 * 2 = 1.04.
        assert y[:, :, 1:-1, 1:-1].square().mean().item() == pytest.approx(1.04, rel=0.1)


def test_normalization_gives_unit_mean_square_at_any_scale():
    x = torch.randn(5, 16) * torch.tensor([1e-2, 0.1, 1.0, 10.0, 1e3])[:, None]
    torch.testing.assert_close(
        normalize_2nd_moment(x).square().mean(dim=1), torch.ones(5), rtol=1e-3, atol=0
    )
    assert torch.equal(normalize_2nd_moment(torch.zeros(2, 4)), torch.zeros(2, 4))


def test_normalization_is_twice_differentiable():
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(normalize_2nd_moment, x)


@pytest.mark.parametrize("slices", [1, 2])
@pytest.mark.parametrize("batch", [1, 2, 4, 6, 7, 8, 12])
def test_minibatch_deviation_equals_loops(batch, slices):
    x = torch.randn(batch, 4, 3, 5, dtype=torch.float64)
    y = MinibatchStdDev(4, slices)(x)
    assert y.shape == (batch, 4 + slices, 3, 5)
    torch.testing.assert_close(y, batch_deviation(x, 4, slices))


def test_minibatch_deviation_of_equal_samples_is_the_root_of_epsilon():
    x = torch.randn(1, 4, 3, 3).repeat(4, 1, 1, 1)
    y = MinibatchStdDev(4)(x)
    torch.testing.assert_close(y[:, 4:], torch.full((4, 1, 3, 3), 1e-4))


def test_minibatch_deviation_is_twice_differentiable():
    x = torch.randn(4, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(MinibatchStdDev(2), x)
    assert torch.autograd.gradgradcheck(MinibatchStdDev(2), x)


@pytest.mark.parametrize(
    ("ws_b", "cutoff", "message"),
    [
        (torch.zeros(3, 5, 2), torch.zeros(3, dtype=torch.long), "must both be"),
        (torch.zeros(3, 4, 2), torch.zeros(2, dtype=torch.long), r"cutoff must be \[3\] integers"),
        (torch.zeros(3, 4, 2), torch.zeros(3), r"cutoff must be \[3\] integers"),
    ],
)
def test_mixing_refuses_wrong_shapes(ws_b, cutoff, message):
    with pytest.raises(ValueError, match=message):
        mix_styles(torch.zeros(3, 4, 2), ws_b, cutoff)


@pytest.mark.parametrize(
    ("size", "base", "top"),
    [
        (8, (4, 4), 8),
        (1024, (4, 4), 1024),
        ((64, 96), (4, 6), 64),
        ((96, 64), (6, 4), 64),
        ((256, 1024), (4, 16), 256),
        (48, (6, 6), 32),
        ((64, 128), (4, 8), 64),
        ((48, 80), (6, 10), 32),  # 3 x 5 doubled until it is large enough
        (72, (9, 9), 32),  # 9 x 8: no smaller base
        ((10, 14), (5, 7), 8),
    ],
)
def test_sizes_split_into_a_base_and_doublings(size, base, top):
    plan = pyramid(size)
    assert (plan.base, plan.levels[-1]) == (base, top)
    assert plan.image == ((size, size) if isinstance(size, int) else size)


@pytest.mark.parametrize(
    ("size", "nearest"),
    [
        (100, "96 x 96 or 104 x 104"),
        ((720, 1280), "704 x 1280 or 768 x 1280"),
        ((127, 200), "120 x 200 or 128 x 208"),
        (9, "8 x 8 or 10 x 10"),
    ],
)
def test_sizes_without_a_base_are_refused_with_the_nearest_ones(size, nearest):
    with pytest.raises(ValueError, match=f"nearest sizes are {nearest}"):
        pyramid(size)


def test_every_base_times_a_power_of_two_is_a_size():
    """By counting through them: 4 to 15 on the shorter side, doubled at least once."""
    possible = {(h << k, w << k) for h in range(4, 48) for w in range(4, 48) for k in range(1, 5)
                if min(h, w) <= 15}  # fmt: skip
    for height in range(8, 80):
        for width in range(8, 80):
            near = nearest_sizes(height, width)
            if (height, width) in possible:
                plan = pyramid((height, width))
                assert plan.image == (height, width)
                assert near == [(height, width)]
            else:
                with pytest.raises(ConfigError, match="both sides must be"):
                    pyramid((height, width))
                assert set(near) <= possible
                assert near[0] < (height, width) < near[-1]


def test_widths_follow_the_published_rule():
    widths = Widths(16384, 512)
    assert [widths(level) for level in (4, 16, 32, 64, 256, 1024)] == [512, 512, 512, 256, 64, 16]


@pytest.mark.parametrize(
    ("count", "top", "expected"),
    [(0, 256, []), (1, 256, [256]), (4, 256, [32, 64, 128, 256]), (4, 32, [8, 16, 32])],
)
def test_half_precision_covers_the_highest_levels_down_to_8(count, top, expected):
    levels = [4 * 2**i for i in range(top.bit_length() - 2)]
    half = HalfPrecision(count)
    assert [level for level in levels if half.covers(level, top)] == expected
