"""bias_act's specification against formulas written another way, element by element."""

import math

import pytest
import torch

from fastgan import reference
from fastgan.reference.bias_act import ACTIVATIONS

FORMULAS = {
    "linear": lambda v: v,
    "relu": lambda v: max(v, 0.0),
    "lrelu": lambda v: v if v > 0 else 0.3 * v,
    "tanh": math.tanh,
    "sigmoid": lambda v: 1 / (1 + math.exp(-v)),
    "elu": lambda v: v if v > 0 else math.expm1(v),
    "selu": lambda v: 1.0507009873554805 * (v if v > 0 else 1.6732632423543772 * math.expm1(v)),
    "softplus": lambda v: math.log1p(math.exp(v)),
    "swish": lambda v: v / (1 + math.exp(-v)),
}


@pytest.mark.parametrize("act", list(ACTIVATIONS))
@pytest.mark.parametrize("clamp", [None, 0.7])
def test_matches_scalar_formula(act: str, clamp: float | None) -> None:
    x = torch.randn(2, 3, 4, dtype=torch.float64) * 2
    bias = torch.randn(3, dtype=torch.float64)
    y = reference.bias_act(x, bias, act=act, alpha=0.3, gain=1.7, clamp=clamp)
    for n in range(2):
        for c in range(3):
            for i in range(4):
                expected = 1.7 * FORMULAS[act](x[n, c, i].item() + bias[c].item())
                if clamp is not None:
                    expected = min(max(expected, -clamp), clamp)
                assert y[n, c, i].item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_defaults_are_those_of_the_table() -> None:
    x = torch.tensor([[-1.0, 2.0]], dtype=torch.float64)
    root = math.sqrt(2)
    assert reference.bias_act(x)[0].tolist() == pytest.approx([-0.2 * root, 2 * root])
    assert reference.bias_act(x, act="relu")[0].tolist() == pytest.approx([0.0, 2 * root])
    assert reference.bias_act(x, act="linear").tolist() == [[-1.0, 2.0]]
    gains = {name: row.default_gain for name, row in ACTIVATIONS.items()}
    assert {name for name, gain in gains.items() if gain == pytest.approx(root)} == {
        "relu",
        "lrelu",
        "swish",
    }


def test_gradient_passes_strictly_inside_the_clamp() -> None:
    x = torch.tensor([-2.0, -1.0, -0.5, 0.5, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    reference.bias_act(x, act="linear", clamp=1.0, dim=0).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 0, 1, 1, 0, 0]


def test_bias_runs_along_the_dimension_named() -> None:
    x = torch.zeros(2, 3)
    y = reference.bias_act(x, torch.tensor([1.0, 2.0]), dim=0, act="linear")
    assert y.tolist() == [[1, 1, 1], [2, 2, 2]]
