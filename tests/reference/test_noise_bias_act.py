"""noise_bias_act's specification against a formula written element by element."""

import math

import pytest
import torch

from fastgan import reference


@pytest.mark.parametrize("noise_samples", [1, 2])
@pytest.mark.parametrize("clamp", [None, 0.6])
def test_matches_scalar_formula(noise_samples: int, clamp: float | None) -> None:
    x = torch.randn(2, 3, 2, 4, dtype=torch.float64)
    noise = torch.randn(noise_samples, 1, 2, 4, dtype=torch.float64)
    bias = torch.randn(3, dtype=torch.float64)
    y = reference.noise_bias_act(x, noise, bias, act="tanh", gain=1.5, clamp=clamp)
    for n in range(2):
        for c in range(3):
            for h in range(2):
                for w in range(4):
                    plane = noise[n % noise_samples, 0, h, w].item()
                    expected = 1.5 * math.tanh(x[n, c, h, w].item() + plane + bias[c].item())
                    if clamp is not None:
                        expected = min(max(expected, -clamp), clamp)
                    assert y[n, c, h, w].item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_without_noise_and_bias_it_is_the_activation() -> None:
    x = torch.tensor([[[[-1.0, 2.0]]]], dtype=torch.float64)
    root = math.sqrt(2)
    assert reference.noise_bias_act(x).flatten().tolist() == pytest.approx([-0.2 * root, 2 * root])


def test_half_precision_rounds_once() -> None:
    """The sum is taken in float32: noise that float16 cannot hold next to x still counts."""
    x, noise = torch.full((1, 1, 1, 1), 2048.0).half(), torch.full((1, 1, 1, 1), 0.75)
    bias = torch.full((1,), 0.75).half()
    assert reference.noise_bias_act(x, noise, bias, act="linear").item() == 2050.0
