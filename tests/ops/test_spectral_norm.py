"""spectral_norm: every backend against the specification, in value and in every order."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from fastgan import ops, reference
from tests import cases
from tests.tolerances import DTYPES, assert_close_to_exact

# name: (shape, dim)
CASES: dict[str, tuple[tuple[int, ...], int]] = {
    "vector": ((9,), 0),
    "matrix": ((33, 17), 0),
    "matrix_columns": ((33, 17), 1),
    "one": ((1, 1), 0),
    "one_row": ((1, 700), 0),
    "one_column": ((70, 1), 0),
    "one_row_of_columns": ((70, 1), 1),
    "conv": ((11, 5, 3, 3), 0),
    "conv_transpose": ((21, 13, 4, 4), 1),
    "conv_transpose_wide": ((3, 4, 17, 19), 1),
    "third": ((4, 5, 6), 2),
    "last": ((4, 5, 3, 6), -1),
    "middle": ((2, 3, 5, 2, 3), 2),
    "several_panels": ((67, 4100), 0),
    "several_blocks": ((150, 40), 0),
    "several_outer_blocks": ((40, 30, 5), 1),
}
EMPTY = {"no_rows": ((0, 3), 0), "no_columns": ((3, 0), 0), "no_entries": ((0, 3, 2), 1)}
LAYOUTS: dict[str, Any] = {
    "contiguous": lambda w: w.contiguous(),
    "channels_last": lambda w: (
        w.contiguous(memory_format=torch.channels_last) if w.ndim == 4 else w
    ),
    "transposed": lambda w: w.mT.contiguous().mT if w.ndim > 1 else w,
    "reversed_dims": lambda w: w.permute(*range(w.ndim - 1, -1, -1)).contiguous().permute(
        *range(w.ndim - 1, -1, -1)
    ),
    "strided": lambda w: w.repeat_interleave(2, dim=-1)[..., ::2],
    "expanded": lambda w: w[..., :1].expand(w.shape),
}  # fmt: skip


def inputs(case: str, dtype: torch.dtype, layout: str = "contiguous") -> tuple[Tensor, Tensor, int]:
    """A weight whose singular values lie apart, a unit u, and dim."""
    shape, dim = (CASES | EMPTY)[case]
    weight = torch.randn(shape, dtype=torch.float64) + 0.5
    u = torch.nn.functional.normalize(torch.rand(shape[dim], dtype=torch.float64) + 0.1, dim=0)
    return LAYOUTS[layout](weight.to(dtype)), u.to(dtype), dim


def run_three_ways(
    weight: Tensor, u: Tensor, dim: int, backend: str, n_power_iterations: int = 1
) -> None:
    """Compare value, first and second gradients of a backend with the specification."""
    upstream = torch.randn(weight.shape, dtype=torch.float64)
    second = torch.randn(weight.shape, dtype=torch.float64)

    def everything(function: Any, dtype: torch.dtype) -> list[Tensor]:
        w = weight.detach().to(dtype).requires_grad_()
        g = upstream.to(dtype).requires_grad_()
        normalized, sigma, u_new = function(
            w, u.to(dtype), dim=dim, n_power_iterations=n_power_iterations
        )
        (first,) = torch.autograd.grad(
            (normalized, sigma), w, (g, torch.ones_like(sigma)), create_graph=True
        )
        again = torch.autograd.grad(first, (w, g), second.to(dtype))
        return [normalized, sigma, u_new, first, *again]

    actual = everything(partial(ops.spectral_norm, backend=backend), weight.dtype)
    rounded = everything(reference.spectral_norm, weight.dtype)
    exact = everything(reference.spectral_norm, torch.float64)
    for one, two, three in zip(actual, rounded, exact, strict=True):
        assert_close_to_exact(one, two, three)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n_power_iterations", [0, 1, 3])
@pytest.mark.parametrize("case", list(CASES))
def test_matches_reference(
    case: str, n_power_iterations: int, dtype: torch.dtype, kernel_backend: str
) -> None:
    run_three_ways(*inputs(case, dtype), kernel_backend, n_power_iterations)


@pytest.mark.parametrize("layout", list(LAYOUTS))
@pytest.mark.parametrize("case", list(CASES))
def test_matches_reference_in_every_layout(case: str, layout: str, kernel_backend: str) -> None:
    weight, u, dim = inputs(case, torch.float32, layout)
    run_three_ways(weight, u, dim, kernel_backend)
    normalized, _, _ = ops.spectral_norm(weight, u, dim=dim, backend=kernel_backend)
    assert cases.same_layout(normalized, torch.empty_like(weight))


@pytest.mark.parametrize("case", list(EMPTY))
def test_empty_weights(case: str, backend: str) -> None:
    weight, u, dim = inputs(case, torch.float32)
    normalized, sigma, u_new = ops.spectral_norm(
        weight.requires_grad_(), u, dim=dim, backend=backend
    )
    assert (normalized.shape, sigma.item(), u_new.shape) == (weight.shape, 0, u.shape)
    (grad,) = torch.autograd.grad(normalized.sum(), weight)
    assert grad.shape == weight.shape


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", ["conv", "conv_transpose", "matrix_columns", "several_panels"])
def test_every_instruction_set(case: str, dtype: torch.dtype, cpu_capability: str) -> None:
    run_three_ways(*inputs(case, dtype), "cpp")


@pytest.mark.parametrize("shape", [(200, 300, 3, 3), (200, 90, 4, 4), (3, 40000), (70000, 3)])
@pytest.mark.parametrize("dim", [0, 1])
def test_threads_give_the_same_bits(
    shape: tuple[int, ...], dim: int, kernel_backend: str, two_threads: None
) -> None:
    weight = torch.randn(shape, requires_grad=True)
    u = torch.randn(shape[dim])
    upstream = torch.randn(shape)

    def everything() -> tuple[Tensor, ...]:
        outputs = ops.spectral_norm(weight, u, dim=dim, backend=kernel_backend)
        return (*outputs, *torch.autograd.grad((outputs[0] * upstream).sum(), weight))

    many = everything()
    torch.set_num_threads(1)
    for one, two in zip(everything(), many, strict=True):
        assert torch.equal(one, two)


def test_outputs_share_no_memory_and_u_new_has_no_gradient(backend: str) -> None:
    weight, u, _ = inputs("conv", torch.float32)
    for n_power_iterations in (0, 1):
        before = u.clone()
        normalized, _, u_new = ops.spectral_norm(
            weight.requires_grad_(), u, n_power_iterations=n_power_iterations, backend=backend
        )
        assert u_new.data_ptr() != u.data_ptr()
        assert normalized.data_ptr() != weight.data_ptr()
        assert torch.equal(u, before)
        assert not u_new.requires_grad
        assert normalized.requires_grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("n_power_iterations", [0, 1, 2])
@pytest.mark.parametrize("case", ["conv", "conv_transpose"])
def test_zero_and_tiny_weights_like_the_reference(
    case: str, n_power_iterations: int, dtype: torch.dtype, kernel_backend: str
) -> None:
    weight, u, dim = inputs(case, dtype)
    for scale, eps in ((0.0, 1e-12), (1e-6, 1.0), (1e-15, 1e-12)):
        options = {"n_power_iterations": n_power_iterations, "eps": eps, "dim": dim}
        actual = ops.spectral_norm(weight * scale, u, **options, backend=kernel_backend)
        expected = reference.spectral_norm(weight * scale, u, **options)
        for one, two in zip(actual, expected, strict=True):
            torch.testing.assert_close(one, two, equal_nan=True, rtol=1e-4, atol=0)


def test_nan_and_infinity_show(backend: str) -> None:
    for value in (float("nan"), float("inf")):
        weight = torch.ones(4, 5)
        weight[1, 2] = value
        normalized, sigma, _ = ops.spectral_norm(weight, torch.ones(4), backend=backend)
        assert sigma.isnan()
        assert normalized.isnan().all()


@pytest.mark.parametrize(
    ("case", "n_power_iterations"), [("vector", 1), ("matrix", 0), ("conv_transpose", 2)]
)
def test_opcheck(case: str, n_power_iterations: int, kernel_backend: str) -> None:
    weight, u, dim = inputs(case, torch.float32)
    dim %= weight.ndim
    torch.library.opcheck(
        torch.ops.fastgan.spectral_norm,
        (weight.requires_grad_(), u, n_power_iterations, 1e-12, dim, kernel_backend),
    )
    _, sigma, u_new, v = torch.ops.fastgan.spectral_norm(weight, u, 1, 1e-12, dim, kernel_backend)
    torch.library.opcheck(
        torch.ops.fastgan.spectral_norm_grad,
        (
            torch.randn_like(weight).requires_grad_(),
            torch.randn((), requires_grad=True),
            weight,
            sigma.detach().requires_grad_(),
            u_new,
            v,
            dim,
            kernel_backend,
        ),
    )


def test_opcheck_in_channels_last(kernel_backend: str) -> None:
    weight, u, dim = inputs("conv", torch.float32, "channels_last")
    torch.library.opcheck(
        torch.ops.fastgan.spectral_norm,
        (weight.requires_grad_(), u, 1, 1e-12, dim, kernel_backend),
    )


@pytest.mark.parametrize("case", ["conv", "conv_transpose"])
def test_compiles_forward_and_backward(case: str, kernel_backend: str) -> None:
    weight, u, dim = inputs(case, torch.float32)
    weight.requires_grad_()

    def loss(weight: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        normalized, sigma, u = ops.spectral_norm(weight * 2, u, dim=dim, backend=kernel_backend)
        return normalized.cos().sum() + sigma, u

    expected, u_expected = loss(weight, u)
    actual, u_actual = torch.compile(loss, fullgraph=True, backend="aot_eager")(weight, u)
    torch.testing.assert_close(u_actual, u_expected)
    torch.testing.assert_close(
        torch.autograd.grad(actual, weight), torch.autograd.grad(expected, weight)
    )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"weight": torch.zeros(3, 4, dtype=torch.int32)}, TypeError, "must be floating point"),
        ({"weight": torch.zeros(())}, ValueError, "dim 0 is out of range"),
        ({"dim": 2}, ValueError, r"dim 2 is out of range for weight of shape \(3, 4\)"),
        ({"dim": -3}, ValueError, "dim -3 is out of range"),
        ({"u": torch.zeros(4)}, ValueError, r"u must have shape \[3\]"),
        ({"u": torch.zeros(3, 1)}, ValueError, r"u must have shape \[3\]"),
        ({"u": torch.zeros(3).double()}, TypeError, "u is torch.float64"),
        ({"n_power_iterations": -1}, ValueError, "n_power_iterations must be at least 0, got -1"),
    ],
)
def test_wrong_arguments_say_what_was_expected(
    change: dict[str, Any], error: type[Exception], message: str, backend: str
) -> None:
    arguments: dict[str, Any] = {"weight": torch.zeros(3, 4), "u": torch.zeros(3)} | change
    with pytest.raises(error, match=message):
        ops.spectral_norm(**arguments, backend=backend)


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, torch.zeros(3, 3), "grad_normalized must have 12 entries"),
        (1, torch.zeros(2), "grad_sigma must have 1 entries"),
        (4, torch.zeros(2), "u must have 3 entries"),
        (5, torch.zeros(3), "v must have 4 entries"),
        (5, torch.zeros(4).double(), "v must have 4 entries in the dtype of weight"),
    ],
)
def test_gradient_op_refuses_what_does_not_fit(
    position: int, value: Tensor, message: str, kernel_backend: str
) -> None:
    arguments = [torch.zeros(3, 4), torch.ones(()), torch.zeros(3, 4), torch.ones(())]
    arguments += [torch.zeros(3), torch.zeros(4)]
    arguments[position] = value
    with pytest.raises(RuntimeError, match=message):
        torch.ops.fastgan.spectral_norm_grad(*arguments, 0, kernel_backend)
