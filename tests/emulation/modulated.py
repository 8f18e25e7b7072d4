"""The CUDA kernels of the modulated convolution on CPU tensors, by way of the emulator, and what
they compute as a composition of the specification. Every tensor lies between guards."""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from fastgan import reference
from fastgan.reference.bias_act import ACTIVATIONS
from tests.emulation import build
from tests.emulation.emulated import Guarded


class Call(ctypes.Structure):
    """csrc/cuda/modulated_conv2d_params.h"""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("batch", "in_channels", "out_channels")),
        *((name, ctypes.c_int64) for name in ("height", "width")),
        *((name, ctypes.c_int64) for name in ("kernel_height", "kernel_width", "up")),
        ("padding", ctypes.c_int64 * 4),
        ("act", ctypes.c_int),
        *((name, ctypes.c_double) for name in ("alpha", "gain", "clamp")),
        *((name, ctypes.c_bool) for name in ("x_channels_last", "y_channels_last")),
        *((name, ctypes.c_bool) for name in ("noise_per_sample", "allow_tf32")),
    )


POINTERS = ("x", "weight", "in_scale", "out_scale", "noise", "bias", "filter", "y")


class Pointers(ctypes.Structure):
    """Pointers of capi_modulated_conv2d.cpp."""

    _fields_ = tuple((name, ctypes.c_void_p) for name in POINTERS)


@dataclass(frozen=True)
class Options:
    """What a call has besides tensors. shift: elements from an aligned address to the first."""

    padding: tuple[int, int, int, int] = (1, 1, 1, 1)
    up: int = 1
    act: str = "lrelu"
    gain: float | None = None
    clamp: float | None = None
    x_last: bool = False
    y_last: bool = False
    tf32: bool = False
    shift: int = 0


Tensors = dict[str, Tensor]


@functools.cache
def library() -> ctypes.CDLL:
    """The kernels, compiled when they changed."""
    return ctypes.CDLL(str(build.library("capi_modulated_conv2d.cpp")))


def wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def tensors(x_shape, weight_shape, dtype=torch.float32, out=(), without=(), noises=None) -> Tensors:
    """Random tensors of a call; out: height and width of the result, `without`: null ones."""
    generator = torch.Generator().manual_seed(sum(x_shape) + 7 * sum(weight_shape))

    def normal(*shape):
        return torch.randn(shape, generator=generator)

    n, c = x_shape[:2]
    fan_in = weight_shape[1] * weight_shape[2] * weight_shape[3]
    made = {"x": normal(*x_shape).to(dtype), "weight": (normal(*weight_shape) / fan_in**0.5)}
    made["weight"] = made["weight"].to(dtype)
    made |= {"in_scale": 1 + 0.3 * normal(n, c), "out_scale": 1 + 0.3 * normal(n, weight_shape[0])}
    made |= {
        "noise": normal(n if noises is None else noises, *out),
        "bias": normal(weight_shape[0]),
    }
    for name in ("in_scale", "out_scale", "noise", "bias"):
        made[name] = made[name].to(wide(dtype))
    made["filter"] = torch.tensor([0.1, 0.35, 0.4, 0.15])  # not symmetric, to see its direction
    return {name: value for name, value in made.items() if name not in without}


def laid_out(images: Tensor, channels_last: bool) -> Tensor:
    return images.permute(0, 2, 3, 1).contiguous() if channels_last else images.contiguous()


def run(t: Tensors, o: Options) -> Tensor:
    """What the kernel writes, [N, C_out, out_h, out_w]."""
    x, weight = t["x"], t["weight"]
    row = ACTIVATIONS[o.act]
    (n, c, height, width), (m, _, kh, kw) = x.shape, weight.shape
    out_h = o.up * height + o.padding[2] + o.padding[3] - kh + 1
    out_w = o.up * width + o.padding[0] + o.padding[1] - kw + 1
    guarded = Guarded(o.shift)
    memory = t | {"x": laid_out(x, o.x_last), "weight": laid_out(weight, True)}
    memory["y"] = laid_out(x.new_empty(n, m, max(out_h, 0), max(out_w, 0)), o.y_last)
    memory = {name: guarded.like(value, name != "y") for name, value in memory.items()}
    call = Call(
        n, c, m, height, width, kh, kw, o.up, (ctypes.c_int64 * 4)(*o.padding),
        list(ACTIVATIONS).index(o.act), row.default_alpha,
        row.default_gain if o.gain is None else o.gain, -1.0 if o.clamp is None else o.clamp,
        o.x_last, o.y_last, "noise" in t and t["noise"].shape[0] == n, o.tf32,
    )  # fmt: skip
    pointers = Pointers(**{name: value.data_ptr() for name, value in memory.items()})
    launch = getattr(library(), f"modulated_conv2d_{str(x.dtype)[6:]}")
    assert launch(ctypes.byref(call), ctypes.byref(pointers)) == 1
    guarded.check()
    y = memory["y"].permute(0, 3, 1, 2) if o.y_last else memory["y"]
    return y


def specification(t: Tensors, o: Options, rounding=lambda operand: operand) -> Tensor:
    """The call of `run` as the reference has it; `rounding` is of the convolution's operands."""
    x, weight, dtype = t["x"], t["weight"], wide(t["x"].dtype)
    scaled = x.to(dtype)
    if "in_scale" in t:
        scaled = scaled * t["in_scale"].to(dtype)[:, :, None, None]
    y = reference.conv2d_resample(
        rounding(scaled.to(x.dtype)), rounding(weight), t["filter"] if o.up > 1 else None, up=o.up,
        padding=o.padding, flip_filter=False,
    ).to(dtype)  # fmt: skip
    if "out_scale" in t:
        y = y * t["out_scale"].to(dtype)[:, :, None, None]
    if "noise" in t:
        y = y + t["noise"].to(dtype)[:, None]
    bias = t["bias"].to(dtype) if "bias" in t else None
    y = reference.bias_act(y, bias, act=o.act, gain=o.gain, clamp=o.clamp)
    return y.to(x.dtype)


def doubled(t: Tensors) -> Tensors:
    return {name: v if name == "filter" else v.double() for name, v in t.items()}


def to_tf32(operand: Tensor) -> Tensor:
    """Rounded to 10 bits after the point, ties away from zero, as cvt.rna.tf32 does."""
    bits = operand.float().contiguous().view(torch.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(torch.float32).to(operand.dtype)
