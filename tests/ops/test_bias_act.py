"""bias_act: every backend against the specification, in value and in every order of gradient."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from fastgan import ops, reference
from fastgan.reference.bias_act import ACTIVATIONS
from tests import cases
from tests.tolerances import DTYPES, assert_close_to_exact

ACTS = list(ACTIVATIONS)
SMOOTH = [name for name, row in ACTIVATIONS.items() if not row.piecewise_linear]


def run_three_ways(x: Tensor, bias: Tensor | None, backend: str, **options: Any) -> None:
    """Compare value, first gradients and second gradients of a backend with the specification."""
    upstream = torch.randn(x.shape, dtype=torch.float64)
    second = torch.randn(x.shape, dtype=torch.float64)

    def everything(function: Any, dtype: torch.dtype) -> list[Tensor]:
        inputs = [x.detach().to(dtype).requires_grad_()]
        if bias is not None:
            inputs.append(bias.detach().to(dtype).requires_grad_())
        y = function(*inputs, **options)
        g = upstream.to(dtype).requires_grad_()
        first = torch.autograd.grad(y, inputs, g, create_graph=True)
        again = torch.autograd.grad(
            first, [*inputs, g], [second.to(dtype), *([first[1].detach()] if bias is not None
            else [])], allow_unused=True, materialize_grads=True,
        )  # fmt: skip
        return [y, *first, *again]

    actual = everything(partial(ops.bias_act, backend=backend), x.dtype)
    rounded = everything(reference.bias_act, x.dtype)
    exact = everything(reference.bias_act, torch.float64)
    for one, two, three in zip(actual, rounded, exact, strict=True):
        assert_close_to_exact(one, two, three)


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_matches_reference_for_every_activation(
    act: str, dtype: torch.dtype, kernel_backend: str
) -> None:
    x = cases.images("small", "contiguous", dtype) * 3
    run_three_ways(x, torch.randn(3).to(dtype), kernel_backend, act=act)


@pytest.mark.parametrize("shape", list(cases.IMAGE_SHAPES))
@pytest.mark.parametrize("layout", list(cases.LAYOUTS))
@pytest.mark.parametrize("act", ["lrelu", "swish"])
def test_matches_reference_in_every_layout(
    shape: str, layout: str, act: str, kernel_backend: str
) -> None:
    x = cases.images(shape, layout, torch.float32)
    bias = torch.randn(x.shape[1])
    run_three_ways(x, bias, kernel_backend, act=act, clamp=1.0)
    y = ops.bias_act(x, bias, act=act, backend=kernel_backend)
    assert cases.same_layout(y, torch.empty_like(x))


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("gain", [0.7, -1.0])
@pytest.mark.parametrize("clamp", [None, 0.5])
@pytest.mark.parametrize("with_bias", [True, False])
def test_gradients_to_second_order(
    act: str, gain: float, clamp: float | None, with_bias: bool, backend: str
) -> None:
    x = cases.away_from_zero(2, 3, 2, 2)
    function = partial(ops.bias_act, act=act, gain=gain, clamp=clamp, backend=backend)
    inputs = (x, cases.away_from_zero(3, seed=1) * 0.01) if with_bias else (x,)
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


@pytest.mark.parametrize("alpha", [0.0, -0.5, 1.5])
def test_slopes_that_hide_the_sign(alpha: float, backend: str) -> None:
    function = partial(ops.bias_act, alpha=alpha, gain=1.3, backend=backend)
    assert gradcheck(function, (cases.away_from_zero(2, 3, 4),))
    assert gradgradcheck(function, (cases.away_from_zero(2, 3, 4),))


@pytest.mark.parametrize("act", SMOOTH)
@pytest.mark.parametrize("clamp", [None, 0.9])
def test_third_and_fourth_order_match_reference(
    act: str, clamp: float | None, kernel_backend: str
) -> None:
    def derivatives(function: Any) -> list[Tensor]:
        x, bias = cases.away_from_zero(2, 3, 4), cases.away_from_zero(3, seed=2)
        value = function(x, bias, act=act, clamp=clamp)
        found = []
        for _ in range(4):
            value, slope = torch.autograd.grad((value**2).sum(), (x, bias), create_graph=True)
            found += [value, slope]
        return found

    actual = derivatives(partial(ops.bias_act, backend=kernel_backend))
    for one, two in zip(actual, derivatives(reference.bias_act), strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
def test_bias_along_any_dimension(dim: int, kernel_backend: str) -> None:
    x = torch.randn(3, 4, 5)
    run_three_ways(x, torch.randn(x.shape[dim]), kernel_backend, dim=dim, act="elu")


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4, 5, 6)])
def test_any_rank(shape: tuple[int, ...], kernel_backend: str) -> None:
    dim = min(1, len(shape) - 1)
    run_three_ways(torch.randn(shape), torch.randn(shape[dim]), kernel_backend, dim=dim)


def test_scalar_without_bias(kernel_backend: str) -> None:
    x = torch.tensor(-2.0)
    assert ops.bias_act(x, backend=kernel_backend).item() == pytest.approx(-0.4 * 2**0.5)


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_infinity_and_nan_propagate(act: str, dtype: torch.dtype, kernel_backend: str) -> None:
    x = torch.tensor([float("inf"), float("-inf"), float("nan"), 0.0, 1e4, -1e4]).to(dtype)
    expected = reference.bias_act(x, act=act, dim=0)
    actual = ops.bias_act(x, act=act, dim=0, backend=kernel_backend)
    torch.testing.assert_close(actual, expected, equal_nan=True)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_many_units_and_threads_give_the_same_bits(
    layout: str, kernel_backend: str, two_threads: None
) -> None:
    x = cases.LAYOUTS[layout](torch.randn(3, 5, 77, 131)).requires_grad_()
    bias = torch.randn(5, requires_grad=True)

    def gradients() -> tuple[Tensor, ...]:
        y = ops.bias_act(x, bias, act="swish", backend=kernel_backend)
        return (y, *torch.autograd.grad(y, (x, bias), torch.ones_like(y)))

    many = gradients()
    torch.set_num_threads(1)
    for one, two in zip(gradients(), many, strict=True):
        assert torch.equal(one, two)
    run_three_ways(x.detach(), bias.detach(), kernel_backend, act="swish")


@pytest.mark.parametrize("act", ["lrelu", "swish", "elu"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_every_instruction_set(
    act: str, dtype: torch.dtype, layout: str, cpu_capability: str
) -> None:
    x = cases.images("wide", layout, dtype) * 3
    run_three_ways(x, torch.randn(2).to(dtype), "cpp", act=act, clamp=2.0)


@pytest.mark.parametrize("act", ["lrelu", "tanh"])
def test_opcheck(act: str, kernel_backend: str) -> None:
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    bias = torch.randn(3, requires_grad=True)
    grad = torch.randn(2, 3, 4, 4, requires_grad=True)
    settings = (1, act, 0.2, 1.4, 0.9)
    smooth = act == "tanh"
    torch.library.opcheck(torch.ops.fastgan.bias_act, (x, bias, *settings, kernel_backend))
    torch.library.opcheck(
        torch.ops.fastgan.bias_act_grad,
        (grad, x, bias if smooth else None, *settings, not smooth, True, kernel_backend),
    )
    if smooth:
        torch.library.opcheck(
            torch.ops.fastgan.bias_act_grad2,
            (grad, torch.randn_like(x), x, bias, *settings, kernel_backend),
        )


def test_compiles_forward_and_backward(kernel_backend: str) -> None:
    def loss(x: Tensor, bias: Tensor) -> Tensor:
        return ops.bias_act(x * 2, bias, backend=kernel_backend).square().sum()

    x, bias = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(3, requires_grad=True)
    expected = torch.autograd.grad(loss(x, bias), (x, bias))
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for one, two in zip(torch.autograd.grad(compiled(x, bias), (x, bias)), expected, strict=True):
        torch.testing.assert_close(one, two)


def test_double_backward_under_compile_is_still_refused_by_torch(kernel_backend: str) -> None:
    """Notices when torch learns it; until then R1 and path length run eagerly."""
    x = torch.randn(2, 3, requires_grad=True)
    compiled = torch.compile(
        lambda x: ops.bias_act(x, act="tanh", backend=kernel_backend).sum(), backend="aot_eager"
    )
    (grad,) = torch.autograd.grad(compiled(x), x, create_graph=True)
    with pytest.raises(RuntimeError, match="double backward"):
        grad.sum().backward()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"act": "gelu"}, ValueError, "act must be one of"),
        ({"clamp": -1.0}, ValueError, "clamp must be at least 0"),
        ({"dim": 4}, ValueError, "dim 4 is out of range"),
        ({"bias": torch.zeros(5)}, ValueError, r"bias must have shape \[3\]"),
        ({"bias": torch.zeros(3, 1)}, ValueError, r"bias must have shape \[3\]"),
        ({"bias": torch.zeros(3).double()}, TypeError, "bias is torch.float64, x is torch.float32"),
        ({"x": torch.zeros(2, 3, dtype=torch.int32)}, TypeError, "x must be floating point"),
    ],
)
def test_wrong_arguments_say_what_was_expected(
    change: dict[str, Any], error: type[Exception], message: str, backend: str
) -> None:
    arguments: dict[str, Any] = {"x": torch.zeros(2, 3, 4, 4), "bias": torch.zeros(3)} | change
    with pytest.raises(error, match=message):
        ops.bias_act(**arguments, backend=backend)
