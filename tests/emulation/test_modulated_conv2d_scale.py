"""The CUDA kernels around modulated_conv2d's convolution, run on the CPU, against the equations."""

import ctypes
import functools

import pytest
import torch
from torch import Tensor

from tests import cases
from tests.emulation import build
from tests.emulation.emulated import Guarded
from tests.tolerances import DTYPES, assert_close_to_exact

MANY_BLOCKS = 1 << 20
SHAPES = [name for name in cases.IMAGE_SHAPES if "empty" not in name]
LAYOUTS = ["contiguous", "channels_last"]


class Shape(ctypes.Structure):
    """ScaleShape of csrc/cuda/modulated_conv2d_scale.cuh."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("samples", "channels", "pixels")),
        ("channels_last", ctypes.c_bool),
    )


class Pointers(ctypes.Structure):
    """GradPointers of capi_modulated_conv2d_scale.cpp."""

    _fields_ = tuple(
        (name, ctypes.c_void_p)
        for name in ("g", "x", "factors", "grad_x", "grad_scale", "grad_noise", "workspace")
    )


@functools.cache
def library() -> ctypes.CDLL:
    return ctypes.CDLL(str(build.library("capi_modulated_conv2d_scale.cpp")))


def function(name: str, x: Tensor):
    found = getattr(library(), f"{name}_{str(x.dtype)[6:]}")
    found.restype = ctypes.c_longlong
    return found


def wide(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def shape_of(x: Tensor) -> Shape:
    channels_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return Shape(x.shape[0], x.shape[1], x.shape[2] * x.shape[3], channels_last)


def scaled(x: Tensor, scale: Tensor, noise: Tensor | None, shift=0, max_blocks=MANY_BLOCKS):
    """y, checked to be written and nothing beside it. shift: elements by which every tensor lies
    off an aligned address."""
    guarded = Guarded(shift)
    tensors = [None if t is None else guarded.like(t, True) for t in (x, scale, noise)]
    y = guarded.like(x, False)
    pointers = [ctypes.c_void_p(0 if t is None else t.data_ptr()) for t in (*tensors, y)]
    function("scale", x)(*pointers, ctypes.byref(shape_of(x)), ctypes.c_longlong(max_blocks))
    guarded.check()
    return y


def gradients(g: Tensor, x: Tensor, scale: Tensor, with_noise: bool, shift=0):
    """(grad_x, grad_scale, grad_noise or None), checked like the above."""
    guarded = Guarded(shift)
    tensors = {"g": g, "x": x, "factors": scale}
    tensors = {name: guarded.like(tensor, True) for name, tensor in tensors.items()}
    tensors["grad_x"] = guarded.like(x, False)
    tensors["grad_scale"] = guarded.like(scale, False)
    if with_noise:
        plane = scale.new_empty(x.shape[0], 1, *x.shape[2:])
        tensors["grad_noise"] = guarded.like(plane, False)
    pointers = Pointers(**{name: tensor.data_ptr() for name, tensor in tensors.items()})
    arguments = ctypes.byref(pointers), ctypes.byref(shape_of(x))
    workspace = guarded.like(scale.new_empty(function("grad_workspace", x)(*arguments)), False)
    pointers.workspace = workspace.data_ptr()
    function("scale_grad", x)(*arguments)
    guarded.check()
    assert not workspace.isnan().any(), "a part of the workspace is not used"
    return tensors["grad_x"], tensors["grad_scale"], tensors.get("grad_noise")


def inputs(shape: str | tuple[int, ...], layout: str, dtype: torch.dtype):
    """x, g, the scale and the noise."""
    if isinstance(shape, str):
        x = cases.images(shape, layout, dtype)
        g = cases.images(shape, layout, dtype, seed=1)
    else:
        x, g = (cases.LAYOUTS[layout](torch.randn(shape).to(dtype)) for _ in range(2))
    scale = torch.randn(x.shape[:2], dtype=wide(x))
    return x, g, scale, torch.randn((x.shape[0], 1, *x.shape[2:]), dtype=wide(x))


def specification(x: Tensor, g: Tensor, scale: Tensor, noise: Tensor | None, dtype: torch.dtype):
    """y and its gradients by autograd, computed in `dtype` and rounded to the kernels' results."""
    leaves = [t.to(dtype).requires_grad_() for t in (x, scale)]
    added = torch.zeros(x.shape[0], 1, *x.shape[2:]) if noise is None else noise
    leaves.append(added.to(dtype).requires_grad_())
    y = leaves[0] * leaves[1][:, :, None, None] + leaves[2]
    found = y, *torch.autograd.grad(y, leaves, g.to(dtype))
    if dtype == torch.float64:
        return found
    return [t.to(d) for t, d in zip(found, (x.dtype, x.dtype, dtype, dtype), strict=True)]


