"""Factors of filters, and the precision that torch's settings allow."""

from collections.abc import Iterator

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from fastgan.ops import _separable, setup_filter
from fastgan.ops._precision import allows_tf32
from fastgan.ops._separable import separable_taps


@pytest.mark.parametrize("taps", [[1, 3, 3, 1], [0.3, -0.2, 0.9, 0.1], [0, 0, 2], [5]])
def test_the_factor_of_an_outer_product(taps: list[float]) -> None:
    filter = setup_filter(taps, separable=False)
    found = separable_taps(filter)
    assert found is not None
    assert found.dtype == torch.float32
    torch.testing.assert_close(torch.outer(found, found), filter)


def test_taps_of_one_dimension_are_their_own_factor() -> None:
    taps = setup_filter([1, 3, 3, 1], separable=True)
    assert separable_taps(taps) is taps


@pytest.mark.parametrize(
    "filter",
    [
        torch.tensor([[1.0, 2.0], [2.0, 1.0]]),  # symmetric, of rank two
        torch.outer(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 1.0])),  # two factors
        -torch.ones(2, 2),
        torch.zeros(3, 3),
        torch.ones(1, 4),
        torch.full((2, 2), float("nan")),
        torch.ones(4, 4, device="meta"),
    ],
    ids=["rank_two", "two_factors", "negative", "zero", "oblong", "nan", "meta"],
)
def test_other_filters_have_none(filter: torch.Tensor) -> None:
    assert separable_taps(filter) is None


def test_a_filter_is_read_once_and_again_after_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    filter, reads = torch.ones(2, 2), []
    original = _separable._factor
    monkeypatch.setattr(_separable, "_factor", lambda f: reads.append(f) or original(f))
    first = separable_taps(filter)
    assert separable_taps(filter) is first
    assert len(reads) == 1
    filter.mul_(4)
    changed = separable_taps(filter)
    assert changed is not None
    assert changed.tolist() == [2.0, 2.0]
    assert len(reads) == 2


def test_a_filter_is_not_kept_alive() -> None:
    before = len(_separable._found)
    filter = torch.ones(2, 2)
    separable_taps(filter)
    assert len(_separable._found) == before + 1
    del filter
    assert len(_separable._found) == before


@pytest.fixture
def settings() -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cudnn.allow_tf32 = before


def test_tf32_follows_the_setting_for_convolutions(settings: None) -> None:
    torch.backends.cudnn.allow_tf32 = True
    assert allows_tf32("cuda")
    assert not allows_tf32("cpu")
    torch.backends.cudnn.allow_tf32 = False
    assert not allows_tf32("cuda")
    torch.backends.cudnn.conv.fp32_precision = "tf32"
    assert allows_tf32("cuda")


def test_taps_found_while_sampling_serve_training():
    filter = setup_filter([1, 3, 3, 1])
    with torch.inference_mode():
        separable_taps(filter)
    assert not separable_taps(filter).is_inference()


def test_filters_made_in_inference_mode_are_read_anew():
    with torch.inference_mode():
        filter = setup_filter([1, 3, 3, 1])
        before = separable_taps(filter)
        filter.mul_(4)
        torch.testing.assert_close(separable_taps(filter), 2 * before)


def test_traced_filters_have_none():
    with FakeTensorMode():
        assert separable_taps(torch.empty(4, 4)) is None
