"""minibatch_std's specification against loops and numpy's standard deviation."""

import numpy as np
import pytest
import torch

from fastgan import reference
from fastgan.reference.minibatch_std import group_of


@pytest.mark.parametrize(("samples", "group_size"), [(1, 4), (4, 4), (6, 4), (7, 4), (8, 2)])
@pytest.mark.parametrize("slices", [1, 3])
def test_matches_loops(samples: int, group_size: int, slices: int) -> None:
    x = torch.randn(samples, 6, 2, 3, dtype=torch.float64)
    y = reference.minibatch_std(x, group_size, slices).numpy()
    values = x.numpy()
    assert np.array_equal(y[:, :6], values)
    groups = samples // group_of(samples, group_size)
    for n in range(samples):
        members = [m for m in range(samples) if m % groups == n % groups]
        deviation = np.sqrt(np.std(values[members], axis=0) ** 2 + 1e-8)
        for f in range(slices):
            width = 6 // slices
            expected = deviation[f * width : (f + 1) * width].mean()
            np.testing.assert_allclose(y[n, 6 + f], np.full((2, 3), expected), rtol=1e-12)


def test_groups_divide_the_batch() -> None:
    assert [group_of(samples, 4) for samples in (0, 1, 2, 3, 4, 6, 7, 9)] == [
        1, 1, 2, 3, 4, 3, 1, 3,
    ]  # fmt: skip


def test_half_precision_is_computed_in_float32() -> None:
    """The squares of 300 overflow float16."""
    x = torch.tensor([-300.0, 300.0]).half().reshape(2, 1, 1, 1)
    assert reference.minibatch_std(x)[:, 1].flatten().tolist() == [300.0, 300.0]
