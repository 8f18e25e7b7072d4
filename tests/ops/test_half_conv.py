"""Second derivatives of convolutions of half types on the CPU."""

import pytest
import torch
import torch.nn.functional as F

from fastgan.ops import _half_conv
from fastgan.ops._half_conv import _Output, conv2d

CASES = [(1, (1, 1), 1), (2, (0, 0), 1), (1, (0, 0), 2), (2, (1, 0), 2)]


@pytest.mark.parametrize("setting", CASES)
def test_every_order_in_float64(setting):
    x = torch.randn(2, 4, 6, 5, dtype=torch.float64, requires_grad=True)
    w = torch.randn(6, 4 // setting[2], 3, 3, dtype=torch.float64, requires_grad=True)
    stride, padding, groups = setting
    expected = F.conv2d(x, w, stride=stride, padding=padding, groups=groups)
    assert torch.equal(_Output.apply(x, w, setting), expected)
    assert torch.autograd.gradcheck(lambda x, w: _Output.apply(x, w, setting), (x, w))
    assert torch.autograd.gradgradcheck(lambda x, w: _Output.apply(x, w, setting), (x, w))


def second_order(dtype, stride, padding, groups):
    """The gradient by x and by the weight of |d |y|^2 / dx|^2, from the same numbers."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 8, 16, 16, generator=generator).requires_grad_()
    w = (torch.randn(8, 8 // groups, 3, 3, generator=generator) / 8).requires_grad_()
    y = conv2d(x.to(dtype), w.to(dtype), stride, padding, groups)
    (slope,) = torch.autograd.grad(y.float().square().sum() / 64, x, create_graph=True)
    return torch.autograd.grad(slope.square().sum(), (x, w))


@pytest.mark.parametrize("setting", CASES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_second_derivatives_are_close_to_float32(dtype, setting):
    """torch's own were off by half of the result in bfloat16."""
    epsilon = torch.finfo(dtype).eps
    pairs = zip(second_order(dtype, *setting), second_order(torch.float32, *setting), strict=True)
    for half, full in pairs:
        assert half.dtype == torch.float32
        assert ((half - full).norm() / full.norm()).item() < 4 * epsilon


def test_other_types_are_torchs_own(monkeypatch):
    def fail(*arguments):
        raise AssertionError

    monkeypatch.setattr(_half_conv._Output, "apply", fail)
    x, w = torch.randn(1, 2, 4, 4), torch.randn(2, 2, 3, 3)
    assert torch.equal(conv2d(x, w), F.conv2d(x, w))
