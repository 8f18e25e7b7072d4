"""spectral_norm: gradients of every backend against finite differences and a frozen formula."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from fastgan import ops
from tests import cases


@pytest.mark.parametrize("n_power_iterations", [0, 1])
@pytest.mark.parametrize(("shape", "dim"), [((3, 4), 0), ((2, 3, 2), 1), ((4,), 0)])
@pytest.mark.parametrize("output", ["normalized", "sigma", "both"])
def test_gradients_of_the_specification_with_u_and_v_held(
    output: str, shape: tuple[int, ...], dim: int, n_power_iterations: int, backend: str
) -> None:
    """u and v are constants of the gradient but move with the weight in finite differences, so
    the oracle is the formula with both frozen, differentiated by torch."""
    weight = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    u = torch.nn.functional.normalize(torch.rand(shape[dim], dtype=torch.float64), dim=0)

    def frozen(w: Tensor) -> tuple[Tensor, Tensor]:
        rows = w.unsqueeze(-1) if w.ndim == 1 else w.movedim(dim, 0).flatten(1)
        v = torch.nn.functional.normalize(rows.detach().t() @ u, dim=0)
        left = torch.nn.functional.normalize(rows.detach() @ v, dim=0) if n_power_iterations else u
        sigma = left @ rows @ v
        return w / sigma, sigma

    def derivatives(function: Any) -> list[Tensor]:
        normalized, sigma = function(weight)[:2]
        chosen = {"normalized": [normalized], "sigma": [sigma], "both": [normalized, sigma]}
        value = sum((part**3).sum() for part in chosen[output])
        found = []
        for _ in range(4):
            (value,) = torch.autograd.grad(value, weight, create_graph=True)
            found.append(value)
            value = (value**2).sum()
        return found

    function = partial(
        ops.spectral_norm, u=u, dim=dim, n_power_iterations=n_power_iterations, backend=backend
    )
    for one, two in zip(derivatives(function), derivatives(frozen), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("shape", "dim"), [((3, 4), 0), ((2, 3, 2), 1), ((5, 1), 0)])
def test_finite_differences_of_the_gradient_op(
    shape: tuple[int, ...], dim: int, kernel_backend: str
) -> None:
    """The gradient op as a function of everything it differentiates, sigma taken as free."""
    rows = shape[dim]
    u = torch.randn(rows, dtype=torch.float64)
    v = torch.randn(torch.Size(shape).numel() // rows, dtype=torch.float64)

    def function(grad: Tensor, grad_sigma: Tensor, weight: Tensor, sigma: Tensor) -> Tensor:
        return torch.ops.fastgan.spectral_norm_grad(
            grad, grad_sigma, weight, sigma, u, v, dim, kernel_backend
        )

    shapes: list[tuple[int, ...]] = [shape, (), shape]
    free = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    sigma = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    assert gradcheck(function, (*free, sigma))
    assert gradgradcheck(function, (*free, sigma))


def test_finite_differences_where_u_and_v_do_not_matter(backend: str) -> None:
    """A matrix of one row has one singular value, so its true gradient is the op's."""
    weight = cases.away_from_zero(1, 6)
    u = torch.ones(1, dtype=torch.float64)
    function = partial(ops.spectral_norm, u=u, backend=backend)
    assert gradcheck(lambda w: function(w)[:2], (weight,))
    converged = partial(
        ops.spectral_norm,
        u=torch.randn(3, dtype=torch.float64),
        n_power_iterations=100,
        backend=backend,
    )
    assert gradcheck(lambda w: converged(w)[:2], (cases.away_from_zero(3, 4),))
