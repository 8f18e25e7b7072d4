"""Traffic of upfirdn2d: what the tiles of outputs read of the input, halos included."""

from __future__ import annotations

from functools import partial

import numpy as np

from fastgan.kernels import config
from fastgan.roofline import tiles
from fastgan.roofline.calls import Images, Upfirdn2d
from fastgan.roofline.regions import Spans, neighbourhoods, rectangles, spans
from fastgan.roofline.traffic import SECTOR, Integers, Stream, whole


def flops(call: Upfirdn2d) -> int:
    """A product and a sum for each tap that meets a pixel."""
    return 2 * call.y.numel * call.taps**2 // call.up**2


def compulsory(call: Upfirdn2d) -> int:
    """Each input and each output once."""
    return call.x.nbytes + call.y.nbytes


def cuda(call: Upfirdn2d) -> list[Stream] | None:
    """Streams of the tiled kernel of csrc/cuda; None where another kernel serves the call."""
    x, y = call.x, call.y
    if call.up not in (1, 2, 4) or call.down not in (1, 2, 4) or min(call.up, call.down) > 1:
        return None
    if not 1 < call.taps <= 8 or (x.channels_last and x.channels < 16):
        return None
    tile = tiles.tile_for(call.up, call.down, call.taps, x.channels_last)
    lead = -(-call.padding[0] // call.up)
    rows = _patches(y.height, tile.height, tile.lines, call, lead, x.height)
    cols = _patches(y.width, tile.width, tile.pitch, call, lead, x.width)
    return [
        Stream("x", loaded=rectangles(x, rows, cols, tile.lanes)),
        Stream("filter", loaded=whole(call.taps**2 * 4)),
        Stream("y", stored=rectangles(y, *_outputs(y, tile.height, tile.width), tile.lanes)),
    ]


def triton(call: Upfirdn2d) -> list[Stream]:
    """Streams of kernels/upfirdn2d.py."""
    x, y = call.x, call.y
    rows, cols = y.height, y.width
    limits = config.UPFIRDN_PLANAR
    if x.channels_last:
        rows, cols, limits = y.height * y.width, y.channels, config.UPFIRDN_CHANNELS_LAST
    across = min(limits[1], config.power_of_two(cols))
    along = min(limits[0] * limits[1] // across, config.power_of_two(rows))
    taps = Stream("filter", loaded=whole(call.taps**2 * 4))
    if not x.channels_last:
        rows_read = _reach(call, *spans(y.height, along), x.height)
        cols_read = _reach(call, *spans(y.width, across), x.width)
        stored = rectangles(y, *_outputs(y, along, across), 1)
        return [
            Stream("x", loaded=rectangles(x, rows_read, cols_read, 1)),
            taps,
            Stream("y", stored=stored),
        ]
    if across * x.item % SECTOR:
        raise ValueError(f"roofline: upfirdn2d of {x} has pixels that share sectors")
    along_y, along_x = (partial(_reach, call, size=size) for size in (x.height, x.width))
    loaded = neighbourhoods(x, (y.height, y.width), along, along_y, along_x)
    return [Stream("x", loaded=loaded), taps, Stream("y", stored=y.nbytes)]


def _outputs(y: Images, height: int, width: int) -> tuple[Spans, Spans]:
    return spans(y.height, height), spans(y.width, width)


def _patches(outputs: int, step: int, length: int, call: Upfirdn2d, lead: int, size: int) -> Spans:
    """Inputs along an axis that blocks load: a patch of one length, less what is outside."""
    first = spans(outputs, step)[0] * call.down // call.up - lead
    return np.clip(first, 0, size), np.clip(first + length, 0, size)


def _reach(call: Upfirdn2d, first: Integers, end: Integers, size: int) -> Spans:
    """Inputs along an axis that outputs first to end - 1 meet."""
    before = call.padding[0]
    begin = -(-(first * call.down - before) // call.up)
    last = -(-((end - 1) * call.down - before) // call.up) + -(-call.taps // call.up)
    return np.clip(begin, 0, size), np.clip(last, 0, size)
