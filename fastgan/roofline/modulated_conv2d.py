"""Operations of modulated_conv2d with all that follows it, and traffic of its CUDA kernels.

Blocks share nearly all that they read: those of one tile of pixels share its inputs and the noise,
those of other tiles the weight. `loaded` is what blocks ask of the L2 cache; `once` is what the
cache asks of memory when it serves all but the first of them. The weight of a layer fits it, and
blocks that share inputs run next to each other, so that times are bound by `once`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fastgan.roofline import tiles
from fastgan.roofline.calls import Images, ModulatedConv2d
from fastgan.roofline.regions import Spans, rectangles, runs, spans
from fastgan.roofline.traffic import Stream, whole

WIDE = 4  # bytes of scales, noise and bias
FIR_TAPS = 4


@dataclass(frozen=True)
class Work:
    """Floating-point operations: those of the convolution, which tensor cores may do, and the
    rest."""

    products: int
    rest: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.products + self.rest


def weight_bytes(call: ModulatedConv2d) -> int:
    """Bytes of the weight, in the dtype of the images."""
    return call.out_channels * call.x.channels * call.size**2 * call.x.item


def noise_plane(call: ModulatedConv2d) -> Images:
    """The noise as images."""
    return replace(call.y, channels=1, dtype="fp32", channels_last=False)


def work(call: ModulatedConv2d) -> Work:
    """What the result needs: the taps at every input pixel, upsampled or not; the style, the
    filter along both axes, and the steps that follow."""
    x, y = call.x, call.y
    products = 2 * call.size**2 * call.out_channels * x.numel
    return Work(products, around(call) + (4 * FIR_TAPS * y.numel if call.up == 2 else 0))


def around(call: ModulatedConv2d) -> int:
    """Style; demodulation, noise, slope (2) and gain of a layer; bias and clamp (2)."""
    each = 5 * call.is_layer + 3 * (not call.backward)
    return call.x.numel + each * call.y.numel


def compulsory(call: ModulatedConv2d) -> int:
    """Input, output, weight and vectors once, and the noise of each sample."""
    vectors = sum(stream.loaded for stream in vectors_of(call))
    noise = noise_plane(call).nbytes if call.is_layer else 0
    return call.x.nbytes + call.y.nbytes + weight_bytes(call) + noise + vectors


def vectors_of(call: ModulatedConv2d) -> list[Stream]:
    """Scales, bias and taps, which stay in the L2 cache."""
    batch = call.x.batch
    sizes = {"in_scale": batch * call.x.channels}
    if call.is_layer:
        sizes["out_scale"] = batch * call.out_channels
    if not call.backward:
        sizes["bias"] = call.out_channels
    if call.up == 2:
        sizes["filter"] = FIR_TAPS
    return [Stream(name, loaded=whole(size * WIDE)) for name, size in sizes.items()]


def packing(call: ModulatedConv2d) -> list[Stream]:
    """The copy of the weight that both backends make, with the input channels last."""
    size = 0 if call.size == 1 else whole(weight_bytes(call))
    return [Stream("packed weight", loaded=size, stored=size)]


def few_channels(call: ModulatedConv2d) -> bool:
    """Whether the kernels that keep all channels of the result in registers serve the call."""
    return call.size == 1 and call.up == 1 and call.out_channels <= tiles.RGB_CHANNELS


def cuda(call: ModulatedConv2d) -> list[Stream]:
    """Streams of csrc/cuda/modulated_conv2d_kernel.cuh, in any dtype."""
    if few_channels(call):
        return _few(call)
    x, y, tile = call.x, call.y, tiles.conv_tile(call.size, call.up, call.x.item)
    groups = -(-call.out_channels // tile.channels)  # blocks that share a tile of pixels
    lead = call.size // 2
    rows, cols = (
        _patches(outputs, step, patch, call.up, lead, size)
        for outputs, step, patch, size in (
            (y.height, tile.height, tile.lines, x.height),
            (y.width, tile.width, tile.columns, x.width),
        )
    )
    outputs = (spans(y.height, tile.height), spans(y.width, tile.width))
    weight = whole(weight_bytes(call))
    read = groups * rectangles(x, rows, cols, x.channels)
    streams = [
        Stream("x", loaded=read, once=(whole(x.nbytes), 0)),
        Stream("weight", loaded=_pixel_tiles(call, tile) * weight, once=(weight, 0)),
        Stream("y", stored=rectangles(y, *outputs, tile.channels), once=(0, whole(y.nbytes))),
        *vectors_of(call),
    ]
    if call.is_layer:
        plane = noise_plane(call)
        loaded = groups * rectangles(plane, *outputs, 1)
        streams.append(Stream("noise", loaded=loaded, once=(whole(plane.nbytes), 0)))
    return streams


def _pixel_tiles(call: ModulatedConv2d, tile: tiles.ConvTile) -> int:
    y = call.y
    return y.batch * -(-y.height // tile.height) * -(-y.width // tile.width)


def _patches(outputs: int, step: int, patch: int, up: int, lead: int, size: int) -> Spans:
    """Inputs along an axis that tiles load. With up 2 the first result meets cells from
    (first - 1) // 2 on, and a cell the pixel before it."""
    first = spans(outputs, step)[0]
    first = first - lead if up == 1 else (first - 1) // 2 - 1
    return np.clip(first, 0, size), np.clip(first + patch, 0, size)


def _few(call: ModulatedConv2d) -> list[Stream]:
    x, y, count = call.x, call.y, _few_pixels(call.x)
    blocks, weight = x.batch * -(-x.height * x.width // count), whole(weight_bytes(call))
    return [
        Stream("x", loaded=runs(x, count), once=(whole(x.nbytes), 0)),
        Stream("weight", loaded=blocks * weight, once=(weight, 0)),
        Stream("y", stored=runs(y, count), once=(0, whole(y.nbytes))),
        *vectors_of(call),
    ]


def _few_pixels(x: Images) -> int:
    """Pixels of a block."""
    if x.channels_last:
        return tiles.RGB_THREADS // tiles.RGB_LANES * tiles.RGB_ROUNDS
    return tiles.RGB_THREADS * tiles.PACK_BYTES // x.item


def cuda_work(call: ModulatedConv2d) -> Work:
    """What the CUDA kernels compute, with what is beyond the edges of tiles and, with up 2, with
    what neighbouring tiles need for the filter as well."""
    x = call.x
    if few_channels(call):
        count = _few_pixels(x)
        pixels = x.batch * -(-x.height * x.width // count) * count
        return Work(2 * tiles.RGB_CHANNELS * x.channels * pixels, around(call))
    tile = tiles.conv_tile(call.size, call.up, x.item)
    blocks = _pixel_tiles(call, tile) * -(-call.out_channels // tile.channels)
    depth = -(-x.channels // tile.step) * tile.step
    places = tile.cells or tile.height * tile.width
    products = 2 * call.size**2 * places * tile.channels * depth * blocks
    rest = around(call)
    if call.up == 2:  # both axes of every row of a tile, and of the three before the first
        rows = tile.height + FIR_TAPS - 1
        rest += 4 * FIR_TAPS * rows * tile.width * tile.channels * blocks
    return Work(products, rest)
