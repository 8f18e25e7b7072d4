"""What `fastgan bench ops` prints and writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from fastgan.errors import ConfigError
from fastgan.files import write_json
from fastgan.networks.geometry import Widths
from fastgan.recipes import stylegan2
from fastgan.roofline import calls, table
from fastgan.roofline.calls import Call, DType
from fastgan.roofline.machines import Machine, from_device_name, machine
from fastgan.roofline.measured import measured
from fastgan.roofline.table import Row

WIDTH = 150  # of tables that go to a file or a pipe

EXPLANATION = """\
n: calls in one forward and backward pass of generator and discriminator. MB: least traffic. Bytes
moved (x times the least; red above the goal) are sectors of 32 bytes, once for each block of
threads: what crosses from the L2 cache. saved: passes over the activation that the kernels save
against the unfused sequence of operations. spectral_norm: what normalising D would add."""


def bench_ops(
    model: str | None,
    resolutions: Sequence[int],
    dtypes: Sequence[DType],
    batch: int | None,
    json: Path | None,
    console: Console | None = None,
) -> None:
    """Print a table for each network and dtype; see `fastgan.commands.bench.Ops`.

    Raises: ConfigError when a resolution is not that of a preset.
    """
    console = console or Console()
    if not console.is_terminal:
        console = Console(width=WIDTH, file=console.file)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    peaks = machine(model) if model else from_device_name(gpu or "")
    console.print(EXPLANATION.replace("\n", " "))
    console.print(_bounds(peaks))
    console.print(f"measured on {gpu}" if gpu else "no times: no CUDA device was found")
    found: dict[str, list[Row]] = {}
    for resolution in resolutions:
        for dtype in dtypes:
            counted = network(resolution, batch, dtype)
            title = f"StyleGAN2-{resolution}, {dtype}"
            found[title] = table.rows(counted.items(), peaks) if gpu is None else []
            if gpu is not None:
                found[title] = _timed(title, counted, peaks, console)
            console.print(table.table(title, found[title]))
    if json is not None:
        rows_of = {title: [asdict(row) for row in rows] for title, rows in found.items()}
        write_json(json, {"machine": asdict(peaks) if peaks else None, "gpu": gpu, "rows": rows_of})


def _timed(
    title: str, counted: dict[Call, int], peaks: Machine | None, console: Console
) -> list[Row]:
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(title, total=len(counted))
        rows = measured(counted.items(), peaks, "cuda", progress=lambda: bar.advance(task))
    return table.in_order(rows)


def network(resolution: int, batch: int | None, dtype: DType) -> dict[Call, int]:
    """The calls of the preset network of a resolution.

    Raises: ConfigError when there is none.
    """
    preset = stylegan2.PRESETS.get(f"stylegan2-{resolution}")
    if preset is None:
        raise ConfigError(f"no preset stylegan2-{resolution}; see fastgan recipes")
    config = preset()
    widths = Widths(config.channel_base, config.channel_max)
    return calls.stylegan2(resolution, batch or config.batch, widths, dtype)


def _bounds(peaks: Machine | None) -> str:
    if peaks is None:
        return "no bounds: say --model h100, a100 or 4090"
    return (
        f"bounds of {peaks.name}: {peaks.bandwidth / 1e12:.3g} TB/s, {peaks.tensor / 1e12:.4g} "
        f"TFLOP/s (tensor cores, fp16 convolutions), {peaks.plain / 1e12:.3g} TFLOP/s (fp32); "
        f"{peaks.source}"
    )
