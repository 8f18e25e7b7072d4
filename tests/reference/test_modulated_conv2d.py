"""modulated_conv2d's specification against the paper's form: one convolution per sample, with
the weight itself modulated and demodulated."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan import ops, reference

FILTER = ops.setup_filter([1, 3, 3, 1])


def per_sample(x: Tensor, weight: Tensor, styles: Tensor, demodulate: bool) -> Tensor:
    samples = []
    for n in range(x.shape[0]):
        w = weight * styles[n][None, :, None, None]
        if demodulate:
            w = w / torch.sqrt((w**2).flatten(1).sum(1) + 1e-8)[:, None, None, None]
        samples.append(F.conv2d(x[n : n + 1], w, padding=weight.shape[2] // 2))
    return torch.cat(samples)


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("size", [1, 3])
def test_matches_modulated_weights(demodulate: bool, size: int) -> None:
    x = torch.randn(3, 4, 6, 5, dtype=torch.float64)
    weight = torch.randn(7, 4, size, size, dtype=torch.float64)
    styles = torch.randn(3, 4, dtype=torch.float64)
    cut = (size // 2,) * 4
    y = reference.modulated_conv2d(x, weight, styles, padding=cut, demodulate=demodulate)
    torch.testing.assert_close(y, per_sample(x, weight, styles, demodulate))


@pytest.mark.parametrize("options", [{"up": 2}, {"down": 2}])
def test_resampling_equals_grouped_convolution(options: dict[str, Any]) -> None:
    n, c_in, c_out = 2, 3, 4
    x = torch.randn(n, c_in, 6, 6, dtype=torch.float64)
    weight = torch.randn(c_out, c_in, 3, 3, dtype=torch.float64)
    styles = torch.randn(n, c_in, dtype=torch.float64)
    y = reference.modulated_conv2d(
        x, weight, styles, padding=(1, 1, 1, 1), resample_filter=FILTER, **options
    )
    w = weight[None] * styles[:, None, :, None, None]
    w = w * (w.square().sum([2, 3, 4], keepdim=True) + 1e-8).rsqrt()
    grouped = reference.conv2d_resample(
        x.reshape(1, n * c_in, 6, 6), w.reshape(n * c_out, c_in, 3, 3), FILTER,
        padding=(1, 1, 1, 1), groups=n, **options,
    )  # fmt: skip
    torch.testing.assert_close(y, grouped.reshape(n, c_out, *y.shape[2:]))


def test_demodulation_keeps_unit_variance() -> None:
    x = torch.randn(4, 64, 16, 16)
    y = reference.modulated_conv2d(
        x, torch.randn(64, 64, 3, 3) * 5, torch.randn(4, 64) * 7, padding=(1, 1, 1, 1)
    )
    assert y[:, :, 1:-1, 1:-1].var().item() == pytest.approx(1.0, abs=0.1)


def test_half_precision_does_not_overflow() -> None:
    x = torch.randn(2, 64, 4, 4).half() * 100
    weight, styles = torch.randn(8, 64, 3, 3) * 1e3, torch.randn(2, 64) * 1e3
    y = reference.modulated_conv2d(x, weight, styles, padding=(1, 1, 1, 1))
    exact = reference.modulated_conv2d(
        x.double(), weight.double(), styles.double(), padding=(1, 1, 1, 1)
    )
    assert torch.isfinite(y).all()
    assert (y.double() - exact).abs().max() <= 5e-3 * exact.abs().max()


def test_noise_is_added_after_demodulation() -> None:
    x, weight, styles = torch.randn(2, 3, 4, 4), torch.randn(5, 3, 1, 1), torch.randn(2, 3)
    noise = torch.randn(2, 1, 4, 4)
    plain = reference.modulated_conv2d(x, weight, styles)
    noisy = reference.modulated_conv2d(x, weight, styles, noise=noise)
    torch.testing.assert_close(noisy - plain, noise.expand(2, 5, 4, 4), atol=1e-6, rtol=0)
