"""spectral_norm's specification against the singular value decomposition and against torch."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from fastgan import reference

SHAPES = {(5, 7): 0, (8, 3, 3, 3): 0, (4, 6, 2, 2): 1, (3, 4, 5): 2, (9,): 0}


def folded(weight: Tensor, dim: int) -> Tensor:
    """[rows, cols] written without flatten: one row per index of `dim`."""
    return torch.stack([weight.select(dim, i).reshape(-1) for i in range(weight.shape[dim])])


def unit(size: int) -> Tensor:
    return nn.functional.normalize(torch.randn(size, dtype=torch.float64), dim=0)


@pytest.mark.parametrize(("shape", "dim"), SHAPES.items(), ids=str)
def test_many_iterations_find_the_largest_singular_value(shape: tuple[int, ...], dim: int) -> None:
    weight = torch.randn(shape, dtype=torch.float64)
    normalized, sigma, _ = reference.spectral_norm(
        weight, unit(shape[dim]), n_power_iterations=300, dim=dim
    )
    largest = torch.linalg.svdvals(folded(weight, dim))[0]
    torch.testing.assert_close(sigma, largest, rtol=1e-3, atol=0)
    assert torch.linalg.matrix_norm(folded(normalized, dim), 2) == pytest.approx(1, rel=1e-3)
    torch.testing.assert_close(normalized * sigma, weight)


def test_gradient_is_that_of_the_exact_decomposition() -> None:
    weight = torch.randn(6, 9, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(6, 9, dtype=torch.float64)
    normalized, sigma, _ = reference.spectral_norm(weight, unit(6), n_power_iterations=500)
    exact_sigma = torch.linalg.svdvals(weight)[0]
    (actual,) = torch.autograd.grad((normalized * upstream).sum() + sigma, weight)
    (exact,) = torch.autograd.grad((weight / exact_sigma * upstream).sum() + exact_sigma, weight)
    torch.testing.assert_close(actual, exact, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "module", [nn.Conv2d(4, 6, 3), nn.ConvTranspose2d(4, 6, 3), nn.Linear(5, 7)], ids=str
)
def test_agrees_with_torch_once_converged(module: nn.Module) -> None:
    dim = 1 if isinstance(module, nn.ConvTranspose2d) else 0
    module = module.double()
    weight = module.weight.detach().clone()
    expected = parametrizations.spectral_norm(module, n_power_iterations=500)
    actual, _, _ = reference.spectral_norm(
        weight, unit(weight.shape[dim]), n_power_iterations=500, dim=dim
    )
    torch.testing.assert_close(actual, expected.weight.detach())


def test_one_iteration_step_by_step() -> None:
    weight, u = torch.randn(4, 6, dtype=torch.float64), unit(4)
    v = u @ weight
    v = v / v.dot(v).sqrt()
    new = weight @ v
    new = new / new.dot(new).sqrt()
    normalized, sigma, u_new = reference.spectral_norm(weight, u)
    torch.testing.assert_close(u_new, new)
    torch.testing.assert_close(sigma, new @ weight @ v)
    torch.testing.assert_close(normalized, weight / (new @ weight @ v))


def test_without_iterations_u_stays_and_is_copied() -> None:
    weight, u = torch.randn(4, 6, dtype=torch.float64), unit(4)
    _, sigma, u_new = reference.spectral_norm(weight, u, n_power_iterations=0)
    assert torch.equal(u_new, u)
    assert u_new.data_ptr() != u.data_ptr()
    torch.testing.assert_close(sigma, (u @ weight).norm())


def test_eps_floors_the_norms_and_not_sigma() -> None:
    weight, u = torch.full((2, 2), 1e-6, dtype=torch.float64), unit(2)
    _, sigma, u_new = reference.spectral_norm(weight, u, eps=1.0)
    assert u_new.norm() < 1e-11  # v is 1e-6 long, not 1, and u_new the weight times that
    assert 0 < sigma < 1e-22
    normalized, sigma, _ = reference.spectral_norm(torch.zeros_like(weight), u)
    assert sigma == 0
    assert normalized.isnan().all()
