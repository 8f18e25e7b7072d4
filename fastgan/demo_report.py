"""What the demo tells: the facts of report.json, the plot of the losses, the table at the end."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import nn

from fastgan.dispatch import OPS, probe, select
from fastgan.files import replacing
from fastgan.training import TrainingState

CURVES = (("loss_d", "loss_g"), ("d_real_accuracy", "d_fake_accuracy"))


def report_of(state: TrainingState, seconds: float, generator: nn.Module) -> dict[str, Any]:
    """What was trained, on what, how long (in seconds) and how fast."""
    weights = sum(parameter.numel() for parameter in generator.parameters())
    return {
        "backends": {op: select(op, torch.empty(0, device=state.device)) for op in OPS},
        "device": str(state.device),
        "training": {
            "images": state.images_seen,
            "steps": state.step,
            "seconds": round(seconds, 2),
            "images_per_second": state.images_seen / max(seconds, 1e-9),
            "generator_parameters": weights,
            "config": json.loads(state.config.to_json()),
        },
        "dataset": {"name": state.dataset.name, "images": len(state.dataset)},
        "versions": probe.versions(),
    }


def plot_losses(metrics: Path, path: Path) -> bool:
    """Draw the losses and accuracies of a metrics.jsonl; False when matplotlib is not there."""
    if importlib.util.find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure  # optional: an extra

    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    figure = Figure(figsize=(7, 6), layout="constrained")
    for axes, names in zip(figure.subplots(len(CURVES), 1, sharex=True), CURVES, strict=True):
        for name in names:
            points = [(line["kimg"], line[name]) for line in lines if name in line]
            axes.plot(*zip(*points, strict=True) if points else ([], []), label=name)
        axes.legend()
        axes.grid(alpha=0.3)
    axes.set_xlabel("thousand images shown to the discriminator")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
    return True


def summary_table(report: Mapping[str, Any], out: Path) -> Table:
    """The report in a dozen lines."""
    training, synthesis, quality = report["training"], report["synthesis"], report["quality"]
    table = Table("what", "value", title=f"demo: results in {out}")
    backends = ", ".join(f"{op} {name}" for op, name in report["backends"].items())
    table.add_row("backends", f"{backends} on {report['device']}")
    seconds = f"{training['seconds']:.0f} s"
    table.add_row("training", f"{training['images']:,} images in {seconds}")
    table.add_row("training speed", f"{training['images_per_second']:.1f} images/s")
    speed = (
        f"{synthesis['frames_per_second']:.0f} frames/s at batch 1, engine {synthesis['engine']}"
    )
    table.add_row("synthesis speed", speed)
    for name, ratio in quality["ratios"].items():
        sign = ">=" if name == "diversity" else "<="
        verdict = "met" if quality["met"][name] else "NOT met"
        table.add_row(name, f"{ratio:.3f} (bar {sign} {quality['bars'][name]}: {verdict})")
    table.add_row("wall time", f"{report['wall_seconds']:.0f} s")
    return table
