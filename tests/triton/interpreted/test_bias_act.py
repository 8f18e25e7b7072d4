"""bias_act on Triton's interpreter against the specification, in value and both gradients."""

import pytest
import torch

from fastgan import ops, reference
from tests import cases
from tests.ops.test_bias_act import ACTS, run_three_ways
from tests.tolerances import DTYPES


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_activation(act: str, dtype: torch.dtype) -> None:
    x = cases.images("small", "contiguous", dtype) * 3
    run_three_ways(x, torch.randn(3).to(dtype), "triton", act=act, clamp=2.0)


@pytest.mark.parametrize(
    ("layout", "act", "dtype"),
    [
        ("contiguous", "lrelu", torch.float32),
        ("contiguous", "swish", torch.bfloat16),
        ("channels_last", "lrelu", torch.float16),
        ("channels_last", "swish", torch.float32),
        ("batch_last", "swish", torch.float32),
        ("strided", "lrelu", torch.float64),
    ],
)
def test_many_ragged_programs(layout: str, act: str, dtype: torch.dtype, small_tiles: None) -> None:
    x = cases.LAYOUTS[layout](torch.randn(3, 5, 3, 9).to(dtype))
    run_three_ways(x, torch.randn(5).to(dtype), "triton", act=act)
    y = ops.bias_act(x, act=act, backend="triton")
    assert cases.same_layout(y, torch.empty_like(x))


@pytest.mark.parametrize("shape", list(cases.IMAGE_SHAPES))
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_every_shape(shape: str, layout: str) -> None:
    x = cases.images(shape, layout, torch.float32)
    run_three_ways(x, torch.randn(x.shape[1]), "triton", act="swish", clamp=1.0)


@pytest.mark.parametrize("alpha", [0.0, -0.5, 1.5])
@pytest.mark.parametrize("gain", [0.7, -1.0])
def test_slopes_that_hide_the_sign(alpha: float, gain: float) -> None:
    run_three_ways(torch.randn(2, 3, 4), torch.randn(3), "triton", alpha=alpha, gain=gain)


@pytest.mark.parametrize("dim", [0, 2, -1])
def test_bias_along_any_dimension(dim: int) -> None:
    x = torch.randn(3, 4, 5)
    run_three_ways(x, torch.randn(x.shape[dim]), "triton", dim=dim, act="elu")


def test_scalar_and_vector() -> None:
    assert ops.bias_act(torch.tensor(-2.0), backend="triton").item() == pytest.approx(-0.4 * 2**0.5)
    run_three_ways(torch.randn(4), torch.randn(4), "triton", dim=0)


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_infinity_and_nan_propagate(act: str, dtype: torch.dtype) -> None:
    x = torch.tensor([float("inf"), float("-inf"), float("nan"), 0.0, 1e4, -1e4]).to(dtype)
    actual = ops.bias_act(x, act=act, dim=0, backend="triton")
    torch.testing.assert_close(actual, reference.bias_act(x, act=act, dim=0), equal_nan=True)


@pytest.mark.parametrize("act", ["tanh", "elu", "softplus"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_small_values_keep_their_digits(act: str, dtype: torch.dtype) -> None:
    """tanh and elu near zero, softplus far below: where naive formulas cancel."""
    near = torch.logspace(-12, 0, 97, dtype=torch.float64)
    x = torch.linspace(-30, 3, 97) if act == "softplus" else torch.cat([near, -near])
    exact = reference.bias_act(x.to(dtype).double(), act=act, dim=0)
    actual = ops.bias_act(x.to(dtype), act=act, dim=0, backend="triton").double()
    error = ((actual - exact) / exact).abs().max().item()
    assert error < 64 * torch.finfo(dtype).eps


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_opcheck(layout: str) -> None:
    x = cases.LAYOUTS[layout](torch.randn(2, 3, 4, 4)).requires_grad_()
    bias = torch.randn(3, requires_grad=True)
    arguments = (x, bias, 1, "tanh", 0.0, 1.4, 0.9, "triton")
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(torch.ops.fastgan.bias_act, arguments, test_utils=checks)
