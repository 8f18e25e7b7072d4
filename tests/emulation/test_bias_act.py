"""The CUDA kernels of bias_act, run on the CPU, against the specification."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fastgan import reference
from fastgan.reference.bias_act import ACTIVATIONS
from tests import cases
from tests.emulation import emulated
from tests.emulation.emulated import FORWARD, GRAD, GRAD2, Options
from tests.tolerances import DTYPES, assert_close_to_exact

ACTS = list(ACTIVATIONS)
DENSE = ["contiguous", "channels_last", "transposed", "batch_last"]


def specified(x, bias, g, h, o: Options, dtype) -> list[Tensor]:
    """y, grad_x, grad_bias and the second gradient, of values rounded to x's dtype."""
    x = x.to(dtype).requires_grad_()
    b = x.new_zeros(x.shape[o.dim]) if bias is None else bias.to(dtype)
    b = b.detach().requires_grad_()
    y = reference.bias_act(x, b, dim=o.dim, act=o.act, gain=o.gain, clamp=o.clamp)
    first = torch.autograd.grad(y, (x, b), g.to(dtype), create_graph=True)
    if not first[0].requires_grad:  # linear without a clamp
        return [y, *first, torch.zeros_like(x)]
    (second,) = torch.autograd.grad(first[0], x, h.to(dtype), materialize_grads=True,
                                    allow_unused=True)  # fmt: skip
    return [y, *first, second]


def assert_matches(x: Tensor, bias: Tensor | None, o: Options) -> None:
    """Every launcher, with and without the sum, against the specification."""
    g, h = torch.randn_like(x), torch.randn_like(x)
    plain, _ = emulated.run(GRAD, x, g, bias=bias, options=o)
    summed, grad_bias = emulated.run(GRAD, x, g, bias=bias, with_sum=True, options=o)
    assert torch.equal(plain, summed)
    y, _ = emulated.run(FORWARD, x, bias=bias, options=o)
    second, _ = emulated.run(GRAD2, x, g, h, bias, options=o)
    rounded, exact = (specified(x, bias, g, h, o, t) for t in (x.dtype, torch.float64))
    for actual, two, three in zip([y, plain, grad_bias, second], rounded, exact, strict=True):
        assert not actual.isnan().any()
        assert_close_to_exact(actual, two, three)


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_activation(act, dtype, thread_order):
    x = cases.images("small", "contiguous", dtype) * 3
    assert_matches(x, torch.randn(3).to(dtype), Options(act))


