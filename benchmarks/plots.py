"""Pictures of the results: times against resolution and batch, the roofline, the layers."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.tables import Row, grouped, kind

MARKERS = {"cpp": "o", "eager": "x", "compile": "+", "scipy": "^"}  # of contenders
BARS = 4  # nets whose layers are shown: the largest


def write(folder: Path) -> list[Path]:
    """Draw what the .jsonl files of a folder have rows for, as .png beside them.

    Returns: the files; none where matplotlib is not installed, which is said in one line.
    """
    try:
        import matplotlib
    except ImportError as error:
        print(f"benchmarks: no plots: {error}; pip install 'fastgan[bench]'", file=sys.stderr)
        return []
    matplotlib.use("Agg")
    rows = [
        json.loads(line)
        for file in sorted(folder.glob("*.jsonl"))
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    drawings: dict[str, Callable[[list[Row]], Any]] = {
        "time_by_resolution": by_resolution,
        "time_by_batch": by_batch,
        "training": training,
        "roofline": roofline,
        "layers": layers,
    }
    written = []
    for name, draw in drawings.items():
        figure = draw(rows)
        if figure is not None:
            written.append(folder / f"{name}.png")
            figure.savefig(written[-1], dpi=100, bbox_inches="tight")
            _pyplot().close(figure)
    return written


def by_resolution(rows: list[Row]) -> Any:
    """Draw milliseconds of an image against resolution, one panel per channel_base."""
    rows = [row for row in rows if row.get("suite") == "synthesis" and row["batch"] == 1]
    panels = list(grouped(rows, ["channel_base"]))
    return _lines(panels, "resolution", lambda row: f"channel_base {row['channel_base']}, batch 1")


def by_batch(rows: list[Row]) -> Any:
    """Draw milliseconds per image against batch, one panel per net of several batches."""
    rows = [row for row in rows if row.get("suite") == "synthesis"]
    panels = [
        found
        for found in grouped(rows, ["resolution", "channel_base"])
        if len({row["batch"] for row in found}) > 1
    ]
    return _lines(panels, "batch", lambda row: f"{row['resolution']}x{row['channel_base']}")


def _lines(panels: list[list[Row]], x: str, title: Callable[[Row], str]) -> Any:
    if not panels:
        return None
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure, axes = _pyplot().subplots(
        lines, columns, figsize=(4.5 * columns, 4 * lines), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    for axis, found in zip(axes.flat, panels, strict=False):
        for name in dict.fromkeys(kind(row) for row in found):
            points = sorted(
                (row[x], row["minimum"] * 1e3 / row["batch"]) for row in found if kind(row) == name
            )
            axis.plot(*zip(*points, strict=True), marker="o", label=name)
        ticks = sorted({row[x] for row in found})
        axis.set(xscale="log", yscale="log", xlabel=x, ylabel="ms per image", title=title(found[0]))
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.minorticks_off()
        low, high = axis.get_ylim()
        steps = [m * 10**e for e in range(-2, 5) for m in (1, 2, 5) if low <= m * 10**e <= high]
        axis.set_yticks(steps, [f"{step:g}" for step in steps])  # a panel may span no whole decade
        axis.grid(alpha=0.3)
    axes[0][-1].legend(loc="upper left", bbox_to_anchor=(1.02, 1))  # beside the panels
    return figure


def training(rows: list[Row]) -> Any:
    """Draw images a second of every contender, one panel per model."""
    panels = list(grouped([row for row in rows if row.get("suite") == "train"], ["case"]))
    if not panels:
        return None
    figure, axes = _pyplot().subplots(
        len(panels), 1, figsize=(7, 2.2 * len(panels)), squeeze=False, layout="constrained"
    )
    for axis, found in zip(axes[:, 0], panels, strict=True):
        axis.barh([row["provider"] for row in found], [row["images_per_second"] for row in found])
        axis.invert_yaxis()
        axis.set(xlabel="images per second", title=found[0]["case"])
    return figure


def roofline(rows: list[Row]) -> Any:
    """Draw the rate of ops and layers against operations per byte, under the machine's bounds."""
    points: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in rows:
        if row.get("flops") and row.get("traffic"):
            point = row["flops"] / row["traffic"], row["flops"] / row["minimum"] / 1e9
            points.setdefault((row["op"], kind(row)), []).append(point)
        for layer in row.get("layers", ()):
            point = layer["flops"] / layer["bytes"], layer["flops"] / layer["ms"] / 1e6
            net = f"layers of {row['resolution']}x{row['channel_base']}"
            points.setdefault((net, "cpp"), []).append(point)
    if not points:
        return None
    figure, axis = _pyplot().subplots(figsize=(7, 5))
    colours = _pyplot().get_cmap("tab20").colors
    names = list(dict.fromkeys(name for name, _ in points))
    for (name, who), found in points.items():
        axis.scatter(
            *zip(*found, strict=True),
            s=18,
            marker=MARKERS.get(who, "v"),
            color=colours[names.index(name) % len(colours)],
            label=name if who == "cpp" else None,
        )
    for who, marker in MARKERS.items():
        axis.scatter([], [], s=18, marker=marker, color="grey", label=who)
    copy, sgemm = (
        max(row.get(key, 0.0) for row in rows) / 1e9 for key in ("copy_bandwidth", "sgemm")
    )
    low = min(x for found in points.values() for x, _ in found) / 2
    high = 2 * max([sgemm / copy, *(x for found in points.values() for x, _ in found)])
    corner = [low, sgemm / copy, high]
    axis.plot(corner, [min(sgemm, x * copy) for x in corner], "k-", label="copy, SGEMM")
    axis.set(xscale="log", yscale="log", xlabel="operations per byte", ylabel="GFLOP/s")
    axis.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.02, 1))
    axis.grid(alpha=0.3)
    return figure


def layers(rows: list[Row]) -> Any:
    """Draw milliseconds of every layer of the largest nets, beside what the machine allows."""
    found = sorted((row for row in rows if row.get("layers")), key=lambda row: row["minimum"])
    found = found[-BARS:]
    if not found:
        return None
    figure, axes = _pyplot().subplots(
        -(-len(found) // 2), 2, figsize=(12, 5 * -(-len(found) // 2)), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for axis, row in zip(axes.flat, found, strict=False):
        _bars(axis, row)
    for axis in axes.flat[len(found) :]:
        axis.remove()
    axes.flat[0].legend(loc="upper right")
    return figure


def _bars(axis: Any, row: Row) -> None:
    """Draw a net: what each layer takes, with its algorithm, and the bound inside."""
    entries = row["layers"]
    bounds = [
        1e3 * max(entry["bytes"] / row["copy_bandwidth"], entry["flops"] / row["sgemm"])
        for entry in entries
    ]
    names = [entry["name"] for entry in entries]
    bars = axis.barh(names, [entry["ms"] for entry in entries], label="measured")
    axis.barh(names, bounds, height=0.3, label="roofline")
    most = max(*bounds, *(entry["ms"] for entry in entries))
    algorithms = [entry["algorithm"].split(", ")[0] for entry in entries]
    beyond = [max(bound - entry["ms"], 0.0) for entry, bound in zip(entries, bounds, strict=True)]
    for bar, text, over in zip(bars, algorithms, beyond, strict=True):
        axis.text(
            bar.get_width() + over + most / 60, bar.get_y() + bar.get_height() / 2, text,
            va="center", fontsize="x-small",
        )  # fmt: skip
    axis.invert_yaxis()
    axis.set(xlabel="ms", title=row["case"], xlim=(0, 1.3 * most))


def _pyplot() -> Any:
    from matplotlib import pyplot

    return pyplot
