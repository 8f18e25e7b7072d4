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

# noise_bias_act_kernel.cuh
NOISE_THREADS = 256
NOISE_PLANES = 16

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


@dataclass(frozen=True)
class ConvTile:
    """What a block of the modulated convolution makes and what it reads for that.

    Attributes:
        height, width: pixels of the output.
        channels: of the output.
        lines, columns: pixels of the patch of the input.
        step: channels of the input that a step of the sum takes.
        cells: with up 2, pixels of the input for each of which the block computes 9 products.
    """

    height: int
    width: int
    channels: int
    lines: int
    columns: int
    step: int
    cells: int = 0


CELL_ROWS, CELL_COLUMNS = 8, 16  # modulated_conv2d_up2.cuh


def conv_tile(size: int, up: int, item: int) -> ConvTile:
    """The tile of a call on float32 or float16 images, on tensor cores or not."""
    if up == 2:
        height, width = 2 * CELL_ROWS - 4, 2 * CELL_COLUMNS - 4
        cells = CELL_ROWS * CELL_COLUMNS
        return ConvTile(height, width, 32, CELL_ROWS + 1, CELL_COLUMNS + 1, 32 // item, cells)
    rim = size - 1
    step = (32 if size == 3 else 64) // item
    return ConvTile(8, 16, 64, 8 + rim, 16 + rim, step)


# modulated_conv2d_rgb.cuh
RGB_THREADS = 128
RGB_CHANNELS = 4
RGB_LANES = 8
RGB_ROUNDS = 4
