"""bias_act's CUDA kernels on CPU tensors, by way of the emulator.

Every tensor is copied between guards, so that a kernel that writes or reads beside it shows.
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from fastgan.reference.bias_act import ACTIVATIONS
from tests.emulation import build

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
FORWARD, GRAD, GRAD2 = range(3)
GUARD = 16  # elements; a multiple of 16 bytes in every dtype
MARK = -123.0  # exact in every dtype


class Shape(ctypes.Structure):
    """BiasActShape of csrc/cuda/bias_act_kernel.cuh."""

    _fields_ = [(name, ctypes.c_int64) for name in ("outer", "channels", "inner")]


class Call(ctypes.Structure):
    """Call of capi_bias_act.cpp."""

    _fields_ = [
        ("order", ctypes.c_int),
        *((name, ctypes.c_void_p) for name in ("source", "g", "h", "bias")),
        *((name, ctypes.c_void_p) for name in ("out", "grad_bias", "workspace")),
        ("shape", Shape),
        ("act", ctypes.c_int),
        *((name, ctypes.c_double) for name in ("alpha", "gain", "clamp")),
        ("from_output", ctypes.c_bool),
        ("max_blocks", ctypes.c_int64),
    ]


@dataclass(frozen=True)
class Options:
    """What a call has besides tensors. shift: elements from an aligned address to the first."""

    act: str = "lrelu"
    gain: float | None = None
    clamp: float | None = None
    dim: int = 1
    from_output: bool = False
    max_blocks: int = 1 << 20
    shift: int = 0


@functools.cache
def library() -> ctypes.CDLL:
    """The kernels, compiled when they changed."""
    loaded = ctypes.CDLL(str(build.library("capi_bias_act.cpp")))
    loaded.emulated_bias_act_workspace.restype = ctypes.c_int64
    loaded.emulated_divide.restype = ctypes.c_int64
    loaded.emulated_divide.argtypes = [ctypes.c_int64, ctypes.c_int64]
    return loaded


class Guarded:
    """Tensors of one call, each in the middle of a marked block of memory."""

    def __init__(self, shift: int) -> None:
        self._shift = shift
        self._blocks: list[tuple[Tensor, int, int]] = []

    def like(self, tensor: Tensor, values: bool) -> Tensor:
        """A tensor in the layout of `tensor` with its values, or with NaN."""
        first, size = GUARD + self._shift, tensor.numel()
        block = torch.full((first + size + GUARD,), MARK, dtype=tensor.dtype)
        assert block.data_ptr() % 16 == 0
        block[first : first + size] = float("nan")
        copy = block.as_strided(tensor.shape, tensor.stride(), first)
        if values:
            copy.copy_(tensor)
        self._blocks.append((block, first, first + size))
        return copy

    def check(self) -> None:
        """No mark was overwritten."""
        for block, begin, end in self._blocks:
            outside = torch.cat([block[:begin], block[end:]])
            assert bool((outside == MARK).all()), "a kernel wrote outside of its tensors"


def shape_of(x: Tensor, dim: int) -> Shape:
    """[outer, channels, inner] in the order in which a dense x lies in memory."""
    channels = x.shape[dim]
    if channels == 1 or x.numel() == 0:
        return Shape(1, channels, x.numel() // max(channels, 1))
    inner = x.stride(dim)
    return Shape(x.numel() // (channels * inner), channels, inner)


def workspace_size(shape: Shape) -> int:
    """Elements of the workspace: chunks times channels."""
    size: int = library().emulated_bias_act_workspace(ctypes.byref(shape))
    return size


def run(
    order: int,
    source: Tensor,
    g: Tensor | None = None,
    h: Tensor | None = None,
    bias: Tensor | None = None,
    with_sum: bool = False,
    options: Options | None = None,
) -> tuple[Tensor, Tensor | None]:
    """One launch: the result, and the sum over channels where it is asked for."""
    o = options or Options()
    guarded = Guarded(o.shift)
    row = ACTIVATIONS[o.act]
    shape = shape_of(source, o.dim)
    inputs = {"source": source, "g": g, "h": h, "bias": bias}
    tensors = {
        name: guarded.like(value, True) for name, value in inputs.items() if value is not None
    }
    tensors["out"] = guarded.like(source, False)
    if with_sum:
        wide = torch.float64 if source.dtype == torch.float64 else torch.float32
        tensors["grad_bias"] = guarded.like(source.new_empty(shape.channels), False)
        tensors["workspace"] = guarded.like(torch.empty(workspace_size(shape), dtype=wide), False)
    call = Call(
        order=order,
        shape=shape,
        act=list(ACTIVATIONS).index(o.act),
        alpha=row.default_alpha,
        gain=row.default_gain if o.gain is None else o.gain,
        clamp=-1.0 if o.clamp is None else o.clamp,
        from_output=o.from_output,
        max_blocks=o.max_blocks,
        **{name: tensor.data_ptr() for name, tensor in tensors.items()},
    )
    library().emulated_bias_act(DTYPES.index(source.dtype), ctypes.byref(call))
    guarded.check()
    return tensors["out"], tensors.get("grad_bias")
