"""upfirdn2d: every kernel backend against the specification, in value, layout and bits."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from fastgan import ops, reference
from tests import cases
from tests.cases_upfirdn2d import FILTERS, RESAMPLINGS, options
from tests.tolerances import DTYPES, assert_close_to_exact

TILES = [1, 2, 15, 16, 17, 31, 32, 33, 64, 65]  # around vector widths


def check(x: Tensor, filter: Tensor | None, backend: str, **settings: Any) -> Tensor:
    """Compare a backend with the specification in x's dtype and in float64."""
    y = ops.upfirdn2d(x, filter, backend=backend, **settings)
    rounded = reference.upfirdn2d(x, filter, **settings)
    exact = reference.upfirdn2d(x.double(), filter, **settings)
    assert_close_to_exact(y, rounded, exact)
    return y


def layout_kept(y: Tensor, x: Tensor) -> bool:
    """channels_last where x is that and not also contiguous, else contiguous."""
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    kept = torch.channels_last if last else torch.contiguous_format
    return y.stride() == torch.empty(y.shape, memory_format=kept).stride()


@pytest.mark.parametrize("filter", list(FILTERS))
@pytest.mark.parametrize("name", list(RESAMPLINGS))
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_matches_reference_for_every_filter(
    filter: str, name: str, layout: str, kernel_backend: str
) -> None:
    x = cases.images("small", layout, torch.float32)
    f = FILTERS[filter]
    flip = len(filter) % 2 == 0
    y = check(x, f, kernel_backend, flip_filter=flip, gain=1.7, **options(name, f))
    assert layout_kept(y, x)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("filter", ["binomial", "outer", "almost_outer", "full", "separable_12"])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_matches_reference_in_every_dtype(
    dtype: torch.dtype, filter: str, layout: str, kernel_backend: str
) -> None:
    x = cases.images("small", layout, dtype)
    f = FILTERS[filter]
    for name in RESAMPLINGS:
        for flip in (False, True):
            check(x, f, kernel_backend, flip_filter=flip, gain=-0.5, **options(name, f))


@pytest.mark.parametrize("shape", [*cases.IMAGE_SHAPES, "zero_channels"])
@pytest.mark.parametrize("layout", list(cases.LAYOUTS))
@pytest.mark.parametrize("filter", ["binomial", "full"])
def test_matches_reference_in_every_layout(
    shape: str, layout: str, filter: str, kernel_backend: str
) -> None:
    zero = shape == "zero_channels"
    x = torch.empty(2, 0, 3, 3) if zero else cases.images(shape, layout, torch.float32)
    for up, down in ((2, 1), (1, 2), (1, 1)):
        padding = (3, 2, 4, 2)
        factors = {"up": (up, up), "down": (down, down), "padding": padding}
        y = check(x, FILTERS[filter], kernel_backend, **factors)
        assert layout_kept(y, x)


@pytest.mark.parametrize("cut", ["rows", "columns", "channels", "batch", "all"])
def test_slices_of_a_larger_image(cut: str, kernel_backend: str) -> None:
    whole = torch.randn(4, 6, 9, 11)
    x = {
        "rows": whole[:, :, 2:7],
        "columns": whole[..., 1:9],
        "channels": whole[:, 1:5:2],
        "batch": whole[::3],
        "all": whole[1:3, ::2, 3:, 2:-1],
    }[cut]
    check(x, FILTERS["binomial"], kernel_backend, up=(2, 2), padding=(2, 1, 2, 1))
    check(x, FILTERS["full"], kernel_backend, down=(2, 1), padding=(2, 1, 2, 1))


