"""The roofline's traffic of the CUDA kernels against their accesses, counted as they run."""

import ctypes
import functools
import math

import pytest
import torch
from torch import Tensor

from fastgan.reference.bias_act import ACTIVATIONS
from fastgan.roofline import bias_act, modulated_conv2d, noise_bias_act, spectral_norm, upfirdn2d
from fastgan.roofline.calls import (
    BiasAct,
    Images,
    ModulatedConv2d,
    NoiseBiasAct,
    SpectralNorm,
    Upfirdn2d,
)
from fastgan.roofline.measured import DTYPES
from fastgan.roofline.traffic import Stream
from tests.emulation import build
from tests.emulation.emulated import Shape
from tests.emulation.modulated import Call, Pointers, laid_out
from tests.emulation.test_noise_bias_act import Images as NoisyImages
from tests.emulation.test_spectral_norm import Layer
from tests.emulation.test_upfirdn2d import Call as UpfirdnCall
from tests.emulation.test_upfirdn2d import call_of

LOADED, STORED = False, True


class Tensors(ctypes.Structure):
    """Tensors of traffic.cpp."""

    _fields_ = [
        (name, ctypes.c_void_p)
        for name in ("source", "g", "bias", "out", "grad_bias", "workspace")
    ]  # fmt: skip


@functools.cache
def library(source: str = "traffic.cpp") -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(build.counted_library(source)))
    loaded.traffic_bytes.restype = ctypes.c_int64
    return loaded


class Counter:
    """Watches the tensors of one call, by name."""

    def __init__(self, tensors: dict[str, Tensor], source: str = "traffic.cpp") -> None:
        self.names, self.library = list(tensors), library(source)
        self.library.traffic_reset()
        for tensor in tensors.values():
            assert tensor.data_ptr() % 32 == 0
            self.library.traffic_watch(
                ctypes.c_void_p(tensor.data_ptr()), ctypes.c_int64(tensor.nbytes)
            )

    def bytes(self, name: str, stored: bool, once_a_launch: bool) -> int:
        return self.library.traffic_bytes(self.names.index(name), stored, once_a_launch)

    def check(self, streams: list[Stream], shared: set[str]) -> None:
        """Every tensor moved what its stream says: by block, or where all blocks read the same,
        by launch."""
        assert {stream.name for stream in streams} == set(self.names)
        for stream in streams:
            by_launch = stream.name in shared
            found = [self.bytes(stream.name, kind, by_launch) for kind in (LOADED, STORED)]
            assert found == [stream.loaded, stream.stored], stream
            if stream.once is not None:
                once = [self.bytes(stream.name, kind, True) for kind in (LOADED, STORED)]
                assert once == [*stream.once], stream


def images(like: Images) -> Tensor:
    x = torch.randn(like.batch, like.channels, like.height, like.width).to(DTYPES[like.dtype])
    return x.contiguous(memory_format=torch.channels_last) if like.channels_last else x


def pointers(tensors: dict[str, Tensor]) -> dict[str, int]:
    return {name: tensor.data_ptr() for name, tensor in tensors.items()}


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize(
    "x",
    [
        Images(2, 6, 40, 48, "fp32", False),
        Images(3, 2, 100, 100, "fp16", False),  # samples that end inside of a chunk
        Images(2, 64, 24, 24, "fp16", True),
        Images(2, 512, 8, 8, "fp32", True),  # blocks side by side
        Images(2, 24, 33, 20, "fp32", True),
    ],
    ids=str,
)
def test_bias_act(x, backward):
    source, bias = images(x), torch.randn(x.channels).to(DTYPES[x.dtype])
    shape = Shape(x.batch, x.channels, x.height * x.width)
    if x.channels_last:
        shape = Shape(x.batch * x.height * x.width, x.channels, 1)
    tensors = {"source": source, "out": torch.empty_like(source)}
    if backward:  # from the output, as leaky ReLU's is: without the bias
        library().traffic_bias_act_workspace.restype = ctypes.c_int64
        size = library().traffic_bias_act_workspace(ctypes.byref(shape))
        tensors |= {"g": torch.randn_like(source), "grad_bias": torch.empty_like(bias)}
        tensors["workspace"] = torch.empty(size)
    else:
        tensors["bias"] = bias
    counter = Counter(tensors)
    call = Tensors(**pointers(tensors))
    act = list(ACTIVATIONS).index("lrelu")
    library().traffic_bias_act(x.dtype == "fp16", ctypes.byref(call), ctypes.byref(shape), act)
    counter.check(bias_act.cuda(BiasAct(x, backward)), {"bias", "workspace", "grad_bias"})


