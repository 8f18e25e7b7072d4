import math

import pytest
import torch

from fastgan.data import ring_mixture
from fastgan.metrics.diversity import mean_pairwise_distance, mode_coverage

RING = ring_mixture()


def test_mean_pairwise_distance_counts_each_pair_once():
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
    assert mean_pairwise_distance(x) == pytest.approx((5 + 0 + 5) / 3 / math.sqrt(2))
    assert mean_pairwise_distance(torch.ones(4, 3, 2, 2)) == 0
    with pytest.raises(ValueError, match="2 samples"):
        mean_pairwise_distance(torch.ones(1, 3))


def test_mean_pairwise_distance_of_normal_images_is_root_two():
    assert mean_pairwise_distance(torch.randn(200, 3, 16, 16)) == pytest.approx(2**0.5, rel=0.02)


def test_mode_coverage_of_the_mixture_itself():
    found = mode_coverage(RING.sample(20000, torch.Generator().manual_seed(0)), RING.centers, 0.1)
    assert found.modes == found.num_modes == 8
    assert found.high_quality == pytest.approx(1 - math.exp(-4.5), abs=0.005)
    assert found.kl < 0.001


def test_mode_coverage_of_a_collapse():
    one = RING.centers[:1] + 0.05 * torch.randn(1000, 2)
    found = mode_coverage(one, RING.centers, 0.1)
    assert found.modes == 1
    assert found.kl == pytest.approx(math.log(8), abs=1e-9)


def test_mode_coverage_counts_good_samples_only_for_modes():
    """Far from every centre no mode is hit, though the nearest modes are even."""
    found = mode_coverage(RING.centers * 5, RING.centers, 0.1)
    assert (found.modes, found.high_quality) == (0, 0.0)
    assert found.kl == pytest.approx(0, abs=1e-12)


def test_mode_coverage_needs_a_tenth_of_the_fair_share():
    weights = torch.tensor([1000, 1000, 1000, 1000, 1000, 1000, 1000, 80])
    few = RING.centers.repeat_interleave(weights, dim=0)
    assert mode_coverage(few, RING.centers, 0.1).modes == 7
    weights[7] = 100
    enough = RING.centers.repeat_interleave(weights, dim=0)
    assert mode_coverage(enough, RING.centers, 0.1).modes == 8


def test_mode_coverage_refuses_other_dimensions():
    with pytest.raises(ValueError, match=r"expected samples \[N, 2\]"):
        mode_coverage(torch.zeros(5, 3), RING.centers, 0.1)
