"""Tile sizes of the CUDA kernels, as csrc/cuda has them; a test compares. Those of the Triton
kernels are read from `fastgan.kernels.config`."""

from __future__ import annotations

from dataclasses import dataclass

PACK_BYTES = 16  # kWidestPack in storage.cuh

# bias_act_kernel.cuh
BIAS_ACT_THREADS = 256
MAX_LANES = 32
SUM_ELEMENTS = 8192
MAX_SUM_BLOCKS = 4096

# spectral_norm_layers.cuh
SPECTRAL_THREADS = 256
SPECTRAL_PACKS = 4
WARP = 32


# upfirdn2d_tiled.cuh
SECTOR_BYTES = 32


@dataclass(frozen=True)
class Tile:
    """A tile of outputs of upfirdn2d: Tile in upfirdn2d_tiled.cuh."""

    up: int
    down: int
    taps: int  # 4 or 8, the bound that the kernel is compiled for
    lanes: int
    width: int
    step: int  # rows of a step
    steps: int

    @property
    def height(self) -> int:
        """Rows of all steps."""
        return self.step * self.steps

    def inputs(self, count: int) -> int:
        """Pixels that meet so many neighbouring outputs."""
        reach = self.taps + self.up - 1
        return ((count - 1) * self.down + reach - 1) // self.up + 1


def tile_for(up: int, down: int, taps: int, item: int, channels_last: bool) -> Tile:
    """The tile of a call on images with elements of `item` bytes."""
    taps = 4 if taps <= 4 else 8
    step = (16 if channels_last and up == 1 else 32) // down
    if channels_last:
        steps = 1 if up > 1 else (1 if down == 1 else 2) * taps // 4
        return Tile(up, down, taps, SECTOR_BYTES // item, 32 // down, step, steps)
    width = (8 if item == 2 else 4) * (8 if down == 4 else 16)
    return Tile(up, down, taps, 1, width, step, 2)