def run_upfirdn2d(arguments: UpfirdnCall, x: Tensor, taps: Tensor, y: Tensor) -> bool:
    """Whether the tiled kernel serves the call; then it has run."""
    addresses = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (x, taps, y)]
    half = x.dtype == torch.float16
    return library().traffic_upfirdn2d(half, ctypes.byref(arguments), *addresses) == 1


@pytest.mark.parametrize(
    "x",
    [
        Images(2, 37, 32, 64, "fp32", False),  # three groups of planes
        Images(1, 16, 64, 64, "fp16", False),
        Images(2, 24, 16, 20, "fp32", True),
        Images(2, 512, 8, 8, "fp16", True),
    ],
    ids=str,
)
def test_noise_bias_act(x):
    source, bias = images(x), torch.randn(x.channels).to(DTYPES[x.dtype])
    noise = torch.randn(x.batch, 1, x.height, x.width)
    tensors = {"x": source, "noise": noise, "bias": bias, "y": torch.empty_like(source)}
    counter = Counter(tensors)
    shape = NoisyImages(x.batch, x.channels, x.height * x.width, x.channels_last, False)
    addresses = [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors.values()]
    library().traffic_noise_bias_act(x.dtype == "fp16", ctypes.byref(shape), *addresses)
    counter.check(noise_bias_act.cuda(NoiseBiasAct(x)), {"bias"})


@pytest.mark.parametrize(
    ("up", "down", "padding", "size"),
    [
        (1, 1, (1, 1), 4),
        (1, 1, (2, 1), 4),
        (2, 1, (2, 1), 4),
        (1, 2, (1, 1), 4),
        (1, 1, (4, 3), 8),
        (1, 2, (3, 3), 8),
    ],
)
@pytest.mark.parametrize(
    "x",
    [
        Images(1, 32, 24, 24, "fp32", False),
        Images(1, 1, 90, 150, "fp32", False),  # several tiles, the last of few rows and columns
        Images(1, 1, 90, 150, "fp16", False),
        Images(1, 3, 40, 40, "fp32", True),  # for the general kernel
        Images(2, 24, 17, 17, "fp32", True),
        Images(1, 8, 70, 50, "fp32", True),
        Images(1, 32, 50, 70, "fp16", True),
    ],
    ids=str,
)
def test_upfirdn2d(up, down, padding, size, x):
    call = Upfirdn2d(x, up, down, padding, size)
    streams = upfirdn2d.cuda(call)
    source, taps = images(x), torch.randn(size, size)
    y = torch.empty(x.batch, x.channels, call.y.height, call.y.width, dtype=source.dtype)
    counter = Counter({"x": source, "filter": taps, "y": y})
    arguments = call_of(source, taps, up=up, down=down, padding=2 * padding)
    tiled = run_upfirdn2d(arguments, source, taps, y)
    assert tiled == (streams is not None), "the model chooses as the launcher does"
    if streams is not None:
        counter.check(streams, {"filter"})