@pytest.mark.parametrize("width", TILES)
@pytest.mark.parametrize("name", ["same", "up2", "down2", "up3_down2", "down4"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_sizes_around_the_vector_width(
    width: int, name: str, dtype: torch.dtype, kernel_backend: str
) -> None:
    for layout in ("contiguous", "channels_last"):
        x = cases.LAYOUTS[layout](torch.randn(1, 2, 5, width).to(dtype))
        check(x, FILTERS["outer"], kernel_backend, **options(name) | {"padding": (3, 3, 2, 2)})
    x = torch.randn(1, width, 3, 4).to(dtype).contiguous(memory_format=torch.channels_last)
    check(x, FILTERS["full"], kernel_backend, **options(name) | {"padding": (3, 3, 2, 2)})


@pytest.mark.parametrize("name", ["same", "up2", "down2", "up3_down2"])
@pytest.mark.parametrize("filter", ["binomial", "full"])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_many_blocks_and_threads_give_the_same_bits(
    name: str, filter: str, layout: str, kernel_backend: str, two_threads: None
) -> None:
    x = cases.LAYOUTS[layout](torch.randn(2, 3, 77, 131))
    settings: dict[str, Any] = {**options(name, FILTERS[filter])}
    many = check(x, FILTERS[filter], kernel_backend, **settings)
    torch.set_num_threads(1)
    assert torch.equal(many, ops.upfirdn2d(x, FILTERS[filter], backend=kernel_backend, **settings))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_every_instruction_set(dtype: torch.dtype, layout: str, cpu_capability: str) -> None:
    x = cases.LAYOUTS[layout](torch.randn(2, 5, 9, 37).to(dtype))
    for name in ("same", "up2", "down2", "up3_down2", "up4", "down4", "crop_down"):
        for filter in ("binomial", "full", "separable_12", "row"):
            check(x, FILTERS[filter], "cpp", **options(name, FILTERS["separable_12"]))


@pytest.mark.parametrize("name", list(RESAMPLINGS))
def test_separable_filter_equals_its_outer_product(name: str, kernel_backend: str) -> None:
    x, f = torch.randn(2, 3, 9, 8), FILTERS["separable"]
    assert f is not None
    run = partial(ops.upfirdn2d, x, backend=kernel_backend, **options(name))
    torch.testing.assert_close(run(torch.outer(f, f)), run(f))


@pytest.mark.parametrize("filter", ["binomial", "full", "separable_12"])
@pytest.mark.parametrize("name", ["same", "up2", "down2"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_infinity_and_nan_reach_only_their_support(
    filter: str, name: str, value: float, layout: str, kernel_backend: str
) -> None:
    f = FILTERS[filter]
    assert f is not None
    x = torch.randn(1, 2, 24, 40)
    x[0, 1, 9, 21] = value
    settings = options(name, f)
    y = ops.upfirdn2d(cases.LAYOUTS[layout](x), f.abs(), backend=kernel_backend, **settings)
    # The support is that of the definition, a rectangle: take the outer product for the oracle.
    whole = torch.outer(f, f) if f.ndim == 1 else f
    expected = reference.upfirdn2d(x.double(), whole.abs(), **settings)
    torch.testing.assert_close(y.double(), expected, equal_nan=True, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", list(cases.IMAGE_SHAPES))
@pytest.mark.parametrize("layout", list(cases.LAYOUTS))
def test_fake_kernel_predicts_shape_and_strides(
    shape: str, layout: str, kernel_backend: str
) -> None:
    x = cases.images(shape, layout, torch.float16)
    f, call = torch.ones(4, 4), torch.ops.fastgan.upfirdn2d
    for up, down, pad in ((2, 1, [2, 3, 2, 3]), (1, 2, [1, 2, 3, 3]), (1, 64, [8, 8, 8, 8])):
        settings = ([up, up], [down, down], pad, False, 1.0, kernel_backend)
        with FakeTensorMode() as mode:
            fake = call(mode.from_tensor(x), mode.from_tensor(f), *settings)
        real = call(x, f, *settings)
        assert (fake.shape, fake.stride(), fake.dtype) == (real.shape, real.stride(), real.dtype)


def test_filter_may_be_any_view(kernel_backend: str) -> None:
    f = torch.randn(8, 6)[::2, 1::2].T
    check(torch.randn(1, 2, 6, 6), f, kernel_backend)
    check(torch.randn(1, 2, 6, 6), torch.ones(1).expand(3), kernel_backend)
