"""The CUDA kernels of upfirdn2d, run on the CPU by the emulator, against the specification."""

import ctypes
import functools

import pytest
import torch
from torch import Tensor

from fastgan import reference
from fastgan.ops import setup_filter
from tests.cases_upfirdn2d import FILTERS, RESAMPLINGS, options
from tests.emulation import build
from tests.tolerances import DTYPES, assert_close_to_exact

GENERAL, TWO_PASSES, TILED, SEPARABLE = range(4)
GUARD = 64  # elements before and after the result that no kernel may write

# (up, down) that have tiled kernels, and padding that shifts their phases.
FACTORS = [(1, 1), (2, 1), (1, 2), (4, 1), (1, 4)]


class Call(ctypes.Structure):
    """csrc/cuda/upfirdn2d_params.h"""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("batch", "channels", "height", "width")),
        ("strides", ctypes.c_int64 * 4),
        ("up", ctypes.c_int64 * 2),
        ("down", ctypes.c_int64 * 2),
        ("padding", ctypes.c_int64 * 4),
        ("filter_height", ctypes.c_int64),
        ("filter_width", ctypes.c_int64),
        ("separable", ctypes.c_bool),
        ("flip_filter", ctypes.c_bool),
        ("channels_last", ctypes.c_bool),
        ("gain", ctypes.c_double),
    )


@functools.cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(str(build.library("capi_upfirdn2d.cpp")))


def images(*shape: int, dtype: torch.dtype = torch.float32, channels_last: bool = False) -> Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)
    return x.contiguous(memory_format=torch.channels_last) if channels_last else x


def both(factor):
    return (factor, factor) if isinstance(factor, int) else factor


def call_of(x, taps, up=1, down=1, padding=(0, 0, 0, 0), flip_filter=False, gain=1.0):
    channels_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return Call(
        *x.shape,
        (ctypes.c_int64 * 4)(*x.stride()),
        (ctypes.c_int64 * 2)(*both(up)),
        (ctypes.c_int64 * 2)(*both(down)),
        (ctypes.c_int64 * 4)(*padding),
        taps.shape[0],
        taps.shape[-1],
        taps.ndim == 1,
        flip_filter,
        channels_last,
        gain,
    )


def function(name: str, x: Tensor):
    return getattr(_library(), f"{name}_{str(x.dtype)[6:]}")


def chosen(x, taps, **settings) -> int:
    return function("choose", x)(ctypes.byref(call_of(x, taps, **settings)))


def run(x: Tensor, taps: Tensor | None, kernel: int | None = None, grid_y: int = 65535, **settings):
    """What the kernel writes; checks that it wrote all of it and nothing around it."""
    taps = torch.ones(1, 1) if taps is None else taps.contiguous()
    call = call_of(x, taps, **settings)
    kernel = chosen(x, taps, **settings) if kernel is None else kernel
    up, down, pad = call.up, call.down, call.padding
    height = (x.shape[2] * up[1] + pad[2] + pad[3] - taps.shape[0] + down[1]) // down[1]
    width = (x.shape[3] * up[0] + pad[0] + pad[1] - taps.shape[-1] + down[0]) // down[0]
    numel = x.shape[0] * x.shape[1] * height * width

    numel_of = _library().workspace_numel
    numel_of.restype = ctypes.c_longlong
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    workspace = torch.full((numel_of(ctypes.byref(call), kernel),), torch.nan, dtype=wide)
    memory = torch.full((numel + 2 * GUARD,), 77.0, dtype=x.dtype)
    result = memory[GUARD : GUARD + numel]
    result.fill_(torch.nan)
    pointers = [ctypes.c_void_p(t.data_ptr()) for t in (x, taps, result, workspace)]
    assert function("upfirdn2d", x)(ctypes.byref(call), kernel, *pointers, grid_y) == 1
    assert (memory[:GUARD] == 77).all()
    assert (memory[GUARD + numel :] == 77).all()
    if call.channels_last:
        return result.view(x.shape[0], height, width, x.shape[1]).permute(0, 3, 1, 2)
    return result.view(x.shape[0], x.shape[1], height, width)


def specification(x, taps, up=1, down=1, **settings):
    return reference.upfirdn2d(x, taps, up=both(up), down=both(down), **settings)


