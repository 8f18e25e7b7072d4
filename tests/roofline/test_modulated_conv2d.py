"""The modulated convolution's rows: passes, bounds, and counts against single addresses."""

from functools import cache

import pytest

from fastgan.kernels import config
from fastgan.networks.geometry import Widths
from fastgan.roofline import modulated_conv2d, modulated_conv2d_triton, rows, tiles
from fastgan.roofline.calls import Images, ModulatedConv2d, stylegan2
from fastgan.roofline.machines import MACHINES
from fastgan.roofline.traffic import SECTOR

NETWORKS = {256: (16, Widths(16384)), 1024: (4, Widths(32768))}
DTYPES = ("fp32", "tf32", "fp16")


@cache
def convolutions(resolution, dtype):
    batch, widths = NETWORKS[resolution]
    counted = stylegan2(resolution, batch, widths, dtype).items()
    return rows.rows(
        [(call, n) for call, n in counted if isinstance(call, ModulatedConv2d)], MACHINES["h100"]
    )


def layers(resolution, dtype):
    """Rows of the forward pass."""
    return [
        r for r in convolutions(resolution, dtype) if "grad" not in r.op and "again" not in r.op
    ]


@pytest.mark.parametrize("resolution", NETWORKS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_image_lies_between_kernels_but_triton_s_before_the_filter(resolution, dtype):
    found = convolutions(resolution, dtype)
    assert len(found) > 40
    for r in found:
        assert r.extra == {"cuda": 0, "triton": 2 if " up" in r.op else 0}, r
    saved = {r.op: r.saved for r in layers(resolution, dtype)}
    assert saved == {
        "modulated_conv2d": {"cuda": 7, "triton": 7},
        "modulated_conv2d up": {"cuda": 9, "triton": 8},
        "modulated_conv2d rgb": {"cuda": 3, "triton": 3},
    }


@pytest.mark.parametrize("resolution", NETWORKS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_sees_what_must_move_where_the_cache_keeps_what_blocks_share(resolution, dtype):
    """Beside the copy of the weight with its channels last, and Triton's image between."""
    for r in convolutions(resolution, dtype):
        channels, side = (int(size) for size in r.shape.split(" ")[0].split("x")[1:3])
        out = int(r.shape.split()[-1])
        item = 2 if dtype == "fp16" else 4
        packing = 0 if "rgb" in r.op or 3 in (channels, out) else 2 * 9 * channels * out * item
        assert 0 <= r.memory["cuda"] - packing - r.compulsory < 3 * SECTOR, r
        between = r.memory["triton"] - r.memory["cuda"]
        batch = NETWORKS[resolution][0]
        image = batch * out * (2 * side + 1) ** 2 * item if " up" in r.op else 0
        assert 2 * image <= between < 2 * image + 2 * SECTOR
        assert all(r.moved[name] >= r.memory[name] for name in ("cuda", "triton")), r


ARITHMETIC = {
    256: {
        "modulated_conv2d": {128, 64, 32, 16, 8},
        "modulated_conv2d up": {64, 32, 16, 8},
    },
    1024: {
        "modulated_conv2d": {256, 128, 64, 32, 16},
        "modulated_conv2d up": {128, 64, 32, 16},
    },
}


@pytest.mark.parametrize("resolution", NETWORKS)
def test_which_layers_arithmetic_binds_on_h100_in_half_precision(resolution):
    """By the side of the input. Above them channels are few, below them pixels are; layers to the
    image never are."""
    found = {}
    for r in layers(resolution, "fp16"):
        if r.limit == "arithmetic":
            found.setdefault(r.op, set()).add(int(r.shape.split(" ")[0].split("x")[2]))
    assert found == ARITHMETIC[resolution]


def test_float32_without_tensor_cores_is_bound_by_arithmetic():
    limits = {(r.op, r.limit) for r in layers(256, "fp32")}
    assert ("modulated_conv2d rgb", "memory") in limits
    assert {limit for op, limit in limits if "rgb" not in op} == {"arithmetic"}
    same = zip(layers(256, "fp32"), layers(256, "tf32"), strict=True)
    assert all(plain.bound >= rounded.bound for plain, rounded in same)


def images(*size, dtype="fp32", last=False):
    return Images(*size, dtype, last)


def test_cuda_work_by_hand():
    whole = ModulatedConv2d(images(2, 32, 32, 32), 128, 3)
    assert modulated_conv2d.cuda_work(whole) == modulated_conv2d.work(whole)
    assert modulated_conv2d.work(whole).products == 2 * 9 * 32 * 128 * 2 * 32 * 32
    small = ModulatedConv2d(images(1, 32, 4, 4), 64, 3)  # a tile of 8 x 16 for 4 x 4 pixels
    products = modulated_conv2d.work(small).products
    assert modulated_conv2d.cuda_work(small).products == 8 * products
    up = ModulatedConv2d(images(1, 32, 42, 42), 32, 3, up=2)  # 7 x 3 tiles of 12 x 28 results
    products = modulated_conv2d.work(up).products
    assert modulated_conv2d.cuda_work(up).products * 42 * 42 == products * 21 * 8 * 16
    rgb = ModulatedConv2d(images(1, 32, 32, 32), 3, 1, rgb=True)  # sums of four channels
    products = modulated_conv2d.work(rgb).products
    assert modulated_conv2d.cuda_work(rgb).products * 3 == products * 4


def test_triton_work_by_hand():
    whole = ModulatedConv2d(images(2, 32, 32, 32, dtype="fp16", last=True), 128, 3)
    assert modulated_conv2d_triton.work(whole) == modulated_conv2d.work(whole)
    up = ModulatedConv2d(images(1, 32, 8, 8, dtype="fp16", last=True), 64, 3, up=2)
    needed, done = modulated_conv2d.work(up), modulated_conv2d_triton.work(up)
    assert done.products * 64 == needed.products * 128  # 81 cells in one tile of 128
    assert done.rest > needed.rest


def touched(x, pixels, channels):
    """Sectors of pixels of one sample, planes apart."""
    found = set()
    for c in channels:
        for i, j in pixels:
            at = (i * x.width + j) * x.channels + c
            if not x.channels_last:
                at = (c * x.height + i) * x.width + j
            place = at * x.item // SECTOR
            found.add(place if x.channels_last else (c, place))
    return found


def neighbours(x, pixels, before, after):
    """Pixels of x from `before` pixels before to `after` pixels after each of `pixels`."""
    rows = {(i + di, j) for i, j in pixels for di in range(-before[0], after[0] + 1)}
    found = {(i, j + dj) for i, j in rows for dj in range(-before[1], after[1] + 1)}
    return {(i, j) for i, j in found if 0 <= i < x.height and 0 <= j < x.width}


def chunks(height, width, count):
    pixels = [(i, j) for i in range(height) for j in range(width)]
    return [pixels[first : first + count] for first in range(0, len(pixels), count)]


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(config, "CONV_TILES", {"float32": (16, 16, 16)})
    monkeypatch.setattr(config, "FIR_ROWS", 4)
    monkeypatch.setattr(config, "FIR_PLANAR", (4, 8))
    monkeypatch.setattr(config, "FIR_CHANNELS_LAST", (4, 16))


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("size", [(8, 8), (6, 24)])
def test_triton_convolution_against_single_addresses(last, size, small_tiles):
    call = ModulatedConv2d(images(2, 16, *size, last=last), 32, 3)
    found = {s.name: s for s in modulated_conv2d_triton.streams(call)}
    tiles = chunks(*size, 16)
    read = sum(
        len(touched(call.x, neighbours(call.x, t, (1, 1), (1, 1)), range(16))) for t in tiles
    )
    assert found["x"].loaded == 2 * 2 * read * SECTOR  # samples, and groups of 16 channels
    assert found["weight"].loaded == 2 * len(tiles) * modulated_conv2d.weight_bytes(call)
    plane = modulated_conv2d.noise_plane(call)
    noise = sum(len(touched(plane, t, [0])) for t in tiles)
    assert found["noise"].loaded == 2 * 2 * noise * SECTOR


@pytest.mark.parametrize("last", [False, True])
def test_triton_upsampling_against_single_addresses(last, small_tiles):
    call = ModulatedConv2d(images(2, 16, 8, 8, last=last), 32, 3, up=2)
    found = {s.name: s for s in modulated_conv2d_triton.streams(call)}
    z = Images(2, 32, 17, 17, "fp32", last)
    read = stored = 0
    for odd_y in (0, 1):
        for odd_x in (0, 1):
            for t in chunks(9 - odd_y, 9 - odd_x, 16):
                pixels = neighbours(call.x, t, (1 - odd_y, 1 - odd_x), (0, 0))
                read += len(touched(call.x, pixels, range(16)))
                written = [(2 * i + odd_y, 2 * j + odd_x) for i, j in t]
                stored += _planes(z, written)
    assert found["x"].loaded == 2 * 2 * read * SECTOR
    loaded = 0
    width = 4 if last else 8
    for top in range(0, 16, 4):
        for left in range(0, 16, width):
            outputs = [(i, j) for i in range(top, top + 4) for j in range(left, left + width)]
            loaded += _planes(z, neighbours(z, outputs, (1, 1), (2, 2)))
    assert (found["between"].loaded, found["between"].stored) == (loaded * SECTOR, stored * SECTOR)


def _planes(z, pixels):
    """Sectors of pixels in all planes of all samples, which begin in the middle of sectors."""
    if z.channels_last:
        return z.batch * len(touched(z, pixels, range(z.channels)))
    total = 0
    for plane in range(z.batch * z.channels):
        begin = plane * z.height * z.width
        total += len({(begin + i * z.width + j) * z.item // SECTOR for i, j in pixels})
    return total


def test_larger_tiles_ask_less_of_the_cache(monkeypatch):
    call = ModulatedConv2d(images(4, 64, 64, 64, dtype="fp16", last=True), 128, 3)
    before = {s.name: s.loaded for s in modulated_conv2d.cuda(call)}
    tile = tiles.conv_tile(3, 1, 2)
    narrow = tiles.ConvTile(tile.height, 8, tile.channels, tile.lines, 10, tile.step)
    monkeypatch.setattr(tiles, "conv_tile", lambda *_: narrow)
    after = {s.name: s.loaded for s in modulated_conv2d.cuda(call)}
    assert after["weight"] == 2 * before["weight"]
    assert 1 < after["x"] / before["x"] < 1.2