@pytest.mark.parametrize("shape", [name for name in cases.IMAGE_SHAPES if "empty" not in name])
@pytest.mark.parametrize("layout", DENSE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_every_layout(shape, layout, dtype):
    x = cases.images(shape, layout, dtype)
    bias = torch.randn(x.shape[1]).to(dtype)
    assert_matches(x, bias, Options("swish", clamp=1.0))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("shape", ["vector_width", "wide"])
@pytest.mark.parametrize("shift", [0, 1])
def test_every_alignment(dtype, layout, shape, shift):
    x = cases.images(shape, layout, dtype)
    assert_matches(x, torch.randn(x.shape[1]).to(dtype), Options("lrelu", shift=shift))


@pytest.mark.parametrize("act", ["linear", "lrelu", "tanh"])
@pytest.mark.parametrize("gain", [0.7, -1.0])
@pytest.mark.parametrize("clamp", [None, 0.5, 0.0])
@pytest.mark.parametrize("with_bias", [True, False])
def test_gain_and_clamp(act, gain, clamp, with_bias):
    x = cases.images("small", "contiguous", torch.float64)
    assert_matches(x, torch.randn(3).double() if with_bias else None, Options(act, gain, clamp))


def test_no_gradient_on_the_clamp():
    x = torch.tensor([-0.75, -0.5, -0.25, 0.25, 0.5, 0.75]).reshape(1, 1, 1, 6)
    o = Options("linear", gain=1.0, clamp=0.5)
    expected = torch.tensor([0.0, 0.0, 1.0, 1.0, 0.0, 0.0]).reshape(1, 1, 1, 6)
    assert_matches(x, None, o)
    assert torch.equal(emulated.run(GRAD, x, torch.ones_like(x), options=o)[0], expected)


@pytest.mark.parametrize("act", ["linear", "relu", "lrelu"])
@pytest.mark.parametrize("clamp", [None, 0.8])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_gradient_from_output(act, clamp, dtype):
    o = Options(act, clamp=clamp)
    x = cases.images("small", "channels_last", dtype)
    g, bias = torch.randn_like(x), torch.randn(3).to(dtype)
    y, _ = emulated.run(FORWARD, x, bias=bias, options=o)
    actual = emulated.run(GRAD, y, g, with_sum=True, options=replace(o, from_output=True))
    expected = emulated.run(GRAD, x, g, bias=bias, with_sum=True, options=o)
    # A half result rounds: an input beside the clamp may have an output on it.
    inside = (x.float() + bias.float().reshape(1, 3, 1, 1)).abs() * math.sqrt(2) < 0.79
    where = inside if clamp is not None else torch.ones_like(inside)
    assert torch.equal(actual[0][where], expected[0][where])
    assert_close_to_exact(actual[1], actual[0].sum((0, 2, 3)), actual[0].double().sum((0, 2, 3)))


@pytest.mark.parametrize("channels", [1, 2, 16])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_channels_of_several_chunks(channels, layout, monkeypatch):
    x = cases.LAYOUTS[layout](torch.randn(3, channels, 53, 61))
    g, bias = torch.randn_like(x), torch.randn(channels)
    chunks = emulated.workspace_size(emulated.shape_of(x, 1)) // channels
    assert chunks > 1
    bits = set()
    for order in ("fwd", "rev", "1"):
        monkeypatch.setenv("CUDA_SHIM_ORDER", order)
        _, actual = emulated.run(GRAD, x, g, bias=bias, with_sum=True)
        bits.add(actual.numpy().tobytes())
    assert len(bits) == 1, "the sum depends on the order of threads"
    rounded, exact = (specified(x, bias, g, g, Options(), t)[2] for t in (x.dtype, torch.float64))
    assert_close_to_exact(actual, rounded, exact)


def test_few_blocks_serve_a_large_tensor():
    x = torch.randn(3, 4, 23, 29)
    y, _ = emulated.run(FORWARD, x)
    assert torch.equal(y, emulated.run(FORWARD, x, options=Options(max_blocks=1))[0])
    assert torch.equal(y, emulated.run(FORWARD, x, options=Options(max_blocks=2, shift=1))[0])


@pytest.mark.parametrize("size", [(0, 3, 4, 4), (2, 3, 0, 4), (2, 0, 4, 4)])
def test_empty_tensors_launch_nothing(size):
    x, bias = torch.empty(size), torch.randn(size[1])
    assert emulated.run(FORWARD, x, bias=bias)[0].shape == x.shape
    _, grad_bias = emulated.run(GRAD, x, x, bias=bias, with_sum=True)
    assert grad_bias.isnan().all(), "written by a launch"


@pytest.mark.parametrize("size", [(5,), (3, 1037), (2, 3, 4, 5, 6)])
def test_any_rank_and_dim(size):
    x = torch.randn(size)
    for dim in range(x.ndim):
        assert_matches(x, torch.randn(size[dim]), Options("softplus", dim=dim))


@pytest.mark.parametrize("act", ACTS)
def test_extreme_values_match(act):
    values = [-math.inf, -200.0, -30.0, -1e-30, -0.0, 0.0, 1e-30, 21.0, 200.0, math.inf, math.nan]
    x = torch.tensor(values).reshape(1, 1, 1, -1)
    y, _ = emulated.run(FORWARD, x, options=Options(act))
    torch.testing.assert_close(y, reference.bias_act(x, act=act), equal_nan=True)


def test_division_beyond_32_bits():
    divide = emulated.library().emulated_divide
    large = 2**32
    for a in (0, 1, 7, large - 1, large, large + 5, 3 * large + 2, 2**62 + 3):
        for b in (1, 3, large - 1, large, large + 1, 2**40 + 7):
            assert divide(a, b) == a // b