def check(x, taps, kernel=None, grid_y=65535, **settings):
    y = run(x, taps, kernel, grid_y, **settings)
    exact = specification(x.double(), taps, **settings)
    assert_close_to_exact(y, specification(x, taps, **settings), exact)


def asymmetric(height: int, width: int) -> Tensor:
    return torch.randn(height, width, generator=torch.Generator().manual_seed(height + 9 * width))


@pytest.mark.parametrize("resampling", RESAMPLINGS)
@pytest.mark.parametrize("filter", FILTERS)
def test_every_filter_and_resampling(filter, resampling):
    taps = FILTERS[filter]
    check(images(2, 2, 5, 7), taps, gain=1.3, **options(resampling, taps))


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("up", "down"), FACTORS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [4, 8])
def test_tiles(thread_order, dtype, up, down, channels_last, size):
    x = images(1, 17, 11, 13, dtype=dtype, channels_last=channels_last)
    taps = asymmetric(size, size - 1)
    settings = {"up": up, "down": down, "padding": (5, 2, 3, 6), "gain": 0.7}
    assert chosen(x, taps, **settings) == TILED
    check(x, taps, **settings)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("up", "down"), FACTORS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_steps_of_tall_tiles(thread_order, dtype, up, down, channels_last):
    """The lines that a step leaves for the next; 16 channels are read in packs, 17 are not."""
    settings = {"up": up, "down": down, "padding": (3, 4, 4, 3), "gain": 0.7}
    for channels in (16, 17) if channels_last else (1,):
        x = images(1, channels, 75 // up, 5, dtype=dtype, channels_last=channels_last)
        check(x, asymmetric(8, 8), TILED, **settings)


@pytest.mark.parametrize(("up", "down"), FACTORS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_separable_filters(thread_order, dtype, up, down):
    x = images(1, 2, 19, 35, dtype=dtype)
    taps = setup_filter([float(k * k) + 1 for k in range(11)])
    settings = {"up": up, "down": down, "padding": (9, 4, 3, 10), "gain": 1.4}
    both_passes = dtype == torch.float64 and down == 4
    assert chosen(x, taps, **settings) == (TWO_PASSES if both_passes else SEPARABLE)
    check(x, taps, **settings)
    check(x, taps, kernel=TWO_PASSES, **settings)


@pytest.mark.parametrize("length", [8, 12, 16, 20, 24])
def test_lengths_of_separable_filters(length):
    taps = asymmetric(1, length)[0]
    for up, down in FACTORS:
        check(images(1, 1, 9, 31), taps, up=up, down=down, padding=(length,) * 4)


@pytest.mark.parametrize("flip_filter", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("taps", [(5, 3), (11, 13), (9,), (24,)], ids=str)
def test_asymmetric_filters_flipped_and_not(taps, channels_last, flip_filter):
    x = images(2, 16, 6, 9, channels_last=channels_last)
    filter = torch.randn(taps, generator=torch.Generator().manual_seed(3))
    check(x, filter, up=2, padding=(23, 8, 24, 9), flip_filter=flip_filter)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("pad", range(-4, 5))
@pytest.mark.parametrize("up", [2, 4])
def test_every_phase_of_padding(up, pad, channels_last):
    x = images(1, 16, 6, 5, channels_last=channels_last)
    padding = (pad, 7 - pad, 3 - pad, 4 + pad)
    assert chosen(x, asymmetric(6, 5), up=up, padding=padding) == TILED
    check(x, asymmetric(6, 5), up=up, padding=padding)


@pytest.mark.parametrize("width", [31, 32, 33, 63, 64, 65, 66])
@pytest.mark.parametrize("dtype", DTYPES)
def test_widths_around_a_tile(dtype, width):
    for up, down in FACTORS:
        x = images(1, 1, 3, width // up, dtype=dtype)
        check(x, asymmetric(4, 4), up=up, down=down, padding=(2, 1, 2, 1))


@pytest.mark.parametrize("kernel", [GENERAL, None])
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_pixel(thread_order, dtype, kernel):
    x = images(1, 1, 1, 1, dtype=dtype)
    for up, down in FACTORS:
        check(x, asymmetric(4, 4), kernel, up=up, down=down, padding=(3, 3, 3, 3))


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (2, 0, 8, 8)])
def test_empty_images_launch_nothing(shape):
    for taps in (asymmetric(4, 4), asymmetric(16, 3), asymmetric(1, 12)[0]):
        assert run(images(*shape), taps, padding=(12, 12, 12, 12)).numel() == 0


@pytest.mark.parametrize("taps", [asymmetric(4, 4), asymmetric(9, 2), asymmetric(1, 8)[0]])
def test_strided_input(taps):
    whole = images(3, 5, 19, 40)
    for x in (whole[::2, 1::2, 2:, ::3], whole.transpose(2, 3), whole[:1].expand(4, -1, -1, -1)):
        check(x, taps, up=2, padding=(6, 5, 7, 4))


@pytest.mark.parametrize("channels_last", [False, True])
def test_planes_beyond_the_grid_are_looped_over(thread_order, channels_last):
    x = images(7, 18, 3, 3, channels_last=channels_last)
    check(x, asymmetric(4, 4), grid_y=3, padding=(2, 1, 2, 1))
    if not channels_last:
        check(x[:, :2], asymmetric(1, 12)[0], grid_y=3, padding=(6, 5, 6, 5))


@pytest.mark.parametrize("kernel", [GENERAL, TILED])
@pytest.mark.parametrize(("up", "down"), FACTORS)
def test_infinity_reaches_only_its_neighbours(up, down, kernel):
    x = images(1, 1, 9, 9)
    x[0, 0, 4, 5] = torch.inf
    settings = {"up": up, "down": down, "padding": (3, 2, 3, 2)}
    y = run(x, asymmetric(3, 3), kernel, **settings)
    finite = specification(torch.where(x.isinf(), 1.0, 0.0), torch.ones(3, 3), **settings) == 0
    assert torch.equal(y.isfinite(), finite)


@pytest.mark.parametrize(("up", "down"), FACTORS)
def test_gradient_is_the_same_op(up, down):
    taps, padding = asymmetric(4, 4), (2, 1, 3, 0)
    x = images(1, 2, 12, 8).requires_grad_()
    y = specification(x, taps, up=up, down=down, padding=padding)
    grad_y = images(*y.shape)
    (grad_x,) = torch.autograd.grad(y, x, grad_y)
    cut = (
        4 - padding[0] - 1,
        8 * up - y.shape[3] * down + padding[0] - up + 1,
        4 - padding[2] - 1,
        12 * up - y.shape[2] * down + padding[2] - up + 1,
    )
    ours = run(grad_y, taps, up=down, down=up, padding=cut, flip_filter=True)
    torch.testing.assert_close(ours, grad_x)


def test_which_kernel_serves_a_call():
    square, long = asymmetric(4, 4), asymmetric(1, 12)[0]
    assert chosen(images(1, 3, 8, 8), square, up=3, padding=(9, 9, 9, 9)) == GENERAL
    assert chosen(images(1, 3, 8, 8), square, up=(2, 1)) == GENERAL
    assert chosen(images(1, 3, 8, 8), square, up=2, down=2) == GENERAL
    assert chosen(images(1, 3, 8, 8), asymmetric(4, 9), padding=(9, 9, 9, 9)) == GENERAL
    assert chosen(images(1, 3, 8, 8, channels_last=True), square) == GENERAL
    assert chosen(images(1, 16, 8, 8, channels_last=True), square) == TILED
    assert chosen(images(1, 16, 8, 8, channels_last=True), long, up=2) == TWO_PASSES
    assert chosen(images(1, 16, 16, 16), long[:5]) == TWO_PASSES
    assert chosen(images(1, 16, 16, 16), long) == SEPARABLE


def test_axes_that_are_too_long_are_refused():
    x, taps = images(1, 1, 4, 4), asymmetric(4, 4)
    y = torch.full((64,), 5.0)
    pointers = [ctypes.c_void_p(t.data_ptr()) for t in (x, taps, y, y)]
    call = call_of(x, taps, padding=(2**30, 3, 3, 3))
    assert function("upfirdn2d", x)(ctypes.byref(call), GENERAL, *pointers, 65535) == 0
    assert (y == 5).all()
