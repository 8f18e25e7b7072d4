"""Traffic and operations of modulated_conv2d's Triton kernels. With up 2 there are two launches,
and the image between them is written and read."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import prod

import numpy as np

from fastgan.kernels import config
from fastgan.roofline.calls import Images, ModulatedConv2d
from fastgan.roofline.modulated_conv2d import (
    FIR_TAPS,
    Work,
    around,
    few_channels,
    noise_plane,
    vectors_of,
    weight_bytes,
)
from fastgan.roofline.regions import Spans, neighbourhoods, rectangles, runs, spans
from fastgan.roofline.traffic import SECTOR, Integers, Stream, phases, sectors, whole

KINDS = {"fp16": "half", "fp32": "float32", "tf32": "tf32"}  # in config.CONV_TILES
PARITIES = ((0, 0), (0, 1), (1, 0), (1, 1))  # of rows and columns of the image between


def streams(call: ModulatedConv2d) -> list[Stream]:
    """Streams of kernels/modulated_conv2d_{gemm,pointwise,up2}.py."""
    if few_channels(call):
        return _pointwise(call)
    return [*(_two(call) if call.up == 2 else _one(call)), *vectors_of(call)]


def work(call: ModulatedConv2d) -> Work:
    """What the kernels compute, padding of tiles included."""
    x, y = call.x, call.y
    if few_channels(call):
        pixels, channels = _pointwise_tile(call)
        padded = x.batch * -(-x.height * x.width // pixels) * pixels
        depth = -(-x.channels // channels) * channels
        return Work(2 * call.out_channels * depth * padded, around(call))
    outputs = y.height * y.width if call.up == 1 else (x.height + 1) * (x.width + 1)
    tile = zip(_sizes(call, outputs), _tile(call, outputs), strict=True)
    places = prod(-(-size // step) * step for size, step in tile)
    # With up 2, the four parities have 9 taps together, each on as many tiles.
    products = 2 * call.size**2 * x.batch * places
    rest = around(call)
    if call.up == 2:
        rows = _fir_tile(call)[0]
        rest += 2 * FIR_TAPS * y.numel + 2 * FIR_TAPS * y.numel * (rows + FIR_TAPS - 1) // rows
    return Work(products, rest)


def _sizes(call: ModulatedConv2d, outputs: int) -> tuple[int, int, int]:
    return outputs, call.out_channels, call.x.channels


def _tile(call: ModulatedConv2d, outputs: int) -> tuple[int, int, int]:
    """Pixels, output channels and input channels of a program: `blocks` of the launcher."""
    limits = config.CONV_TILES[KINDS[call.x.dtype]]
    a, b, c = (
        min(limit, max(config.power_of_two(size), 16))
        for limit, size in zip(limits, _sizes(call, outputs), strict=True)
    )
    return a, b, c


def _reach(before: int, taps: int, first: Integers, end: Integers, size: int) -> Spans:
    """Inputs along an axis that outputs first to end - 1 meet with neighbouring taps."""
    return np.clip(first - before, 0, size), np.clip(end - before + taps - 1, 0, size)


def _one(call: ModulatedConv2d) -> list[Stream]:
    x, y, weight = call.x, call.y, whole(weight_bytes(call))
    pixels, channels, _ = _tile(call, y.height * y.width)
    groups = -(-call.out_channels // channels)
    tiles = x.batch * -(-y.height * y.width // pixels)
    reach = partial(_reach, call.size // 2, call.size)
    rows, cols = partial(reach, size=x.height), partial(reach, size=x.width)
    read = groups * neighbourhoods(x, (y.height, y.width), pixels, rows, cols)
    found = [
        Stream("x", loaded=read, once=(whole(x.nbytes), 0)),
        Stream("weight", loaded=tiles * weight, once=(weight, 0)),
        Stream("y", stored=_stored(y, pixels), once=(0, whole(y.nbytes))),
    ]
    if call.is_layer:
        plane = noise_plane(call)
        loaded = groups * runs(plane, pixels)
        found.append(Stream("noise", loaded=loaded, once=(whole(plane.nbytes), 0)))
    return found


def _stored(y: Images, pixels: int) -> int:
    """Bytes of runs of pixels: with channels_last groups of channels begin on sectors."""
    if y.channels_last and y.channels * y.item % SECTOR == 0:
        return y.nbytes
    return runs(y, pixels)


def _pointwise_tile(call: ModulatedConv2d) -> tuple[int, int]:
    x = call.x
    limits = config.POINTWISE_CHANNELS_LAST if x.channels_last else config.POINTWISE_PLANAR
    pixels = min(limits[0], config.power_of_two(x.height * x.width))
    return pixels, min(limits[1], config.power_of_two(x.channels))


def _pointwise(call: ModulatedConv2d) -> list[Stream]:
    x, y, weight = call.x, call.y, whole(weight_bytes(call))
    pixels, _ = _pointwise_tile(call)
    tiles = x.batch * -(-x.height * x.width // pixels)
    return [
        Stream("x", loaded=runs(x, pixels), once=(whole(x.nbytes), 0)),
        Stream("weight", loaded=tiles * weight, once=(weight, 0)),
        Stream("y", stored=runs(y, pixels), once=(0, whole(y.nbytes))),
        *vectors_of(call),
    ]


def _between(call: ModulatedConv2d) -> Images:
    return replace(call.y, height=2 * call.x.height + 1, width=2 * call.x.width + 1)


def _fir_tile(call: ModulatedConv2d) -> tuple[int, int, int]:
    """Rows, columns and channels of a program of the filter."""
    y = call.y
    limits = config.FIR_CHANNELS_LAST if y.channels_last else config.FIR_PLANAR
    a, b = (y.width, y.channels) if y.channels_last else (y.channels, y.width)
    block_b = min(limits[1], config.power_of_two(b))
    block_a = min(limits[0] * limits[1] // block_b, config.power_of_two(a))
    rows = min(config.FIR_ROWS, config.power_of_two(y.height))
    return rows, *((block_a, block_b) if y.channels_last else (block_b, block_a))


def _two(call: ModulatedConv2d) -> list[Stream]:
    x, y, z, weight = call.x, call.y, _between(call), whole(weight_bytes(call))
    cells = (x.height + 1) * (x.width + 1)
    pixels, channels, _ = _tile(call, cells)
    groups, tiles = -(-call.out_channels // channels), x.batch * -(-cells // pixels)
    read = groups * sum(_read_by(x, parity, pixels) for parity in PARITIES)
    rows, columns, lanes = _fir_tile(call)
    outputs = (spans(y.height, rows), spans(y.width, columns))
    inputs = tuple(
        _reach(1, FIR_TAPS, *out, size)
        for out, size in zip(outputs, (z.height, z.width), strict=True)
    )
    found = [
        Stream("x", loaded=read, once=(whole(x.nbytes), 0)),
        Stream("weight", loaded=tiles * weight, once=(weight, 0)),
        Stream(
            "between",
            loaded=rectangles(z, inputs[0], inputs[1], lanes),
            stored=sum(_written_by(z, parity, pixels) for parity in PARITIES),
            once=(whole(z.nbytes), whole(z.nbytes)),
        ),
        Stream("y", stored=rectangles(y, *outputs, lanes), once=(0, whole(y.nbytes))),
    ]
    if call.is_layer:
        plane = noise_plane(call)
        loaded = -(-call.out_channels // lanes) * rectangles(plane, *outputs, 1)
        found.append(Stream("noise", loaded=loaded, once=(whole(plane.nbytes), 0)))
    return found


def _read_by(x: Images, parity: tuple[int, int], pixels: int) -> int:
    """Even rows and columns meet the input of their cell and the one before, odd ones the first."""
    size = (x.height + 1 - parity[0], x.width + 1 - parity[1])
    rows, cols = (
        partial(_reach, 1 - odd, 2 - odd, size=length)
        for odd, length in zip(parity, (x.height, x.width), strict=True)
    )
    return neighbourhoods(x, size, pixels, rows, cols)


def _written_by(z: Images, parity: tuple[int, int], pixels: int) -> int:
    """Every second pixel of every second row."""
    height, width = z.height // 2 + 1 - parity[0], z.width // 2 + 1 - parity[1]
    if z.channels_last:
        if z.channels * z.item % SECTOR:
            raise ValueError(f"roofline: {z} has pixels that share sectors")
        return z.batch * height * width * z.channels * z.item
    first, end = spans(height * width, pixels)
    row = first[:, None] // width + np.arange(-(-pixels // width) + 1, dtype=np.int64)[None, :]
    left = np.maximum(first[:, None] - row * width, 0)
    right = np.minimum(end[:, None] - row * width, width)
    some = (right > left) & (row < height)
    start = ((2 * row + parity[0]) * z.width + 2 * left + parity[1]) * z.item
    length = np.where(some, (2 * (right - left) - 1) * z.item, 0)
    touched = 0
    for offset, alike in phases(z.height * z.width * z.item, z.batch * z.channels):
        touched += alike * int(sectors(offset + start, length).sum())
    return touched * SECTOR
