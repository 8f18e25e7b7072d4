"""Traffic of upfirdn2d: what the tiles of outputs read of the input, halos included."""

from __future__ import annotations

import numpy as np

from fastgan.kernels import config
from fastgan.roofline import tiles
from fastgan.roofline.calls import Images, Upfirdn2d
from fastgan.roofline.regions import Spans, rectangles, spans
from fastgan.roofline.traffic import Integers, Stream, whole


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
    tile = tiles.tile_for(call.up, call.down, call.taps, x.item, x.channels_last)
    if not 1 < call.taps <= 8 or (x.channels_last and 2 * x.channels < tile.lanes):
        return None
    rows = _patches(call, y.height, tile, tile.step, tile.height, x.height)
    cols = _patches(call, y.width, tile, tile.width, tile.width, x.width)
    return [
        Stream("x", loaded=rectangles(x, rows, cols, tile.lanes)),
        Stream("filter", loaded=whole(call.taps**2 * 4)),
        Stream("y", stored=rectangles(y, *_outputs(y, tile.height, tile.width), tile.lanes)),
    ]


def triton(call: Upfirdn2d) -> list[Stream]:
    """Streams of kernels/upfirdn2d.py."""
    x, y = call.x, call.y
    blocks = config.upfirdn_blocks(y.channels, y.height, y.width, x.channels_last)
    rows, cols, lanes, steps = blocks
    outputs = _outputs(y, rows * steps, cols)
    down, across = _reach(call, *outputs[0], x.height), _reach(call, *outputs[1], x.width)
    return [
        Stream("x", loaded=rectangles(x, down, across, lanes)),
        Stream("filter", loaded=whole(call.taps**2 * 4)),
        Stream("y", stored=rectangles(y, *outputs, lanes)),
    ]


def _outputs(y: Images, height: int, width: int) -> tuple[Spans, Spans]:
    return spans(y.height, height), spans(y.width, width)


def _patches(
    call: Upfirdn2d, outputs: int, tile: tiles.Tile, step: int, size: int, inputs: int
) -> Spans:
    """Inputs along an axis that blocks load: whole steps, less what is outside of the image."""
    first, end = spans(outputs, size)
    lead = -(-call.padding[0] // call.up)
    begin = first * call.down // call.up - lead
    steps = -(-(end - first) // step)  # those that have an output
    reach = (steps * step - 1) * call.down + tile.taps + call.up - 2
    return np.clip(begin, 0, inputs), np.clip(begin + reach // call.up + 1, 0, inputs)


def _reach(call: Upfirdn2d, first: Integers, end: Integers, size: int) -> Spans:
    """Inputs along an axis that outputs first to end - 1 meet."""
    before = call.padding[0]
    begin = -(-(first * call.down - before) // call.up)
    last = -(-((end - 1) * call.down - before) // call.up) + -(-call.taps // call.up)
    return np.clip(begin, 0, size), np.clip(last, 0, size)
