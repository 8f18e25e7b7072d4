"""spectral_norm on Triton's interpreter against the specification, in value and both gradients."""

import pytest
import torch

from fastgan import ops, reference
from tests.ops.test_spectral_norm import EMPTY, LAYOUTS, inputs, run_three_ways
from tests.tolerances import DTYPES


@pytest.mark.parametrize("case", ["vector", "matrix_columns", "one", "conv", "conv_transpose",
                                  "last", "middle"])  # fmt: skip
def test_every_matrix(case: str) -> None:
    weight, u, dim = inputs(case, torch.float32)
    run_three_ways(weight, u, dim, "triton")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n_power_iterations", [0, 3])
def test_every_dtype(dtype: torch.dtype, n_power_iterations: int) -> None:
    weight, u, dim = inputs("conv", dtype)
    run_three_ways(weight, u, dim, "triton", n_power_iterations=n_power_iterations)


@pytest.mark.parametrize("layout", list(LAYOUTS))
@pytest.mark.parametrize("dim", [0, 1])
def test_many_ragged_programs(layout: str, dim: int, small_tiles: None) -> None:
    weight = LAYOUTS[layout](torch.randn(5, 3, 3, 2, dtype=torch.float64) + 0.5)
    u = torch.nn.functional.normalize(torch.rand(weight.shape[dim], dtype=torch.float64), dim=0)
    run_three_ways(weight, u, dim, "triton")


@pytest.mark.parametrize("case", list(EMPTY))
@pytest.mark.parametrize("n_power_iterations", [0, 1])
def test_empty_weights(case: str, n_power_iterations: int) -> None:
    weight, u, dim = inputs(case, torch.float32)
    settings = {"dim": dim, "n_power_iterations": n_power_iterations}
    actual = ops.spectral_norm(weight, u, backend="triton", **settings)
    for one, two in zip(actual, reference.spectral_norm(weight, u, **settings), strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_zero_weight_shows_as_nan() -> None:
    normalized, sigma, u = ops.spectral_norm(torch.zeros(3, 4), torch.ones(3), backend="triton")
    assert normalized.isnan().all()
    assert sigma == 0
    assert not u.any()


def test_opcheck() -> None:
    weight, u, dim = inputs("conv_transpose", torch.float64)
    arguments = (weight.requires_grad_(), u, 1, 1e-12, dim, "triton")
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(torch.ops.fastgan.spectral_norm, arguments, test_utils=checks)
