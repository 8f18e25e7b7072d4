"""Sectors of the parts of images that blocks read and write: rectangles, runs, neighbourhoods of
runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from fastgan.roofline.calls import Images
from fastgan.roofline.traffic import SECTOR, Integers, phases, sectors

Spans: TypeAlias = tuple[Integers, Integers]  # first and end, for each tile along an axis
Reach: TypeAlias = Callable[[Integers, Integers], Spans]  # inputs that meet outputs, along an axis


def spans(size: int, step: int) -> Spans:
    """An axis in tiles of `step`."""
    first = np.arange(0, size, step, dtype=np.int64)
    return first, np.minimum(first + step, size)


def rectangles(x: Images, rows: Spans, cols: Spans, lanes: int) -> int:
    """Bytes of the sectors of tiles: row spans by column spans of every plane, or, with
    channels_last, of every group of `lanes` channels side by side."""
    pixel, planes = x.item, x.batch * x.channels
    if x.channels_last:
        run, pixel, planes = min(lanes, x.channels) * x.item, x.channels * x.item, x.batch
        if run % SECTOR == 0 and pixel % SECTOR == 0:
            pixels = int((rows[1] - rows[0]).sum()) * int((cols[1] - cols[0]).sum())
            return pixels * pixel * x.batch
        if run < pixel:
            raise ValueError(f"roofline: {x} has pixels that share sectors")
    touched, line = 0, x.width * pixel
    for offset, alike in phases(x.height * line, planes):
        for top, bottom in zip(*(span.tolist() for span in rows), strict=True):
            if bottom <= top:
                continue
            row = offset + np.arange(top, bottom, dtype=np.int64)[None, :] * line
            lengths = ((cols[1] - cols[0]) * pixel)[:, None]
            touched += alike * int(sectors(row + cols[0][:, None] * pixel, lengths).sum())
    return touched * SECTOR


def runs(x: Images, count: int) -> int:
    """Bytes of the sectors of `count` neighbouring pixels in memory, of every plane or, with
    channels_last, of all channels together."""
    pixel = x.channels * x.item if x.channels_last else x.item
    planes = x.batch if x.channels_last else x.batch * x.channels
    pixels, touched = x.height * x.width, 0
    first, end = spans(pixels, count)
    for offset, alike in phases(pixels * pixel, planes):
        starts, lengths = offset + first * pixel, (end - first) * pixel
        touched += alike * int(sectors(starts[:, None], lengths[:, None]).sum())
    return touched * SECTOR


def neighbourhoods(x: Images, size: tuple[int, int], count: int, rows: Reach, cols: Reach) -> int:
    """Bytes of the sectors of all channels of the inputs that programs read, each for `count`
    neighbouring pixels of an output of `size` (height, width); planes are counted apart.

    Args:
        x: input.
        size: of the output.
        count: pixels of a program.
        rows, cols: inputs that meet outputs first to end - 1, along an axis, clipped.
    """
    pixel, planes = x.item, x.batch * x.channels
    if x.channels_last:
        pixel, planes = x.channels * x.item, x.batch
    if pixel % SECTOR == 0:
        return _inputs(size, count, rows, cols) * pixel * planes
    if x.height * x.width * pixel % SECTOR == 0 and count >= size[0] * size[1]:
        return x.nbytes  # a program has a whole image
    if x.width * pixel % SECTOR:
        raise ValueError(f"roofline: {x} has rows that share sectors")

    def in_sectors(first: Integers, end: Integers) -> Spans:
        left, right = cols(first, end)
        return left * pixel // SECTOR, -(-right * pixel // SECTOR)

    return _inputs(size, count, rows, in_sectors) * SECTOR * planes


def _inputs(size: tuple[int, int], count: int, rows: Reach, cols: Reach) -> int:
    """Inputs of one sample or plane that programs of `count` neighbouring outputs read."""
    height, width = size
    first = np.arange(0, height * width, count, dtype=np.int64)
    end = np.minimum(first + count, height * width)
    total = np.zeros_like(first)
    lines = -(-count // width) + 1  # rows of outputs that a program can touch
    seen: list[tuple[Integers, ...]] = []
    for line in range(lines):
        y = first // width + line
        x0, x1 = np.maximum(first - y * width, 0), np.minimum(end - y * width, width)
        some = (x1 > x0) & (y < height)
        top, bottom = rows(y, y + 1)
        left, right = cols(x0, np.maximum(x1, x0 + 1))
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
