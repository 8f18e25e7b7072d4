"""The CUDA kernel of noise_bias_act, run on the CPU, against the specification."""

import ctypes
import functools

import pytest
import torch
from torch import Tensor

from fastgan import reference
from fastgan.reference.bias_act import ACTIVATIONS
from tests import cases
from tests.emulation import build
from tests.emulation.emulated import Guarded
from tests.tolerances import DTYPES, assert_close_to_exact


class Images(ctypes.Structure):
    """csrc/cuda/noise_bias_act_kernel.cuh"""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("samples", "channels", "pixels")),
        ("channels_last", ctypes.c_bool),
        ("same_noise", ctypes.c_bool),
    )


class Options(ctypes.Structure):
    """capi_noise_bias_act.cpp"""

    _fields_ = (
        ("act", ctypes.c_int),
        *((name, ctypes.c_double) for name in ("alpha", "gain", "clamp")),
        ("max_blocks", ctypes.c_int64),
    )


@functools.cache
def library() -> ctypes.CDLL:
    return ctypes.CDLL(str(build.library("capi_noise_bias_act.cpp")))


def run(
    x: Tensor,
    noise: Tensor | None,
    bias: Tensor | None,
    act: str = "lrelu",
    clamp: float | None = None,
    shift: int = 0,
    max_blocks: int = 1 << 20,
) -> tuple[Tensor, int]:
    """The result and the number of launches; tensors begin `shift` elements off alignment."""
    guarded = Guarded(shift)
    tensors = [None if t is None else guarded.like(t, True) for t in (x, noise, bias)]
    y = guarded.like(x, False)
    row = ACTIVATIONS[act]
    samples, channels, height, width = x.shape
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    images = Images(
        samples, channels, height * width, last, noise is not None and noise.shape[0] == 1
    )
    limit = -1.0 if clamp is None else clamp
    act_index = list(ACTIVATIONS).index(act)
    options = Options(act_index, row.default_alpha, row.default_gain, limit, max_blocks)
    launches = getattr(library(), f"noise_bias_act_{str(x.dtype)[6:]}")(
        ctypes.byref(images), ctypes.byref(options),
        *(ctypes.c_void_p(None if t is None else t.data_ptr()) for t in (*tensors, y)),
    )  # fmt: skip
    guarded.check()
    return y, launches


def compare(x: Tensor, noise_samples: int, with_bias: bool = True, **options) -> None:
    """The value against the specification; no noise for noise_samples 0."""
    wide = torch.promote_types(x.dtype, torch.float32)
    noise = torch.randn(noise_samples, 1, *x.shape[2:]).to(wide) if noise_samples else None
    bias = torch.randn(x.shape[1]).to(x.dtype) if with_bias else None
    y, launches = run(x, noise, bias, **options)
    assert launches == (1 if x.numel() else 0)
    settings = {"act": options.get("act", "lrelu"), "clamp": options.get("clamp")}
    double = [None if t is None else t.double() for t in (x, noise, bias)]
    rounded = reference.noise_bias_act(x, noise, bias, **settings)
    assert_close_to_exact(y, rounded, reference.noise_bias_act(*double, **settings))


@pytest.mark.parametrize("act", list(ACTIVATIONS))
def test_every_activation(act, thread_order):
    compare(cases.images("small", "contiguous", torch.float64) * 3, 1, act=act, clamp=2.0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("shape", ["small", "vector_width", "wide", "many_channels", "one_pixel"])
@pytest.mark.parametrize("shift", [0, 1])
def test_every_layout_and_alignment(dtype, layout, shape, shift):
    x = cases.images(shape, layout, dtype)
    compare(x, x.shape[0], shift=shift)


@pytest.mark.parametrize("noise_samples", [0, 1, 3])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_noise_and_bias_may_be_missing(noise_samples, with_bias, layout):
    x = cases.LAYOUTS[layout](torch.randn(3, 5, 3, 9))
    compare(x, noise_samples, with_bias, act="swish", clamp=1.0)


@pytest.mark.parametrize("size", [(0, 3, 4, 4), (2, 0, 4, 4), (2, 3, 0, 4)])
def test_empty_images_launch_nothing(size):
    compare(torch.empty(size), 1)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_few_blocks_serve_large_images(layout):
    x = cases.LAYOUTS[layout](torch.randn(3, 4, 23, 29))
    noise, bias = torch.randn(1, 1, 23, 29), torch.randn(4)
    y, _ = run(x, noise, bias)
    assert torch.equal(y, run(x, noise, bias, max_blocks=1)[0])
    assert torch.equal(y, run(x, noise, bias, max_blocks=2, shift=1)[0])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("noise_samples", [1, 2])
@pytest.mark.parametrize("channels", [16, 37])
def test_channels_that_share_noise(dtype, noise_samples, channels, thread_order):
    x = torch.randn(2, channels, 4, 12).to(dtype)
    compare(x, noise_samples, clamp=2.0)
    noise = torch.randn(1, 1, 4, 12).to(torch.promote_types(dtype, torch.float32))
    bias = torch.randn(channels).to(dtype)
    y, _ = run(x, noise, bias)
    assert torch.equal(y, run(x, noise, bias, max_blocks=1)[0])
