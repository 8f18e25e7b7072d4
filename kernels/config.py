"""Every block size of the Triton kernels, in one place. Sizes depend on shapes alone, so that a
call gives the same bits each time. Launchers read this module at each call."""

from __future__ import annotations

import torch

# Tiles of the elementwise kernels: at most this many elements, and columns.
TILE_ELEMENTS = 2048
TILE_COLUMNS = 1024
# Tiles that one program sums one after another, so that partial sums are a small part of traffic.
SUM_TILES = 16
# Tiles of the kernel that adds up partial sums: (partial sums, results).
REDUCE_TILE = (32, 64)
# Blocks of upfirdn2d that a program computes one below another: (rows, columns, channels) at most.
# Each reads rows that the one above it read: these come from the L1 cache.
UPFIRDN_PLANAR = (8, 128, 1)
UPFIRDN_CHANNELS_LAST = (1, 32, 32)
UPFIRDN_ROWS = {"planar": 64, "channels_last": 32}  # of all of them
# Tiles of the convolution as a matrix product: (pixels, output channels, input channels). Without
# tensor cores a tile lies in registers, which must not spill.
CONV_TILES = {
    "half": (128, 64, 32),
    "tf32": (64, 64, 32),
    "float32": (64, 32, 16),
    "float64": (32, 32, 16),
}
CONV_STAGES = 3  # steps of that product whose loads are under way
# Tiles of the 1x1 convolution to few channels: (pixels, input channels), by layout.
POINTWISE_PLANAR = (256, 8)
POINTWISE_CHANNELS_LAST = (32, 64)
POINTWISE_OUT = 4  # channels at most
# Rows that one program of the upsampling filter slides over, and its tiles as in upfirdn2d.
FIR_ROWS = 16
FIR_PLANAR = (8, 128)
FIR_CHANNELS_LAST = (16, 64)
# Elements of a step of the one program that normalises a vector.
VECTOR_STEP = 2048
# Threads of a program, in warps of the GPU that this torch is built for.
THREADS = 128
WARP_SIZE = 64 if torch.version.hip else 32


def warps() -> int:
    """Warps of a program."""
    return THREADS // WARP_SIZE


def power_of_two(size: int) -> int:
    """The smallest power of two that is at least `size`, and at least 1."""
    return 1 << max(size - 1, 0).bit_length()


NOISE_ROWS = 16  # channels that share the noise that a program reads


def noise_tile(rows: int, columns: int, channels_last: bool) -> tuple[int, int]:
    """A tile of images to which noise is added: of several channels, because noise is as wide as
    float32 and lies along the pixels."""
    if channels_last:
        return tile(rows, columns)
    block_rows = min(power_of_two(rows), NOISE_ROWS)
    return block_rows, min(power_of_two(columns), TILE_ELEMENTS // block_rows)


def tile(rows: int, columns: int) -> tuple[int, int]:
    """(rows, columns) of a tile for a matrix of that size: powers of two within the limits."""
    block_columns = min(power_of_two(columns), TILE_COLUMNS)
    return min(power_of_two(rows), max(TILE_ELEMENTS // block_columns, 1)), block_columns


def upfirdn_blocks(
    channels: int, height: int, width: int, channels_last: bool
) -> tuple[int, int, int, int]:
    """(rows, columns, channels, blocks one below another) of a program of upfirdn2d, for the size
    of the result."""
    most = UPFIRDN_CHANNELS_LAST if channels_last else UPFIRDN_PLANAR
    elements = most[0] * most[1] * most[2]
    lanes = min(most[2], power_of_two(channels)) if channels_last else 1
    columns = min(most[1], power_of_two(width))
    rows = min(elements // (lanes * columns), power_of_two(height))
    total = min(UPFIRDN_ROWS["channels_last" if channels_last else "planar"], height)
    return rows, columns, lanes, max(-(-total // rows), 1)
