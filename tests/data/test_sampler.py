"""The order of visits: a permutation per epoch, and a pure function of the position."""

import pytest
import torch

from fastgan.data import EpochSampler, flips
from fastgan.errors import DataError


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_sampler_visits_every_image_once_per_epoch(size):
    sampler = EpochSampler(size, seed=3)
    for epoch in range(4):
        order = sampler.indices(epoch * size, size)
        assert order.dtype == torch.int64
        assert torch.equal(order.sort().values, torch.arange(size))


def test_sampler_is_a_function_of_position_only():
    whole = EpochSampler(11, seed=5).indices(0, 100)
    resumed = EpochSampler(11, seed=5)
    for start, count in [(60, 7), (0, 1), (10, 2), (9, 55), (99, 1), (33, 0)]:
        assert torch.equal(resumed.indices(start, count), whole[start : start + count])


def test_sampler_ranks_together_see_the_global_batch():
    batch = EpochSampler(10, seed=1).indices(24, 8)
    ranks = [EpochSampler(10, seed=1).indices(24, 8)[rank::2] for rank in range(2)]
    assert torch.equal(torch.stack(ranks, dim=1).flatten(), batch)


def test_sampler_shuffles_anew_every_epoch():
    sampler = EpochSampler(100, seed=0)
    orders = [tuple(sampler.indices(100 * epoch, 100).tolist()) for epoch in range(5)]
    assert len(set(orders)) == 5
    assert tuple(range(100)) not in orders


def test_sampler_depends_on_the_seed():
    orders = {tuple(EpochSampler(50, seed).indices(0, 50).tolist()) for seed in range(-2, 8)}
    assert len(orders) == 10


def test_sampler_first_position_is_uniform():
    first = torch.stack([EpochSampler(8, seed).indices(0, 1)[0] for seed in range(4000)])
    counts = torch.bincount(first, minlength=8).double()
    chi_square = ((counts - 500) ** 2 / 500).sum()
    assert chi_square < 24.3  # 7 degrees of freedom, p = 0.001


def test_sampler_order_does_not_change_between_versions():
    assert EpochSampler(8, seed=0).indices(0, 16).tolist() == [
        0,
        1,
        4,
        5,
        7,
        2,
        3,
        6,
        4,
        3,
        2,
        5,
        6,
        7,
        0,
        1,
    ]
    assert flips(0, 12, seed=0).int().tolist() == [1, 0, 0, 1, 0, 0, 0, 1, 1, 1, 0, 0]


def test_sampler_reaches_far_positions_directly():
    sampler = EpochSampler(5, seed=0)
    far = 5 * 10**12
    assert sorted(sampler.indices(far, 5).tolist()) == [0, 1, 2, 3, 4]


def test_flips_are_a_function_of_position_only():
    whole = flips(0, 200, seed=9)
    assert whole.dtype == torch.bool
    assert torch.equal(torch.cat([flips(s, 50, seed=9) for s in range(0, 200, 50)]), whole)
    assert not torch.equal(flips(0, 200, seed=10), whole)


def test_flips_are_fair_and_independent_of_their_neighbours():
    bits = flips(0, 40_000, seed=2).double()
    assert abs(bits.mean() - 0.5) < 0.01
    assert abs((bits[1:] * bits[:-1]).mean() - 0.25) < 0.01


def test_flips_of_an_image_change_between_epochs():
    size = 64
    same = flips(0, size, seed=0) == flips(size, size, seed=0)
    assert 10 < int(same.sum()) < 54


@pytest.mark.parametrize("bad", [(-1, 4), (0, -1)])
def test_sampler_rejects_negative_ranges(bad):
    with pytest.raises(DataError, match="at least 0"):
        EpochSampler(4, seed=0).indices(*bad)
    with pytest.raises(DataError, match="at least 0"):
        flips(*bad, seed=0)


def test_sampler_rejects_an_empty_dataset():
    with pytest.raises(DataError, match="at least 1 image, got 0"):
        EpochSampler(0, seed=0)
