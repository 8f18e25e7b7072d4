"""The ops of 3x3 convolutions by 2 against the specification: values and gradients to the second
order, shapes, instruction sets, threads, and which calls they serve."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from fastgan import ops, reference
from fastgan.ops import conv2d_resample_2x
from fastgan.ops._register import registered
from tests.tolerances import assert_close_to_exact

TAPS = ops.setup_filter([1, 3, 4, 2])
NAMES = ("conv3x3_up2", "conv3x3_down2", "conv3x3_updown_weight_grad")
OPTIONS: dict[str, dict[str, Any]] = {"up": {"up": 2}, "down": {"down": 2}}
# Low image and channels (low, high), each with ragged tiles of 2 and of 4 or none.
SHAPES = {
    "one_pixel_wide": (2, 1, 3, 16, 32),
    "tiny": (1, 2, 3, 32, 16),
    "odd": (3, 5, 7, 48, 32),
    "ragged_channels": (2, 9, 6, 112, 48),
    "square": (5, 8, 8, 64, 64),
    "large_tiles": (1, 33, 34, 16, 16),
    "more_images_than_tiles": (13, 2, 2, 16, 32),
}

pytestmark = pytest.mark.usefixtures("kernel_backend")


def _case(way: str, shape: str, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    samples, height, width, low, high = SHAPES[shape]
    generator = torch.Generator().manual_seed(1)
    up = way == "up"
    size = (samples, low, height, width) if up else (samples, high, 2 * height, 2 * width)
    weight = (high, low, 3, 3) if up else (low, high, 3, 3)
    x = torch.randn(size, generator=generator).contiguous(memory_format=torch.channels_last)
    return x.to(dtype), torch.randn(weight, generator=generator).to(dtype)


@contextmanager
def _counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The kernels that are launched inside, by name."""
    launched: list[str] = []
    launcher = conv2d_resample_2x.launcher

    def counting(name: str, backend: str) -> Any:
        launched.append(name)
        return launcher(name, backend)

    with monkeypatch.context() as patch:
        patch.setattr(conv2d_resample_2x, "launcher", counting)
        yield launched


def _all_orders(function: Any, x: Tensor, weight: Tensor) -> list[Tensor]:
    """Value, both gradients, and the gradients of a function of these in x, weight and grad_y."""
    x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
    y = function(x, weight)
    generator = torch.Generator().manual_seed(2)
    grad_y = torch.randn(y.shape, generator=generator).to(y.dtype).requires_grad_()
    first = torch.autograd.grad(y, (x, weight), grad_y, create_graph=True)
    vectors = [torch.randn(g.shape, generator=generator).to(g.dtype) for g in first]
    second = torch.autograd.grad(first, (x, weight, grad_y), vectors)
    return [y.detach(), *(g.detach() for g in (*first, *second))]


def _compare(way: str, shape: str, **options: Any) -> None:
    options = OPTIONS[way] | options
    layout = options.pop("layout", torch.channels_last)

    def specification(x: Tensor, weight: Tensor) -> Tensor:
        return reference.conv2d_resample(x, weight, TAPS, padding=(1, 1, 1, 1), **options)

    def op(x: Tensor, weight: Tensor) -> Tensor:
        return ops.conv2d_resample(x, weight, TAPS, padding=1, backend="cpp", **options)

    x, weight = _case(way, shape)
    x = x.contiguous(memory_format=layout)
    exact = _all_orders(specification, x.double(), weight.double())
    rounded = _all_orders(specification, x, weight)
    for actual, plain, double in zip(_all_orders(op, x, weight), rounded, exact, strict=True):
        assert_close_to_exact(actual, plain, double)


