"""`fastgan bench NAME`: a group of commands, one class per name in BENCHES."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fastgan.errors import ConfigError


@dataclass(frozen=True)
class Options:
    """Bounds and times; `fastgan bench ops --help` tells of the bench of the ops."""

    def run(self) -> int:
        """Say which benches there are."""
        raise ConfigError(f"bench: name one of {', '.join(BENCHES)}, as in fastgan bench ops")


@dataclass(frozen=True)
class Ops:
    """For every call of an op in a StyleGAN2: operations, least bytes, bytes that the kernels move,
    the bound that a GPU sets, and, where there is one, measured times.

    Bytes that kernels move are counted in sectors of 32 bytes, once for each block of threads."""

    model: Literal["h100", "a100", "4090"] | None = None
    """GPU whose peak rates set the bounds. None: the one that is here, or no bounds."""
    resolution: tuple[int, ...] = (256, 1024)
    """Networks, by the side of their images; sizes and batch are those of their presets."""
    dtype: tuple[Literal["fp32", "fp16", "tf32"], ...] = ("fp16", "fp32")
    """Types of the images; tf32 is fp32 with convolutions in TensorFloat-32."""
    op: Literal["bias_act", "upfirdn2d", "modulated_conv2d", "spectral_norm"] | None = None
    """One op. None: all."""
    batch: int | None = None
    """Images. None: those of the preset."""
    json: Path | None = None
    """Also write the rows to this file."""

    def run(self) -> int:
        """Count, time where there is a GPU, and print."""
        from fastgan.roofline import report

        report.bench_ops(self.model, self.resolution, self.dtype, self.batch, self.json, op=self.op)
        return 0


BENCHES = {"ops": Ops}


def prepare(argv: Sequence[str]) -> tuple[type, list[str]]:
    """The class of the bench that argv names first, and the rest of argv.

    Raises: ConfigError when there is no such bench.
    """
    if not argv or argv[0].startswith("-"):
        return Options, list(argv)
    if argv[0] not in BENCHES:
        raise ConfigError(f"bench: no bench {argv[0]!r}; there are {', '.join(BENCHES)}")
    return BENCHES[argv[0]], list(argv[1:])
