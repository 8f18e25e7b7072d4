import math

import pytest
import torch
from scipy.stats import wasserstein_distance

from fastgan.metrics.sliced_wasserstein import sliced_wasserstein


def test_swd_in_one_dimension_is_the_wasserstein_distance():
    x, y = torch.randn(200, 1), torch.randn(200, 1) * 2 + 1
    expected = wasserstein_distance(x[:, 0].numpy(), y[:, 0].numpy())
    assert sliced_wasserstein(x, y) == pytest.approx(expected, rel=1e-6)


def test_swd_of_a_shift_is_its_mean_projection():
    """A shift by d moves every projection by |d . v|, whose mean in the plane is 2 |d| / pi."""
    x = torch.randn(50, 2, dtype=torch.float64)
    moved = sliced_wasserstein(x, x + torch.tensor([3.0, 4.0]), num_projections=4000)
    assert moved == pytest.approx(2 * 5 / math.pi, rel=0.03)
    assert sliced_wasserstein(x, x[torch.randperm(50)]) == pytest.approx(0, abs=1e-12)


def test_swd_scales_with_the_data_and_ignores_rotation_of_images():
    x, y = torch.randn(30, 3, 4, 4), torch.randn(30, 3, 4, 4).abs()
    base = sliced_wasserstein(x, y)
    assert sliced_wasserstein(5 * x, 5 * y) == pytest.approx(5 * base, rel=1e-5)
    assert sliced_wasserstein(y, x) == base
    assert sliced_wasserstein(x, y, seed=1) != base


def test_swd_of_equal_distributions_falls_with_the_number_of_samples():
    small, large = (sliced_wasserstein(torch.randn(n, 8), torch.randn(n, 8)) for n in (100, 10000))
    assert 5 < small / large < 20  # 1 / sqrt(N): a factor of ten


@pytest.mark.parametrize("shape", [(9, 3), (10, 4), (0, 3)])
def test_swd_refuses_sets_that_do_not_match(shape):
    with pytest.raises(ValueError, match="expected two sets"):
        sliced_wasserstein(torch.zeros(shape), torch.zeros(0 if shape[0] == 0 else 10, 3))
