"""setup_filter, filter2d, upsample2d, downsample2d: what they mean, and every error message."""

from typing import Any

import pytest
import torch

from fastgan import ops

BINOMIAL = ops.setup_filter([1, 3, 3, 1])
LONG = ops.setup_filter([1.0, 8, 28, 56, 70, 56, 28, 8, 1])


def test_setup_filter_makes_the_outer_product_of_short_taps() -> None:
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    assert torch.equal(BINOMIAL, torch.outer(taps, taps))
    assert BINOMIAL.dtype == torch.float32


def test_setup_filter_keeps_long_taps_separable() -> None:
    assert LONG.shape == (9,)
    assert LONG.sum().item() == pytest.approx(1)
    assert ops.setup_filter([1.0] * 7).shape == (7, 7)
    assert ops.setup_filter([1.0] * 8).shape == (8,)
    assert ops.setup_filter([1.0] * 8, separable=False).shape == (8, 8)
    assert ops.setup_filter([1.0, 1.0], separable=True).shape == (2,)


def test_setup_filter_normalizes_after_the_outer_product() -> None:
    taps = ops.setup_filter([1.0, 2.0], normalize=False)
    assert torch.equal(taps, torch.tensor([[1.0, 2.0], [2.0, 4.0]]))
    assert ops.setup_filter([1.0, 2.0]).sum().item() == pytest.approx(1)


@pytest.mark.parametrize("value", [None, 5.0, [3.0]])
def test_setup_filter_of_one_tap_is_identity(value: Any) -> None:
    assert torch.equal(ops.setup_filter(value), torch.ones(1, 1))


def test_setup_filter_flips_and_scales() -> None:
    taps = torch.arange(6.0).reshape(2, 3)
    flipped = ops.setup_filter(taps, normalize=False, flip_filter=True, gain=4.0)
    assert torch.equal(flipped, 4 * taps.flip([0, 1]))
    assert torch.equal(ops.setup_filter(LONG, normalize=False, gain=4.0), 2 * LONG)


def test_setup_filter_refuses_what_holds_no_taps() -> None:
    for wrong in ([], torch.ones(2, 2, 2)):
        with pytest.raises(ValueError, match="must hold taps in 0, 1 or 2 dimensions"):
            ops.setup_filter(wrong)
    with pytest.raises(ValueError, match="separable=True needs 1-D taps"):
        ops.setup_filter(torch.ones(2, 2), separable=True)


@pytest.mark.parametrize("filter", [BINOMIAL, LONG, None], ids=["short", "long", "none"])
def test_resampling_keeps_constants_and_sizes(filter: torch.Tensor | None, backend: str) -> None:
    x = torch.full((2, 3, 20, 24), 0.75)
    same = ops.filter2d(x, filter, backend=backend)
    up = ops.upsample2d(x, filter, backend=backend)
    down = ops.downsample2d(x, filter, backend=backend)
    assert same.shape == x.shape
    assert up.shape == (2, 3, 40, 48)
    assert down.shape == (2, 3, 10, 12)
    for y in (same, down) if filter is None else (same, up, down):
        inside = y[..., 5:-5, 5:-5] if y.shape[-1] > 12 else y[..., 3:-3, 3:-3]
        torch.testing.assert_close(inside, torch.full_like(inside, 0.75))


def test_resampling_does_not_shift(backend: str) -> None:
    """A symmetric blob stays centred: mirroring before or after is the same."""
    x = torch.randn(1, 1, 12, 12)
    for function in (ops.upsample2d, ops.downsample2d):
        y = function(x.flip([2, 3]), BINOMIAL, backend=backend)
        torch.testing.assert_close(y, function(x, BINOMIAL, backend=backend).flip([2, 3]))
    y = ops.filter2d(x.flip([2, 3]), LONG, backend=backend)
    torch.testing.assert_close(y, ops.filter2d(x, LONG, backend=backend).flip([2, 3]))


def test_factors_per_axis_and_extra_padding(backend: str) -> None:
    x = torch.randn(1, 2, 6, 8)
    assert ops.upsample2d(x, BINOMIAL, up=[3, 1], backend=backend).shape == (1, 2, 6, 24)
    assert ops.downsample2d(x, BINOMIAL, down=[1, 2], backend=backend).shape == (1, 2, 3, 8)
    wide = ops.filter2d(x, BINOMIAL, padding=[1, 2, -1, 0], backend=backend)
    assert wide.shape == (1, 2, 5, 11)
    inside = ops.filter2d(x, BINOMIAL, backend=backend)
    torch.testing.assert_close(wide[:, :, :, 1:9], inside[:, :, 1:])


def test_upsample_then_downsample_is_a_smooth_identity(backend: str) -> None:
    ramp = torch.arange(16.0).expand(1, 1, 16, 16)
    y = ops.downsample2d(ops.upsample2d(ramp, BINOMIAL, backend=backend), BINOMIAL, backend=backend)
    torch.testing.assert_close(y[..., 3:-3, 3:-3], ramp[..., 3:-3, 3:-3])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.zeros(1, 1, 4, 4, dtype=torch.int32)}, TypeError, "x must be floating point"),
        ({"x": torch.zeros(4, 4)}, ValueError, r"x must have 4 dimensions \[N, C, H, W\]"),
        ({"filter": torch.zeros(2, 2).double()}, TypeError, "must be a float32 tensor"),
        ({"filter": torch.zeros(2, 2, 2)}, TypeError, "of 1 or 2 dimensions"),
        ({"filter": torch.zeros(0)}, ValueError, "filter has no taps"),
        ({"filter": [1.0, 2.0]}, TypeError, "must be a float32 tensor"),
        ({"filter": torch.ones(2, device="meta")}, ValueError, "filter is on meta, x is on cpu"),
        ({"filter": torch.ones(5, 4)}, ValueError, r"\(5 x 4\) is larger than the padded image"),
        ({"padding": [-3, -2]}, ValueError, "is larger than the padded image"),
        ({"up": 0}, ValueError, r"up must be an int >= 1 or \[x, y\]"),
        ({"up": 1.5}, ValueError, r"up must be an int >= 1 or \[x, y\]"),
        ({"down": [1, 2, 3]}, ValueError, r"down must be an int >= 1 or \[x, y\]"),
        ({"padding": [1, 2, 3]}, ValueError, r"padding must be an int, \[x, y\] or"),
        ({"padding": 0.5}, ValueError, r"padding must be an int, \[x, y\] or"),
    ],
)
def test_wrong_arguments_say_what_was_expected(
    change: dict[str, Any], error: type[Exception], message: str, backend: str
) -> None:
    arguments: dict[str, Any] = {"x": torch.zeros(1, 1, 4, 4), "filter": torch.ones(2, 2)} | change
    with pytest.raises(error, match=message):
        ops.upfirdn2d(**arguments, backend=backend)


def test_kernel_checks_its_own_arguments(kernel_backend: str) -> None:
    call = torch.ops.fastgan_cpp.upfirdn2d
    x, f = torch.zeros(1, 1, 4, 4), torch.ones(2, 2)
    for up, padding, message in (
        ([0, 1], [0, 0, 0, 0], "at least 1"),
        ([1], [0, 0, 0, 0], r"must be \[x, y\]"),
        ([1, 1], [0, 0, 0], r"padding \[x0, x1, y0, y1\]"),
        ([1, 1], [-9, 0, 0, 0], "larger than the padded image"),
    ):
        with pytest.raises(RuntimeError, match=message):
            call(x, f, up, [1, 1], padding, False, 1.0)
