"""Traffic of upfirdn2d: what the tiles of outputs read of the input, halos included."""

from __future__ import annotations

import numpy as np

from fastgan.kernels import config
from fastgan.roofline import tiles
from fastgan.roofline.calls import Images, Upfirdn2d
from fastgan.roofline.traffic import SECTOR, Integers, Stream, phases, sectors, whole


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
        Stream("x", loaded=_rectangles(x, rows, cols, tile.lanes)),
        Stream("filter", loaded=whole(call.taps**2 * 4)),
        Stream("y", stored=_rectangles(y, *_outputs(y, tile.height, tile.width), tile.lanes)),
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
        rows_read = _reach(call, *_spans(y.height, along), x.height)
        cols_read = _reach(call, *_spans(y.width, across), x.width)
        stored = _rectangles(y, *_outputs(y, along, across), 1)
        return [
            Stream("x", loaded=_rectangles(x, rows_read, cols_read, 1)),
            taps,
            Stream("y", stored=stored),
        ]
    if x.channels * x.item % SECTOR or across * x.item % SECTOR:
        raise ValueError(f"roofline: upfirdn2d of {x} has pixels that share sectors")
    loaded = _pixels(call, along) * x.channels * x.item * x.batch
    return [Stream("x", loaded=loaded), taps, Stream("y", stored=y.nbytes)]


Spans = tuple[Integers, Integers]  # first and end, for each tile along an axis


def _spans(size: int, step: int) -> Spans:
    first = np.arange(0, size, step, dtype=np.int64)
    return first, np.minimum(first + step, size)


def _outputs(y: Images, height: int, width: int) -> tuple[Spans, Spans]:
    return _spans(y.height, height), _spans(y.width, width)


def _patches(outputs: int, step: int, length: int, call: Upfirdn2d, lead: int, size: int) -> Spans:
    """Inputs along an axis that blocks load: a patch of one length, less what is outside."""
    first = _spans(outputs, step)[0] * call.down // call.up - lead
    return np.clip(first, 0, size), np.clip(first + length, 0, size)


def _reach(call: Upfirdn2d, first: Integers, end: Integers, size: int) -> Spans:
    """Inputs along an axis that outputs first to end - 1 meet."""
    before = call.padding[0]
    begin = -(-(first * call.down - before) // call.up)
    last = -(-((end - 1) * call.down - before) // call.up) + -(-call.taps // call.up)
    return np.clip(begin, 0, size), np.clip(last, 0, size)


def _rectangles(x: Images, rows: Spans, cols: Spans, lanes: int) -> int:
    """Bytes of the sectors of tiles: row spans by column spans of every plane, or of every group
    of `lanes` channels side by side."""
    if x.channels_last:
        run, pixel = min(lanes, x.channels) * x.item, x.channels * x.item
        if run % SECTOR == 0 and pixel % run == 0:
            pixels = int((rows[1] - rows[0]).sum()) * int((cols[1] - cols[0]).sum())
            return pixels * pixel * x.batch
        raise ValueError(f"roofline: upfirdn2d of {x} has pixels that share sectors")
    touched, line = 0, x.width * x.item
    for offset, alike in phases(x.height * line, x.batch * x.channels):
        for top, bottom in zip(*(span.tolist() for span in rows), strict=True):
            if bottom <= top:
                continue
            row = offset + np.arange(top, bottom, dtype=np.int64)[None, :] * line
            lengths = ((cols[1] - cols[0]) * x.item)[:, None]
            touched += alike * int(sectors(row + cols[0][:, None] * x.item, lengths).sum())
    return touched * SECTOR


def _pixels(call: Upfirdn2d, count: int) -> int:
    """Input pixels that programs of `count` neighbouring output pixels read, of one sample."""
    width, numel = call.y.width, call.y.width * call.y.height
    first = np.arange(0, numel, count, dtype=np.int64)
    end = np.minimum(first + count, numel)
    total = np.zeros_like(first)
    lines = -(-count // width) + 1  # rows of outputs that a program can touch
    seen: list[tuple[Integers, ...]] = []
    for line in range(lines):
        y = first // width + line
        x0, x1 = np.maximum(first - y * width, 0), np.minimum(end - y * width, width)
        some = (x1 > x0) & (y < call.y.height)
        top, bottom = _reach(call, y, y + 1, call.x.height)
        left, right = _reach(call, x0, np.maximum(x1, x0 + 1), call.x.width)
        box = tuple(np.where(some, edge, 0) for edge in (top, bottom, left, right))
        total += _new_pixels(box, seen)
        seen.append(box)
    return int(total.sum())


def _new_pixels(box: tuple[Integers, ...], seen: list[tuple[Integers, ...]]) -> Integers:
    """Pixels of `box` (top, bottom, left, right) that no earlier box has. Rows of boxes ascend, so
    those above the bottom of the last box are the ones to compare."""
    top, bottom, left, right = box
    area: Integers = (bottom - top) * (right - left)
    if not seen:
        return area
    new = np.zeros_like(area)
    most = int((bottom - top).max(initial=0))
    for step in range(most):
        row = top + step
        covered: list[tuple[Integers, Integers]] = []
        for t, b, a, e in seen:
            inside = (t <= row) & (row < b)
            covered.append((np.where(inside, a, 0), np.where(inside, e, 0)))
        new += np.where(row < bottom, right - left - _overlap(left, right, covered), 0)
    return new


def _overlap(left: Integers, right: Integers, covered: list[tuple[Integers, Integers]]) -> Integers:
    """How much of [left, right) the spans cover together: they all start or end at an edge of the
    image, or are whole, so marks of their union are taken column by column."""
    width = int(right.max(initial=0))
    if width == 0:
        return np.zeros_like(left)
    starts = np.stack([np.maximum(a, left) for a, _ in covered])
    ends = np.stack([np.minimum(e, right) for _, e in covered])
    ends = np.maximum(ends, starts)
    order = np.argsort(starts, axis=0)
    starts, ends = (np.take_along_axis(edge, order, axis=0) for edge in (starts, ends))
    reached = np.maximum.accumulate(ends, axis=0)
    before = np.concatenate([left[None], reached[:-1]])
    union: Integers = np.maximum(ends - np.maximum(starts, before), 0).sum(axis=0)
    return union
