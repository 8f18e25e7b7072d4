"""`fastgan bench NAME`: a group of commands, of which those beside `ops` live in benchmarks/."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from fastgan.errors import ConfigError


@dataclass(frozen=True)
class Options:
    """Bounds and times: `fastgan bench ops|synth|growth|train --help`."""

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
    timed: bool = False
    """Instead, time the ops on the CPU against plain PyTorch, torch.compile and scipy, as python -m
    benchmarks does in a clone of the repository."""
    quick: bool = False
    """With --timed: tiny shapes and few rounds."""
    out: Path | None = None
    """With --timed: folder for results. None: benchmarks/results, and nothing of a quick run."""

    def run(self) -> int:
        """Count, time where there is a GPU, and print; or run the benchmarks."""
        if self.timed:
            suites = source_tree("ops --timed")
            return suites.run(suites.OPS, suites.Options(quick=self.quick, out=self.out))
        from fastgan.roofline import report

        if self.batch is not None and self.batch < 1:
            raise ConfigError(f"batch: expected at least 1, got {self.batch}")
        if self.json is not None and self.json.is_dir():
            raise ConfigError(f"json: expected a file, {self.json} is a folder")
        report.bench_ops(self.model, self.resolution, self.dtype, self.batch, self.json, op=self.op)
        return 0


BENCHES = ("ops", "synth", "growth", "train")


def prepare(argv: Sequence[str]) -> tuple[type, list[str]]:
    """The class of the bench that argv names first, and the rest of argv.

    Raises: ConfigError when there is no such bench, or none of its files.
    """
    if not argv or argv[0].startswith("-"):
        return Options, list(argv)
    name = argv[0]
    if name not in BENCHES:
        raise ConfigError(f"bench: no bench {name!r}; there are {', '.join(BENCHES)}")
    command = Ops if name == "ops" else source_tree(name).COMMANDS[name]
    return command, list(argv[1:])


def source_tree(bench: str) -> Any:
    """Import the benchmarks, which lie beside the package in the repository.

    Raises: ConfigError where the package is installed without them.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / "benchmarks" / "suites.py").is_file():
        raise ConfigError(
            f"bench {bench}: the benchmarks are part of the repository, not of the installed "
            "package; clone it and run `make bench` there"
        )
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    return import_module("benchmarks.suites")
