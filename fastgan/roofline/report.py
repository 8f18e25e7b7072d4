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
from fastgan.roofline import calls, rows, table
from fastgan.roofline.calls import Call, DType
from fastgan.roofline.machines import Machine, from_device_name, machine
from fastgan.roofline.measured import measured, op_of
from fastgan.roofline.rows import Row

WIDTH = 100  # of tables that go to a file or a pipe

EXPLANATION = """\
n: calls in one forward and backward pass of generator and discriminator. MB: least traffic; us: \
bound by that and by the arithmetic. cuda MB, triton MB (x times the least; red above the goal), \
L2 MB (cuda/triton): sectors of 32 bytes, once for each block of threads, which is what crosses \
from the L2 cache. saved: passes over the activation that the kernels save against the unfused \
sequence of operations. spectral_norm: what normalising D would add.
modulated_conv2d: with noise, bias and activation. work x (cuda/triton): operations that the \
kernels do over those that are needed. extra: reads and writes of an image between kernels. The \
bound takes the L2 cache to keep what blocks share, the weight above all. grad: gradient of the \
input; again: what the gradient of the demodulation computes again."""


def bench_ops(
    model: str | None,
    resolutions: Sequence[int],
    dtypes: Sequence[DType],
    batch: int | None,
    json: Path | None,
    console: Console | None = None,
    op: str | None = None,
) -> None:
    """Print tables for each network and dtype; see `fastgan.commands.bench.Ops`.

    Raises: ConfigError when a resolution is not that of a preset.
    """
    console = console or Console()
    if not console.is_terminal:
        console = Console(width=WIDTH, file=console.file)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    peaks = machine(model) if model else from_device_name(gpu or "")
    console.print(EXPLANATION, highlight=False)
    console.print(_bounds(peaks), highlight=False)
    console.print(f"measured on {gpu}" if gpu else "no times: no CUDA device was found")
    found: dict[str, list[Row]] = {}
    for resolution in resolutions:
        for dtype in dtypes:
            counted = network(resolution, batch, dtype)
            if op is not None:
                counted = {call: n for call, n in counted.items() if op_of(call) == op}
            title = f"StyleGAN2-{resolution}, {dtype}"
            found[title] = rows.rows(counted.items(), peaks) if gpu is None else []
            if gpu is not None:
                found[title] = _timed(title, counted, peaks, console)
            for view in table.tables(title, found[title]):
                console.print()
                console.print(view)
    if json is not None:
        rows_of = {title: [asdict(row) for row in listed] for title, listed in found.items()}
        write_json(json, {"machine": asdict(peaks) if peaks else None, "gpu": gpu, "rows": rows_of})


def _timed(
    title: str, counted: dict[Call, int], peaks: Machine | None, console: Console
) -> list[Row]:
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(title, total=len(counted))
        found = measured(counted.items(), peaks, "cuda", progress=lambda: bar.advance(task))
    return rows.in_order(found)


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
        f"TFLOP/s (fp16 convolutions), {peaks.tf32 / 1e12:.4g} (tf32), {peaks.plain / 1e12:.3g} "
        "(fp32 and all else); "
        f"{peaks.source}"
    )
