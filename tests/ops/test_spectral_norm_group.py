"""spectral_norm_group: against spectral_norm weight by weight and the specification, with and
without a kernel for the group."""

from functools import partial
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from fastgan import ops, reference
from tests.spectral_norm_kernels import SERVED, install, spectral_norm_group
from tests.tolerances import DTYPES, assert_close_to_exact

GROUP = (
    ((33, 17), 0),
    ((5, 3, 3, 3), 0),
    ((4, 6, 3, 3), 1),
    ((1, 7), 0),
    ((9,), 0),
    ((3, 2, 4), 2),
)
DIMS = [dim for _, dim in GROUP]


@pytest.fixture(params=SERVED)
def served(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Backends without kernels for groups, and one with them."""
    return install(request.param, monkeypatch)


@pytest.fixture
def grouped(monkeypatch: pytest.MonkeyPatch) -> str:
    """A backend with kernels for groups."""
    return install("grouped", monkeypatch)


def inputs(dtype: torch.dtype = torch.float32) -> tuple[list[Tensor], list[Tensor]]:
    weights = [torch.randn(shape).to(dtype) + 0.5 for shape, _ in GROUP]
    weights[1] = weights[1].contiguous(memory_format=torch.channels_last)
    us = [torch.rand(shape[dim]).to(dtype) + 0.1 for shape, dim in GROUP]
    return weights, us


def one_by_one(function: Any, weights: list[Tensor], us: list[Tensor], dims: Any) -> Any:
    return [function(w, u, dim=dim) for w, u, dim in zip(weights, us, dims, strict=True)]


def everything(function: Any, dtype: torch.dtype) -> list[Tensor]:
    """Values, first and second gradients of every weight, from the same numbers in any dtype."""
    torch.manual_seed(1)
    weights, us = inputs(torch.float64)
    grads = [torch.randn_like(w).to(dtype).requires_grad_() for w in weights]
    seconds = [torch.randn_like(w).to(dtype) for w in weights]
    weights = [w.to(dtype).requires_grad_() for w in weights]
    results = function(weights, [u.to(dtype) for u in us], dims=DIMS)
    normalized, sigmas, us_new = map(list, zip(*results, strict=True))
    half = [torch.full_like(sigma, 0.5) for sigma in sigmas]
    outputs = [*normalized, *sigmas]
    firsts = torch.autograd.grad(outputs, weights, [*grads, *half], create_graph=True)
    again = torch.autograd.grad(firsts, [*weights, *grads], seconds)
    return [*normalized, *sigmas, *us_new, *firsts, *again]


@pytest.mark.parametrize("n_power_iterations", [0, 2])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_matches_reference(served: str, dtype: torch.dtype, n_power_iterations: int) -> None:
    options = {"n_power_iterations": n_power_iterations}
    exactly = partial(one_by_one, partial(reference.spectral_norm, **options))
    call = partial(ops.spectral_norm_group, backend=served, **options)
    actual, rounded = everything(call, dtype), everything(exactly, dtype)
    for one, two, three in zip(actual, rounded, everything(exactly, torch.float64), strict=True):
        assert_close_to_exact(one, two, three)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_same_bits_as_one_by_one(served: str, dtype: torch.dtype) -> None:
    alone = partial(one_by_one, partial(ops.spectral_norm, backend=served))
    group = everything(partial(ops.spectral_norm_group, backend=served), dtype)
    for one, two in zip(group, everything(alone, dtype), strict=True):
        assert torch.equal(one, two)


def test_layouts_are_kept(served: str) -> None:
    weights, us = inputs()
    results = ops.spectral_norm_group(weights, us, dims=DIMS, backend=served)
    assert all(
        normalized.stride() == weight.stride()
        for (normalized, _, _), weight in zip(results, weights, strict=True)
    )


def test_one_weight_and_no_weight(served: str) -> None:
    weight, u = torch.randn(4, 5), torch.randn(4)
    assert ops.spectral_norm_group([], [], backend=served) == []
    assert ops.spectral_norm_group([], [], dims=[]) == []
    (results,) = ops.spectral_norm_group([weight], [u], backend=served)
    for one, two in zip(results, ops.spectral_norm(weight, u, backend=served), strict=True):
        assert torch.equal(one, two)


def test_us_may_be_written_before_the_backward(served: str) -> None:
    for n_power_iterations in (0, 1):
        gradients = []
        for overwrite in (False, True):
            torch.manual_seed(2)
            weights, us = inputs()
            leaves = [w.requires_grad_() for w in weights]
            results = ops.spectral_norm_group(
                leaves, us, dims=DIMS, n_power_iterations=n_power_iterations, backend=served
            )
            if overwrite:
                for u in us:
                    u.fill_(torch.nan)
            loss = sum((normalized**3).sum() + sigma for normalized, sigma, _ in results)
            gradients.append(torch.autograd.grad(loss, leaves))
        assert all(torch.equal(one, two) for one, two in zip(*gradients, strict=True))


def test_weights_without_a_gradient_stay_out_of_it(served: str) -> None:
    """Neither a weight that needs none nor one whose results are not used."""
    weights, us = inputs()
    for i in (0, 2, 3):
        weights[i].requires_grad_()
    results = ops.spectral_norm_group(weights, us, dims=DIMS, backend=served)
    assert not any(u_new.requires_grad for _, _, u_new in results)
    loss = (results[0][0] ** 2).sum() + results[1][0].sum() + results[2][1]
    first, second, unused = torch.autograd.grad(
        loss, [weights[i] for i in (0, 2, 3)], allow_unused=True
    )
    assert unused is None
    alone = [
        ops.spectral_norm(weights[i], us[i], dim=DIMS[i], backend=served)[slot]
        for i, slot in ((0, 0), (2, 1))
    ]
    expected = torch.autograd.grad((alone[0] ** 2).sum() + alone[1], [weights[0], weights[2]])
    torch.testing.assert_close((first, second), expected)


def test_finite_differences_of_the_gradient_operator(grouped: str) -> None:
    """As a function of everything that it differentiates, sigmas taken as free."""
    shapes, dims = [(3, 4), (2, 3, 2)], [0, 1]
    us = [torch.randn(3, dtype=torch.float64) for _ in dims]
    vs = [torch.randn(4, dtype=torch.float64) for _ in dims]
    free = [torch.randn(s, dtype=torch.float64) for s in [*shapes, (), (), *shapes]]
    free += [torch.tensor(1.7, dtype=torch.float64), torch.tensor(0.6, dtype=torch.float64)]

    def function(*flat: Tensor) -> tuple[Tensor, ...]:
        lists = [list(flat[i : i + 2]) for i in range(0, 8, 2)]
        return tuple(torch.ops.fastgan.spectral_norm_group_grad(*lists, us, vs, dims, grouped))

    leaves = [tensor.requires_grad_() for tensor in free]
    assert gradcheck(function, leaves)
    assert gradgradcheck(function, leaves)


def test_opcheck(grouped: str) -> None:
    weights, us = (tensors[1:3] for tensors in inputs())  # channels last, another dim
    leaves = [w.requires_grad_() for w in weights]
    call = (leaves, us, 1, 1e-12, DIMS[1:3], grouped)
    torch.library.opcheck(torch.ops.fastgan.spectral_norm_group, call)
    with torch.no_grad():
        _, sigmas, us_new, vs = torch.ops.fastgan.spectral_norm_group(*call)
    grads = [torch.randn_like(w).requires_grad_() for w in weights]
    free = [sigma.clone().requires_grad_() for sigma in sigmas]
    torch.library.opcheck(
        torch.ops.fastgan.spectral_norm_group_grad,
        (grads, free, leaves, sigmas, us_new, vs, DIMS[1:3], grouped),
    )


def test_compiles_forward_and_backward(grouped: str) -> None:
    weights, us = inputs()
    leaves = [w.requires_grad_() for w in weights]

    def loss(*weights: Tensor) -> Tensor:
        doubled = [w * 2 for w in weights]
        results = ops.spectral_norm_group(doubled, us, dims=DIMS, backend=grouped)
        return torch.stack([n.cos().sum() + sigma for n, sigma, _ in results]).sum()

    expected = torch.autograd.grad(loss(*leaves), leaves)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(torch.autograd.grad(compiled(*leaves), leaves), expected)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"us": [torch.zeros(3)]}, ValueError, "got 2 weights, 1 us and 2 dims"),
        ({"dims": [0]}, ValueError, "got 2 weights, 2 us and 1 dims"),
        ({"dims": 2}, ValueError, "weight 0: dim 2 is out of range"),
        ({"dims": [0, -3]}, ValueError, "weight 1: dim -3 is out of range"),
        (
            {"weights": [torch.zeros(3, 4), torch.zeros(3, 4).double()]},
            TypeError,
            "weight 1 is torch.float64 on cpu, weight 0 is torch.float32 on cpu",
        ),
        (
            {"weights": [torch.zeros(3, 4), torch.zeros(3, 4, device="meta")]},
            TypeError,
            "weight 1 is torch.float32 on meta",
        ),
        ({"weights": [torch.zeros(3, 4).int()] * 2}, TypeError, "must be floating point"),
        ({"us": [torch.zeros(3), torch.zeros(4)]}, ValueError, r"weight 1: u must have shape"),
        ({"us": [torch.zeros(3), torch.zeros(3).half()]}, TypeError, "u is torch.float16"),
        ({"n_power_iterations": -1}, ValueError, "n_power_iterations must be at least 0, got -1"),
    ],
)
def test_wrong_arguments_say_what_was_expected(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments = {"weights": [torch.zeros(3, 4)] * 2, "us": [torch.zeros(3)] * 2} | change
    with pytest.raises(error, match=message):
        ops.spectral_norm_group(**arguments)


def test_lists_of_other_operators_are_refused_without_a_gradient() -> None:
    with pytest.raises(TypeError, match="needs its gradient"):
        import_module("fastgan.ops._register")._direct_lists("x", spectral_norm_group, None, None)