@pytest.mark.parametrize("size", [(40, 288), (9, 520), (128, 64)])
def test_spectral_norm(size):
    rows, cols = size
    weight = torch.randn(size)
    sizes = {"u": rows, "u_new": rows, "v": cols, "sigma": 1, "right": cols, "left": rows}
    tensors = {"weight": weight, "normalized": torch.empty(size)}
    tensors |= {name: torch.randn(n) for name, n in sizes.items()}
    counter = Counter(tensors)
    layer = Layer(**pointers(tensors), outer=1, rows=rows, inner=cols)
    library().traffic_spectral_norm(ctypes.byref(layer))
    vectors = set(sizes)
    counter.check(spectral_norm.cuda(SpectralNorm(rows, cols, "fp32")), vectors)


def convolution_tensors(call):
    """Tensors of a call, in memory as the kernels want them."""
    x, y, weight = call.x, call.y, (call.out_channels, call.x.channels, call.size, call.size)
    tensors = {
        "x": laid_out(images(x), x.channels_last),
        "weight": laid_out(torch.randn(weight).to(DTYPES[x.dtype]), True),
        "y": laid_out(images(y), x.channels_last),
        "in_scale": torch.randn(x.batch, x.channels),
    }
    if not call.backward:
        tensors["bias"] = torch.randn(call.out_channels)
    if call.is_layer:
        tensors["out_scale"] = torch.randn(x.batch, call.out_channels)
        tensors["noise"] = torch.randn(x.batch, y.height, y.width)
    if call.up == 2:
        tensors["filter"] = torch.tensor([0.125, 0.375, 0.375, 0.125])
    return tensors


@pytest.mark.parametrize(
    ("dtype", "last"), [("fp32", False), ("fp32", True), ("tf32", False), ("fp16", True)]
)
@pytest.mark.parametrize(
    ("size", "out", "kernel", "up"),
    [
        ((1, 32, 12, 20), 80, 3, 1),  # blocks that end outside on all sides
        ((2, 16, 7, 24), 48, 3, 2),  # a second row of tiles with few rows, to see their place
        ((2, 16, 40, 48), 3, 1, 1),
        ((2, 3, 16, 20), 80, 1, 1),  # the gradient of such a layer
    ],
)
def test_modulated_conv2d(dtype, last, size, out, kernel, up):
    rgb, role = kernel == 1 and out == 3, "grad" if size[1] == 3 else "forward"
    layer = ModulatedConv2d(Images(*size, dtype, last), out, kernel, up, rgb, role)
    source, tensors = "traffic_modulated_conv2d.cpp", convolution_tensors(layer)
    counter = Counter(tensors, source)
    pad = (ctypes.c_int64 * 4)(*[kernel // 2] * 4)
    act = list(ACTIVATIONS).index("lrelu" if layer.is_layer else "linear")
    call = Call(
        size[0], size[1], out, *size[2:], kernel, kernel, up, pad, act, 0.2, 1.4, 256.0, last, last,
        layer.is_layer, dtype == "tf32",
    )  # fmt: skip
    addresses = Pointers(**pointers(tensors))
    launch = library(source).traffic_modulated_conv2d
    assert launch(dtype == "fp16", ctypes.byref(call), ctypes.byref(addresses)) == 1
    vectors = {stream.name for stream in modulated_conv2d.vectors_of(layer)}
    counter.check(modulated_conv2d.cuda(layer), vectors)


def test_counts_are_of_blocks_and_of_launches():
    """A sector counts once for each block: of one tile, a block reads its halo once; of two,
    each reads its own, and the launch reads the image once."""
    x = images(Images(1, 1, 64, 128, "fp32", False))
    taps, y = torch.randn(4, 4), torch.empty(1, 1, 64, 128)
    counter = Counter({"x": x, "filter": taps, "y": y})
    arguments = call_of(x, taps, padding=(1, 2, 1, 2))
    assert run_upfirdn2d(arguments, x, taps, y)
    by_block, by_launch = (counter.bytes("x", LOADED, once) for once in (False, True))
    assert by_launch == x.nbytes < by_block
    assert counter.bytes("filter", LOADED, False) == 2 * 64  # two tiles of 64 x 64
    assert math.isfinite(float(y.sum()))