def assert_matches(shape, layout, dtype, with_noise=True, shift=0):
    x, g, scale, noise = inputs(shape, layout, dtype)
    added = noise if with_noise else None
    actual = scaled(x, scale, added, shift), *gradients(g, x, scale, with_noise, shift)
    exact = specification(x, g, scale, added, torch.float64)
    rounded = specification(x, g, scale, added, wide(x))
    for one, two, three in zip(actual, rounded, exact, strict=True):
        if one is not None:
            assert_close_to_exact(one, two, three)
    assert cases.same_layout(actual[0], x)
    assert cases.same_layout(actual[1], x)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_shape(shape, layout, dtype):
    assert_matches(shape, layout, dtype)


@pytest.mark.parametrize("with_noise", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(2, 24, 4, 6), (1, 72, 9, 16)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_every_order_of_threads(with_noise, layout, size, dtype, thread_order):
    assert_matches(size, layout, dtype, with_noise)


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_alignment(shift, layout, dtype):
    assert_matches("vector_width", layout, dtype, shift=shift)


# Several tiles below each other and side by side, the last ones cut: (channels, pixels) of either
# layout are rows and columns.
@pytest.mark.parametrize("with_noise", [True, False])
@pytest.mark.parametrize(
    ("size", "layout"),
    [
        ((2, 70, 15, 20), "contiguous"),
        ((1, 67, 13, 31), "contiguous"),
        ((2, 300, 7, 10), "channels_last"),
        ((1, 133, 9, 9), "channels_last"),
    ],
)
def test_sums_over_several_tiles(size, layout, with_noise, monkeypatch):
    assert_matches(size, layout, torch.float32, with_noise)
    x, g, scale, _ = inputs(size, layout, torch.float32)
    bits = set()
    for order in ("fwd", "rev", "1"):
        monkeypatch.setenv("CUDA_SHIM_ORDER", order)
        sums = [t for t in gradients(g, x, scale, with_noise)[1:] if t is not None]
        bits.add(b"".join(t.numpy().tobytes() for t in sums))
    assert len(bits) == 1, "a sum depends on the order of threads"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_few_blocks_serve_a_large_tensor(layout):
    x, _, scale, noise = inputs((2, 12, 16, 20), layout, torch.float32)
    y = scaled(x, scale, noise)
    for shift in (0, 1):
        assert torch.equal(y, scaled(x, scale, noise, shift, max_blocks=2))


@pytest.mark.parametrize("size", [(0, 3, 4, 4), (2, 3, 0, 4), (2, 0, 4, 4)])
def test_empty_tensors_launch_nothing(size):
    x = torch.empty(size)
    scale, noise = torch.randn(size[:2]), torch.randn(size[0], 1, *size[2:])
    assert scaled(x, scale, noise).shape == x.shape
    _, grad_scale, grad_noise = gradients(x, x, scale, True)
    assert grad_scale.isnan().all(), "written by a launch"
    assert grad_noise.isnan().all(), "written by a launch"


def test_infinity_and_nan_pass():
    x = torch.tensor([float("inf"), -float("inf"), float("nan"), 1.0]).reshape(1, 1, 2, 2)
    y = scaled(x, torch.tensor([[2.0]]), None)
    torch.testing.assert_close(y, 2 * x, equal_nan=True)
    _, grad_scale, _ = gradients(torch.ones_like(x), x, torch.tensor([[2.0]]), False)
    assert grad_scale.isnan().all()
