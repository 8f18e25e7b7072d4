"""Traffic by formula against traffic counted address by address, and the goals."""

import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from fastgan.kernels import config
from fastgan.networks.geometry import Widths
from fastgan.roofline import bias_act, modulated_conv2d, tiles, upfirdn2d
from fastgan.roofline.calls import BiasAct, Images, Upfirdn2d, stylegan2
from fastgan.roofline.machines import MACHINES, from_device_name
from fastgan.roofline.rows import rows as rows_of
from fastgan.roofline.traffic import SECTOR, phases, sectors, total

CSRC = Path(__file__).parents[2] / "csrc" / "cuda"
NETWORKS = {256: (16, Widths(16384)), 1024: (4, Widths(32768))}


@cache
def rows(resolution, dtype):
    batch, widths = NETWORKS[resolution]
    return rows_of(stylegan2(resolution, batch, widths, dtype).items(), MACHINES["h100"])


def images(batch, channels, height, width, dtype="fp32", last=False):
    return Images(batch, channels, height, width, dtype, last)


def test_sectors_are_those_of_single_bytes():
    random = np.random.default_rng(0)
    for _ in range(200):
        edges = np.sort(random.integers(0, 400, 8))
        starts, ends = edges[::2], edges[1::2]
        touched = {b // SECTOR for s, e in zip(starts, ends, strict=True) for b in range(s, e)}
        assert sectors(starts, ends - starts) == len(touched)


def test_phases_count_every_region():
    for stride, count in ((12, 7), (64, 3), (4, 20), (30, 1)):
        assert sum(alike for _, alike in phases(stride, count)) == count


def read_pixels(call, outputs):
    """Input pixels (y, x) that meet output pixels, by the definition of the op."""
    taps = -(-call.taps // call.up)

    def along(o, size):
        first = -(-(o * call.down - call.padding[0]) // call.up)
        return [i for i in range(first, first + taps) if 0 <= i < size]

    x = call.x
    return {(i, j) for oy, ox in outputs for i in along(oy, x.height) for j in along(ox, x.width)}


def touched(x, pixels, n, channels):
    """Sectors of pixels of one sample in some channels."""
    found = set()
    for c in channels:
        for i, j in pixels:
            at = ((n * x.height + i) * x.width + j) * x.channels + c
            if not x.channels_last:
                at = ((n * x.channels + c) * x.height + i) * x.width + j
            found.update({at * x.item // SECTOR, (at * x.item + x.item - 1) // SECTOR})
    return found


@pytest.mark.parametrize(
    ("up", "down", "padding"), [(1, 1, (1, 2)), (2, 1, (2, 1)), (1, 2, (1, 1))]
)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("width", [11, 22])
def test_triton_upfirdn2d_against_single_pixels(up, down, padding, last, width, monkeypatch):
    monkeypatch.setattr(config, "UPFIRDN_PLANAR", (2, 8, 1))
    monkeypatch.setattr(config, "UPFIRDN_CHANNELS_LAST", (2, 8, 8))
    monkeypatch.setattr(config, "UPFIRDN_ROWS", {"planar": 4, "channels_last": 4})
    call = Upfirdn2d(images(2, 16, 11, width, "fp32", last), up, down, padding)
    y, loaded = call.y, 0
    groups = [range(8), range(8, 16)] if last else [[c] for c in range(16)]
    corners = [(a, b) for a in range(0, y.height, 4) for b in range(0, y.width, 8)]
    for a, b in corners:
        tile = [(i, j) for i in range(a, a + 4) for j in range(b, b + 8)]
        inside = [(i, j) for i, j in tile if i < y.height and j < y.width]
        pixels = read_pixels(call, inside)
        loaded += sum(len(touched(call.x, pixels, n, group)) for n in range(2) for group in groups)
    streams = {s.name: s for s in upfirdn2d.triton(call)}
    assert streams["x"].loaded == loaded * SECTOR


def test_constants_are_those_of_the_sources():
    source = "".join(path.read_text() for path in sorted(CSRC.glob("*.*h")))
    constants = dict(re.findall(r"constexpr (?:int|int64_t) (k\w+) = (\d+);", source))
    expected = {
        "kBiasActThreads": tiles.BIAS_ACT_THREADS, "kMaxLanes": tiles.MAX_LANES,
        "kSumElements": tiles.SUM_ELEMENTS, "kMaxSumBlocks": tiles.MAX_SUM_BLOCKS,
        "kThreads": tiles.SPECTRAL_THREADS, "kPacks": tiles.SPECTRAL_PACKS, "kWarp": tiles.WARP,
        "kPlanes": tiles.NOISE_PLANES, "kRgbChannels": tiles.RGB_CHANNELS,
        "kFirTaps": modulated_conv2d.FIR_TAPS,
        "kSectorBytes": SECTOR,
    }  # fmt: skip
    assert {name: int(constants[name]) for name in expected} == expected
    text = " ".join(source.split())
    for line in (
        "kWidestPack = 16 / static_cast<int>(sizeof(T))",
        "kLanes = kLast ? kSectorBytes / kBytes : 1;",
        "kColumns = kLast ? (kUp == 4 || kDown == 4 ? 4 : 8) : kBytes == 2 ? 8 : 4;",
        "kWidth = kLast ? 32 / kDown : kColumns * (kDown == 4 ? 8 : 16);",
        "kStep = (kLast && kUp == 1 ? 16 : 32) / kDown;",
        "kSteps = !kLast ? 2 : kUp > 1 ? 1 : (kDown == 1 ? 1 : 2) * kTaps / 4;",
        "using Simt = SimtShape<T, kReach, 8, 8>;",
        "using Wmma = WmmaShape<T, kReach, 4, 4>;",
        "using UpSimt = UpSimtShape<T, 4, 8>;",
        "using UpWmma = UpWmmaShape<T, 2, 8>;",
        f"using Rgb = RgbShape<T, {tiles.RGB_THREADS}>;",
        f"kLanes = {tiles.RGB_LANES}, kRounds = {tiles.RGB_ROUNDS}, kSide = kThreads / kLanes;",
        "kChannels = (kReach == 1 ? 64 : 32) / static_cast<int>(sizeof(T));",
        f"kCellRows = kCellRows_, kCellColumns = {tiles.CELL_COLUMNS},",
    ):
        assert line in text, f"roofline/tiles.py mirrors {line!r}, which is no longer there"


@pytest.mark.parametrize("resolution", NETWORKS)
@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_goals_of_bias_act_and_spectral_norm(resolution, dtype):
    ops = ("bias_act", "bias_act grad", "noise_bias_act")
    found = [r for r in rows(resolution, dtype) if r.op in ops]
    assert {r.op for r in found} == {*ops}
    assert len(found) > 10
    for r in found:
        assert r.ratio("cuda") <= 1.1, r
        assert r.ratio("triton") <= 1.1, r
    for r in rows(resolution, dtype):
        if r.op == "spectral_norm" and r.compulsory >= 1 << 17:  # 128 KiB: more than the vectors
            assert max(r.ratio("cuda"), r.ratio("triton")) <= 1.1, r


@pytest.mark.parametrize("resolution", NETWORKS)
@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_goal_of_upfirdn2d_in_networks(resolution, dtype):
    found = [r for r in rows(resolution, dtype) if "upfirdn2d" in r.op and r.goal is not None]
    assert len(found) > 10
    assert {r.dtype for r in found} == {"fp32", dtype}
    for r in found:
        assert max(r.ratio("cuda"), r.ratio("triton")) <= 1.25, r


# What resamples by these factors, and keeps or changes the size by a pixel; padding of both axes.
RESAMPLINGS = {
    4: [(1, 1, 2, 1), (1, 1, 2, 2), (1, 1, 1, 1), (2, 1, 2, 1), (1, 2, 1, 1)],
    6: [(1, 1, 3, 2), (2, 1, 3, 2), (1, 2, 2, 2)],
    8: [(1, 1, 4, 3), (2, 1, 4, 3), (1, 2, 3, 3), (4, 1, 5, 2), (1, 4, 2, 2)],
}


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("taps", RESAMPLINGS)
def test_goal_of_upfirdn2d_for_every_filter(taps, last, dtype):
    """Of squares that fill tiles and of those that do not; the gradient too. Rows of a contiguous
    image that are no multiple of 32 bytes share sectors, of which both tiles pay: where a tile of
    one or two columns is left over besides, that is 1.27."""
    for side in (64, 65, 80, 100, 128, 129, 130, 200, 256, 257, 1024):
        for up, down, *padding in RESAMPLINGS[taps]:
            x = images(1, 16, side, side, dtype, last)
            forward = Upfirdn2d(x, up, down, tuple(padding), taps)
            for call in (forward, forward.adjoint()):
                shares = not last and (side * x.item % SECTOR or call.y.width * x.item % SECTOR)
                most = (1.27 if shares and taps > 4 else 1.25) * upfirdn2d.compulsory(call)
                assert max(total(upfirdn2d.cuda(call)), total(upfirdn2d.triton(call))) <= most, call


def test_partial_sums_are_part_of_the_count():
    """The count is not the compulsory traffic under another name."""
    call = BiasAct(images(16, 64, 64, 64), backward=True)
    names = {s.name: s for s in bias_act.triton(call)}
    assert names["parts"].stored > names["parts"].loaded > 0
    assert total(bias_act.triton(call)) > bias_act.compulsory(call)


def test_bound_is_the_largest_of_three():
    h100 = MACHINES["h100"]
    assert h100.bound(3.35e12, 0, 0, "fp16") == pytest.approx(1)
    assert h100.bound(0, 67e12, 67e12, "fp32") == pytest.approx(2)
    assert h100.bound(3.35e12, 2 * 989e12, 67e12, "fp16") == pytest.approx(2)
    assert h100.bound(3.35e12, 2 * 494.7e12, 67e12, "tf32") == pytest.approx(2)
    assert h100.bound(3.35e12, 0, 3 * 67e12, "fp16") == pytest.approx(3)
    assert from_device_name("NVIDIA H100 80GB HBM3") is h100
    assert from_device_name("NVIDIA T4") is None
