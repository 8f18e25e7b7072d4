"""Sizes, channel counts and precision of the levels of a multi-resolution network.

Arithmetic only: no parameters, no layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from fastgan.errors import ConfigError

ARCHITECTURES = ("skip", "resnet", "orig")

LARGEST_BASE = 15  # shorter side; a base of 16 has a level below it


@dataclass(frozen=True)
class Pyramid:
    """The levels of a network: a base size, doubled until the image size is reached.

    A level is known by its nominal resolution 4, 8, 16, ..., which is its height and width where
    the base is 4 x 4. So a 64 x 96 network has the levels (and parameter names b4 ... b64) of a
    64 x 64 one, from a 4 x 6 base.
    """

    base: tuple[int, int]  # height, width
    levels: tuple[int, ...]  # 4, 8, ..., nominal

    @property
    def image(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.size(self.levels[-1])

    def size(self, level: int) -> tuple[int, int]:
        """Height and width of a level."""
        return self.base[0] * level // 4, self.base[1] * level // 4


def pyramid(img_resolution: int | tuple[int, int]) -> Pyramid:
    """Split an image size into a base and a power of two.

    The factor is the largest power of two that divides both sides and leaves at least 4 on the
    shorter one. What is left there must be below 16: dense layers see the whole base.

    Args:
        img_resolution: side of a square image, or (height, width).

    Raises:
        ConfigError: a side is below 8, or no such base exists; names the nearest sizes.
    """
    sides: tuple[int, ...] = (
        tuple(img_resolution)
        if isinstance(img_resolution, tuple | list)
        else (img_resolution, img_resolution)
    )
    if len(sides) != 2 or not all(isinstance(side, int) and side >= 8 for side in sides):
        raise ConfigError(
            f"img_resolution must be an int >= 8 or (height, width) of them, got {img_resolution!r}"
        )
    height, width = sides
    factor = _factor(height, width)
    if factor is None:
        near = " or ".join(f"{h} x {w}" for h, w in nearest_sizes(height, width))
        raise ConfigError(
            f"img_resolution {height} x {width}: both sides must be a base times the same power of "
            f"two, at least 2, with 4 to {LARGEST_BASE} pixels of base on the shorter side; the "
            f"nearest sizes are {near} (height x width). Resize the images to one of them"
        )
    levels = tuple(4 * 2**i for i in range(factor.bit_length()))
    return Pyramid(base=(height // factor, width // factor), levels=levels)


def nearest_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """The sizes next to (height, width), both sides at least 8, that networks can have.

    Returns: the largest one that fits into the image, and the smallest one around it, among those
        whose sides are multiples of one power of two; the size itself where it can be had.
    """
    step = _step(height, width)
    below = (height // step * step, width // step * step)
    above = (-(-height // step) * step, -(-width // step) * step)
    while _factor(*above) is None:  # the shorter side has grown past the base of this step
        step *= 2
        above = (-(-height // step) * step, -(-width // step) * step)
    return sorted({below, above})


def _step(height: int, width: int) -> int:
    """Smallest power of two of which both sides have to be multiples."""
    return max(2, 2 ** ((min(height, width) // (LARGEST_BASE + 1)).bit_length()))


def _factor(height: int, width: int) -> int | None:
    """The largest power of two that leaves a base, or None when none of at least 2 does."""
    both = height | width
    factor = both & -both  # the largest power of two that divides both sides
    while factor > 1 and min(height, width) < 4 * factor:
        factor //= 2
    return None if factor < 2 or min(height, width) > LARGEST_BASE * factor else factor


@dataclass(frozen=True)
class Widths:
    """Channels of a level: min(channel_base // level, channel_max)."""

    channel_base: int = 32768
    channel_max: int = 512

    def __call__(self, level: int) -> int:
        channels = min(self.channel_base // level, self.channel_max)
        if channels < 1:
            raise ConfigError(
                f"channel_base {self.channel_base} and channel_max {self.channel_max} leave no "
                f"channels at resolution {level}; both must be at least 1 there"
            )
        return channels


@dataclass(frozen=True)
class HalfPrecision:
    """Which levels run in half precision, in which type, and where.

    The `num_levels` highest resolutions do, but never one below 8. Off CUDA they run in the
    parameters' own type unless `on_cpu` is set, because half is slow or missing there.
    """

    num_levels: int = 0
    dtype: torch.dtype = torch.float16
    on_cpu: bool = False

    def __post_init__(self) -> None:
        if self.num_levels < 0:
            raise ConfigError(f"num_fp16_res must be >= 0, got {self.num_levels}")
        half_type(self.dtype)

    def covers(self, level: int, top: int) -> bool:
        """Whether a level of a network whose highest is `top` is one of the half levels."""
        return level >= 8 and level * 2**self.num_levels >= 2 * top

    def cast(self, x: Tensor, full: torch.dtype, *, half_level: bool, force_fp32: bool) -> Tensor:
        """Bring x to the type and the memory layout that its level runs in.

        Layout: channels_last for half precision and on the CPU, where convolutions of few channels
        and the kernels around them run faster in it.
        """
        runs_here = x.device.type == "cuda" or self.on_cpu
        if half_level and runs_here and not force_fp32:
            return x.to(dtype=self.dtype, memory_format=torch.channels_last)
        if x.device.type == "cpu":
            return x.to(dtype=full, memory_format=torch.channels_last)
        return x.to(dtype=full)


def half_type(value: torch.dtype | str) -> torch.dtype:
    """Return a half-precision type from itself or from its name, which is what files hold.

    Raises: ConfigError when it is neither float16 nor bfloat16.
    """
    named = {"float16": torch.float16, "bfloat16": torch.bfloat16}
    dtype = named.get(value) if isinstance(value, str) else value
    if dtype not in named.values():
        raise ConfigError(f"half_dtype must be torch.float16 or torch.bfloat16, got {value}")
    return cast(torch.dtype, dtype)


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise ConfigError unless `value` is one of `choices`."""
    if value not in choices:
        raise ConfigError(f"{name} must be one of {list(choices)}, got {value!r}")
