"""normalize_act's specification against torch's normalisation layers and a scalar formula."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan import reference

LAYERS: dict[str, Callable[[Tensor], Tensor]] = {
    "instance": lambda x: F.instance_norm(x, eps=1e-3),
    "batch": lambda x: F.batch_norm(x, None, None, training=True, eps=1e-3),
    "layer": lambda x: F.layer_norm(x, list(x.shape[1:]), eps=1e-3),
}


@pytest.mark.parametrize("stats", list(LAYERS))
def test_matches_the_layers_of_torch(stats: str) -> None:
    x = torch.randn(3, 4, 5, 2, dtype=torch.float64) * 2 + 7
    weight, bias = torch.randn(4, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    expected = LAYERS[stats](x) * weight[:, None, None] + bias[:, None, None]
    actual = reference.normalize_act(x, weight, bias, stats=stats, eps=1e-3)
    torch.testing.assert_close(actual, expected)


def test_running_statistics_are_those_of_evaluation() -> None:
    x = torch.randn(3, 4, 5, 2, dtype=torch.float64)
    mean, var = torch.randn(4, dtype=torch.float64), torch.rand(4, dtype=torch.float64)
    expected = F.batch_norm(x, mean, var, training=False)
    actual = reference.normalize_act(x, stats="batch", mean=mean, var=var)
    torch.testing.assert_close(actual, expected)


def test_parameters_per_sample_and_activation_match_a_scalar_formula() -> None:
    """AdaIN with everything behind it, pixel by pixel."""
    x = torch.randn(2, 3, 2, 2, dtype=torch.float64)
    weight, bias = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    y = reference.normalize_act(x, weight, bias, eps=0.1, act="tanh", gain=1.5, clamp=0.9)
    for n in range(2):
        for c in range(3):
            pixels = x[n, c].flatten().tolist()
            mean = sum(pixels) / 4
            deviation = math.sqrt(sum((p - mean) ** 2 for p in pixels) / 4 + 0.1)
            for i, pixel in enumerate(pixels):
                v = weight[n, c].item() * (pixel - mean) / deviation + bias[n, c].item()
                expected = min(max(1.5 * math.tanh(v), -0.9), 0.9)
                assert y[n, c].flatten()[i].item() == pytest.approx(expected, rel=1e-12)


def test_half_precision_is_computed_in_float32() -> None:
    """The squares of 600 overflow float16."""
    x = torch.tensor([-600.0, 600.0]).half().reshape(1, 1, 1, 2)
    assert reference.normalize_act(x).flatten().tolist() == [-1.0, 1.0]
