"""Kernel distance: torch-fidelity's numbers, both ways to sum, a null that may be negative."""

import pytest
import torch

from fastgan.metrics import kernel_distance as module
from fastgan.metrics.kernel_distance import kernel_distance
from tests.metrics.peers import peer


def pair(count_x=600, count_y=500, dim=20):
    return (
        torch.randn(count_x, dim, dtype=torch.float64),
        1.2 * torch.randn(count_y, dim, dtype=torch.float64) + 0.1,
    )


def test_two_points_by_hand():
    """k(a, b) = (a b + 1)^3 in one dimension; all pairs of {0, 1} and {2, 3}."""
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [3.0]])
    found = kernel_distance(x, y, subsets=3, subset_size=2)
    cross = (1 + 1 + 27 + 64) / 4
    assert found.mean == pytest.approx(1 + 343 - 2 * cross)
    assert found.std == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("subsets", "size"), [(40, 200), (2, 100)])
def test_it_agrees_with_torch_fidelity(subsets, size):
    """Of which the first computes the whole kernel once, the second subset by subset."""
    kid = peer("torch_fidelity.metric_kid", "torch-fidelity")
    x, y = pair()
    theirs = kid.kid_features_to_metric(
        x, y, kid_subsets=subsets, kid_subset_size=size, rng_seed=2020, verbose=False
    )
    ours = kernel_distance(x, y, subsets=subsets, subset_size=size)
    assert list(theirs.values()) == pytest.approx(list(ours), rel=1e-8)


def test_it_agrees_with_clean_fid_up_to_the_choice_of_subsets():
    fid = peer("cleanfid.fid", "clean-fid")
    x, y = pair()
    theirs = fid.kernel_distance(x.numpy(), y.numpy(), num_subsets=50, max_subset_size=300)
    ours = kernel_distance(x, y, subsets=50, subset_size=300)
    assert abs(theirs - ours.mean) < 4 * ours.std / 50**0.5


def test_rows_of_the_kernel_in_memory_do_not_matter(monkeypatch):
    x, y = pair(300, 280)
    whole = kernel_distance(x, y, subsets=30, subset_size=150)
    monkeypatch.setattr(module, "ROWS", 37)
    assert kernel_distance(x, y, subsets=30, subset_size=150) == pytest.approx(whole, rel=1e-9)


def test_equal_distributions_have_zero_on_average_and_negative_values():
    means = []
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        x, y = torch.randn(2, 200, 8, generator=generator)
        means.append(kernel_distance(x, y, subsets=1, subset_size=200).mean)
    values = torch.tensor(means)
    assert abs(float(values.mean())) < 3 * float(values.std()) / 20**0.5
    assert float(values.min()) < 0 < float(values.max())


def test_wrong_sizes_are_refused():
    x, y = pair(30, 20)
    with pytest.raises(ValueError, match="subset of 2 to 20 vectors, got 100 of 1000"):
        kernel_distance(x, y)
    with pytest.raises(ValueError, match=r"\[N, d\] and \[M, d\]"):
        kernel_distance(x, y[:, :3])
