"""The CUDA kernels of minibatch_std, run on the CPU, against the specification."""

import ctypes
import functools

import pytest
import torch
from torch import Tensor

from fastgan import reference
from fastgan.reference.minibatch_std import group_of
from tests import cases
from tests.emulation import build
from tests.emulation.emulated import Guarded
from tests.tolerances import DTYPES, assert_close_to_exact

BLOCKS = 1 << 20


class Shape(ctypes.Structure):
    """csrc/cuda/minibatch_std_kernel.cuh"""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("groups", "members", "channels", "pixels", "slices")),
        ("channels_last", ctypes.c_bool),
    )


@functools.cache
def library() -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(build.library("capi_minibatch_std.cpp")))
    loaded.minibatch_std_workspace.restype = ctypes.c_longlong
    loaded.minibatch_std_grad_workspace.restype = ctypes.c_longlong
    return loaded


def shape_of(x: Tensor, group_size: int, slices: int) -> Shape:
    samples, channels, height, width = x.shape
    members = group_of(samples, group_size)
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return Shape(samples // members, members, channels, height * width, slices, last)


def run(
    x: Tensor, group_size: int, slices: int, grad_y: Tensor | None = None, shift: int = 0,
    max_blocks: int = BLOCKS,
) -> tuple[Tensor, int]:  # fmt: skip
    """The value, or with grad_y the gradient, and the number of launches."""
    guarded, shape = Guarded(shift), shape_of(x, group_size, slices)
    pass_name = "minibatch_std" if grad_y is None else "minibatch_std_grad"
    size = getattr(library(), f"{pass_name}_workspace")(ctypes.byref(shape)) if x.numel() else 0
    wide = torch.promote_types(x.dtype, torch.float32)
    workspace = guarded.like(torch.empty(size, dtype=wide), False)
    layout = torch.channels_last if shape.channels_last else torch.contiguous_format
    samples, channels, *image = x.shape
    out = torch.empty(samples, channels + slices, *image, dtype=x.dtype, memory_format=layout)
    out = guarded.like(out if grad_y is None else x, False)
    inputs = [x] if grad_y is None else [grad_y.contiguous(memory_format=layout), x]
    tensors = [*(guarded.like(t, True) for t in inputs), out, workspace]
    launches = getattr(library(), f"{pass_name}_{str(x.dtype)[6:]}")(
        ctypes.byref(shape),
        *(ctypes.c_void_p(t.data_ptr()) for t in tensors),
        ctypes.c_longlong(max_blocks),
    )
    guarded.check()
    return out, launches


def specified(x: Tensor, g: Tensor, group_size: int, slices: int) -> tuple[Tensor, Tensor]:
    leaf = x.detach().requires_grad_()
    y = reference.minibatch_std(leaf, group_size, slices)
    return y.detach(), torch.autograd.grad(y, leaf, g)[0]


def compare(x: Tensor, group_size: int = 4, slices: int = 1, shift: int = 0) -> None:
    samples, channels, height, width = x.shape
    g = torch.randn(samples, channels + slices, height, width).to(x.dtype)
    y, launches = run(x, group_size, slices, shift=shift)
    grad_x, grad_launches = run(x, group_size, slices, g, shift=shift)
    assert launches == grad_launches == (2 if x.numel() else 0)
    rounded = specified(x, g, group_size, slices)
    exact = specified(x.double(), g.double(), group_size, slices)
    for one, two, three in zip((y, grad_x), rounded, exact, strict=True):
        assert_close_to_exact(one, two, three)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("shift", [0, 1])
def test_every_dtype(dtype, layout, shift, thread_order):
    x = cases.LAYOUTS[layout](torch.randn(6, 4, 3, 5)).to(dtype)
    compare(x, 3, 2, shift)


@pytest.mark.parametrize("size", [(1, 1, 1, 1), (5, 3, 1, 4), (4, 6, 7, 1), (0, 3, 2, 2),
                                  (2, 3, 0, 2), (8, 40, 4, 4)])  # fmt: skip
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_odd_and_empty_batches(size, layout):
    compare(cases.LAYOUTS[layout](torch.randn(size)))


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_several_chunks_in_any_order_give_the_same_bits(layout, monkeypatch):
    x = cases.LAYOUTS[layout](torch.randn(2, 6, 37, 31))
    assert library().minibatch_std_workspace(ctypes.byref(shape_of(x, 2, 1))) > 1
    compare(x)
    y, _ = run(x, 2, 1)
    monkeypatch.setenv("CUDA_SHIM_ORDER", "1")
    assert torch.equal(y, run(x, 2, 1)[0])
    assert torch.equal(y, run(x, 2, 1, max_blocks=3)[0])


def test_few_blocks_serve_the_gradient():
    x, g = torch.randn(4, 3, 9, 11), torch.randn(4, 4, 9, 11)
    assert torch.equal(run(x, 4, 1, g)[0], run(x, 4, 1, g, max_blocks=1)[0])


def test_samples_far_from_zero_keep_their_digits():
    compare(torch.randn(4, 2, 4, 4) + 3000.0)