@pytest.mark.parametrize("way", list(OPTIONS))
@pytest.mark.parametrize("shape", list(SHAPES))
def test_values_and_gradients_to_second_order(
    shape: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _counted(monkeypatch) as launched:
        _compare(way, shape)
    # One value, two first gradients, and two or more kernels for each of the second ones.
    assert len(launched) >= 7
    assert set(launched) == set(NAMES)


@pytest.mark.parametrize("way", list(OPTIONS))
@pytest.mark.parametrize("shape", ["square", "large_tiles"])
def test_contiguous_images_to_second_order(
    shape: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _counted(monkeypatch) as launched:
        _compare(way, shape, layout=torch.contiguous_format)
    assert set(launched) == set(NAMES)


@pytest.mark.parametrize("way", list(OPTIONS))
def test_gradients_stay_in_the_order_of_the_image(way: str) -> None:
    x, weight = _case(way, "square")
    for image in (x, x.contiguous()):
        image.requires_grad_()
        y = ops.conv2d_resample(image, weight, TAPS, padding=1, backend="cpp", **OPTIONS[way])
        (grad,) = torch.autograd.grad(y, image, torch.ones_like(y).contiguous())
        for result in (y, grad):
            assert (result.stride(1) == 1) == (image is x)
            assert result.is_contiguous() == (image is not x)


@pytest.mark.parametrize("way", list(OPTIONS))
@pytest.mark.parametrize("flip_weight", [True, False])
@pytest.mark.parametrize("flip_filter", [True, False])
def test_flips(flip_filter: bool, flip_weight: bool, way: str) -> None:
    _compare(way, "odd", flip_weight=flip_weight, flip_filter=flip_filter)


@pytest.mark.parametrize("way", list(OPTIONS))
@pytest.mark.parametrize("shape", ["odd", "large_tiles"])
def test_every_instruction_set(shape: str, way: str, cpu_capability: str) -> None:
    _compare(way, shape)


@pytest.mark.parametrize("tile", [1, 2, 4])
@pytest.mark.parametrize("way", list(OPTIONS))
@pytest.mark.parametrize("shape", ["odd", "ragged_channels", "large_tiles"])
def test_every_tile(shape: str, way: str, tile: int, cpu_capability: str) -> None:
    x, weight = _case(way, shape)
    taps = ops.setup_filter([1, 3, 4, 2], separable=True)
    up = way == "up"
    kernels = torch.ops.fastgan_cpp
    function = kernels.conv3x3_up2 if up else kernels.conv3x3_down2
    y = function(x, weight, taps, True, False, 4.0 if up else 1.0, tile)
    weight, weight64 = weight.requires_grad_(), weight.detach().double().requires_grad_()
    cut = {"padding": (1, 1, 1, 1)} | OPTIONS[way]
    rounded = reference.conv2d_resample(x, weight, TAPS, **cut)
    exact = reference.conv2d_resample(x.double(), weight64, TAPS, **cut)
    assert_close_to_exact(y, rounded, exact)
    (grad_rounded,) = torch.autograd.grad(rounded, weight, y)
    (grad_exact,) = torch.autograd.grad(exact, weight64, y.double())
    low, high = (x, y) if up else (y, x)
    found = kernels.conv3x3_updown_weight_grad(
        low, high, taps, up, True, False, 4.0 if up else 1.0, tile
    )
    assert_close_to_exact(found, grad_rounded, grad_exact)


@pytest.mark.parametrize("way", list(OPTIONS))
@pytest.mark.parametrize("shape", ["square", "large_tiles", "more_images_than_tiles"])
def test_threads_change_no_bit(shape: str, way: str) -> None:
    x, weight = _case(way, shape)

    def op(x: Tensor, weight: Tensor) -> Tensor:
        return ops.conv2d_resample(x, weight, TAPS, padding=1, backend="cpp", **OPTIONS[way])

    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(_all_orders(op, x, weight))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("way", list(OPTIONS))
def test_empty_batch(way: str) -> None:
    x, weight = _case(way, "square")
    empty = torch.empty_like(x[:0]).requires_grad_()
    weight.requires_grad_()
    op = getattr(registered, f"conv3x3_{way}2")
    y = op(empty, weight, ops.setup_filter([1, 3, 3, 1], separable=True), True, False, 1.0, "cpp")
    grad_x, grad_weight = torch.autograd.grad(y.sum(), (empty, weight))
    assert y.shape[0] == 0
    assert grad_x.shape == empty.shape
    assert torch.equal(grad_weight, torch.zeros_like(weight))


FALLBACKS: dict[str, dict[str, Any]] = {
    "float64": {"dtype": torch.float64},
    "bfloat16": {"dtype": torch.bfloat16},
    "six_taps": {"filter": ops.setup_filter([1, 4, 6, 6, 4, 1])},
    "two_taps": {"filter": ops.setup_filter([1, 1])},
    "not_separable": {"filter": torch.arange(16.0).view(4, 4) / 120},
    "no_filter": {"filter": None},
    "padding": {"padding": 2},
    "groups": {"groups": 2},
    "channels": {"channels": 24},
    "odd_size": {"size": 7},
    "small_and_contiguous": {"layout": torch.contiguous_format},
}


@pytest.mark.parametrize(
    ("name", "way"),
    # Every size can be doubled, and the kernel for it is faster at any.
    [
        (name, way)
        for name in FALLBACKS
        for way in OPTIONS
        if way == "down" or name not in ("odd_size", "small_and_contiguous")
    ],
)
def test_other_calls_are_composed(name: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    change = FALLBACKS[name]
    channels, groups = change.get("channels", 32), change.get("groups", 1)
    size, dtype = change.get("size", 6), change.get("dtype", torch.float32)
    x = torch.randn(2, channels, size, size).to(dtype)
    x = x.contiguous(memory_format=change.get("layout", torch.channels_last))
    weight = torch.randn(32, channels // groups, 3, 3).to(dtype)
    filter, padding = change.get("filter", TAPS), change.get("padding", 1)
    with _counted(monkeypatch) as launched:
        y = ops.conv2d_resample(
            x, weight, filter, padding=padding, groups=groups, backend="cpp", **OPTIONS[way]
        )
    assert not launched
    cut = {"padding": (padding,) * 4, "groups": groups} | OPTIONS[way]
    rounded = reference.conv2d_resample(x, weight, filter, **cut)
    exact = reference.conv2d_resample(x.double(), weight.double(), filter, **cut)
    assert_close_to_exact(y, rounded, exact)


@pytest.mark.parametrize("way", list(OPTIONS))
def test_float64_gradients_of_channels_last(way: str) -> None:
    x, weight = torch.randn(1, 2, 4, 4).double(), torch.randn(2, 2, 3, 3).double()
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()

    def function(x: Tensor, weight: Tensor) -> Tensor:
        return ops.conv2d_resample(x, weight, TAPS, padding=1, backend="cpp", **OPTIONS[way])

    assert gradcheck(function, (x, weight.requires_grad_()))
    assert gradgradcheck(function, (x, weight))


@pytest.mark.parametrize("name", NAMES)
def test_opcheck(name: str) -> None:
    low, weight = _case("up", "tiny")
    high = torch.randn(1, 16, 4, 6).contiguous(memory_format=torch.channels_last)
    taps = ops.setup_filter([1, 3, 4, 2], separable=True)
    images: dict[str, tuple[Any, ...]] = {
        "conv3x3_up2": (low.requires_grad_(), weight.requires_grad_(), taps),
        "conv3x3_down2": (high, weight.transpose(0, 1), taps),
        "conv3x3_updown_weight_grad": (low, high.requires_grad_(), taps, True),
    }
    # Gradients of the traced and of the eager op are compared with tolerances of float32.
    torch.library.opcheck(
        getattr(torch.ops.fastgan, name), (*images[name], True, False, 4.0, "cpp")
    )


@pytest.mark.parametrize("layout", ["contiguous", "sliced", "one_pixel"])
def test_ops_take_images_in_any_layout(layout: str) -> None:
    image = torch.randn(3, 32, 4, 5)
    x = {
        "contiguous": image,
        "sliced": torch.randn(3, 4, 9, 64)[:, :, 2:7, 16:48].permute(0, 3, 1, 2),
        "one_pixel": image[:, :, :1, :1],
    }[layout]
    weight, taps = torch.randn(16, 32, 3, 3), ops.setup_filter([1, 3, 3, 1], separable=True)
    y = registered.conv3x3_up2(x, weight, taps, True, False, 4.0, "cpp")
    filter, cut = ops.setup_filter([1, 3, 3, 1]), (1, 1, 1, 1)
    rounded = reference.conv2d_resample(x, weight, filter, up=2, padding=cut)
    exact = reference.conv2d_resample(x.double(), weight.double(), filter, up=2, padding=cut)
    assert_close_to_exact(y, rounded, exact)
    assert y.is_contiguous()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(1, 20, 4, 4)}, "multiple of 16 channels, got 20"),
        ({"x": torch.zeros(1, 16, 4, 4).double()}, "float32 CPU tensor of 4 dimensions"),
        ({"x": torch.zeros(1, 16, 4, 5)}, "even height and width, got 4 x 5"),
        ({"weight": torch.zeros(16, 32, 3, 3)}, r"must have 2304 elements"),
        ({"taps": torch.zeros(5)}, "taps must have 4 elements"),
        ({"gain": -1.0}, "gain must be above 0"),
        ({"tile": 3}, "tile must be 1, 2, 4 or 0"),
    ],
)
def test_kernels_say_what_was_expected(change: dict[str, Any], message: str) -> None:
    arguments = {"x": torch.zeros(1, 16, 4, 4), "weight": torch.zeros(16, 16, 3, 3)}
    arguments |= {"taps": torch.ones(4), "flip_weight": True, "flip_filter": False, "gain": 1.0}
    with pytest.raises(RuntimeError, match=message):
        torch.ops.fastgan_cpp.conv3x3_down2(**(arguments | change))
