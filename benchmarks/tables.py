"""Markdown tables of the benchmarks of whole networks, and the list of the ops' lost rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

Row: TypeAlias = dict[str, Any]

LOST = 1.05  # times the best contender's minimum
MAIN = "fastgan"  # the contender of the networks' benchmarks that the others are compared with


def grouped(found: Iterable[Row], keys: Iterable[str]) -> Iterator[list[Row]]:
    """Yield the rows that agree in some keys, in the order in which they come."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in found:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    yield from groups.values()


def losers(found: Iterable[Row], keys: Iterable[str]) -> str:
    """List where the best of fastgan's backends takes longer than LOST times the best contender.

    A contender's provider has a slash in its name, a backend has none.
    """
    lines = []
    for rows in grouped(found, keys):
        ours = [row for row in rows if "/" not in row["provider"]]
        others = [row for row in rows if "/" in row["provider"]]
        if not ours or not others:
            continue
        best, rival = (min(side, key=lambda row: row["minimum"]) for side in (ours, others))
        ratio = best["minimum"] / rival["minimum"]
        if ratio > LOST:
            case = f"{best['case']}, {best['layout']}".removesuffix(", contiguous")
            lines.append(
                f"- {best['op']} {case}, {best['pass']}: {best['provider']} takes {ratio:.2f} "
                f"({best['median'] / rival['median']:.2f}) times as long as {rival['provider']}"
            )
    known = f"more than {LOST:g} times as long as the best contender, by minimum (median)"
    return "\n".join([f"Kernels that take {known}:", "", *(lines or ["- none"])])


def synthesis(found: list[Row]) -> str:
    """Return one line per net; milliseconds of each contender."""
    kinds = list(dict.fromkeys(kind(row) for row in found))
    head = ["net", *kinds, "of the fastest", "direct", "roofline", "worst error"]
    lines = [_line(head), _line(["---"] * len(head))]
    for rows in grouped(found, ["case"]):
        best = {name: _best(rows, name) for name in kinds}
        ours = best.get(MAIN)
        roofline = ours["roofline_bound"] if ours else None
        errors = [row["error"] for row in rows if row["error"] is not None]
        lines.append(
            _line([
                rows[0]["case"],
                *(_time(row) for row in best.values()),
                _against(ours, _peers(rows)),
                f"{rows[0]['direct_bound'] * 1e3:.3g}",
                f"{roofline * 1e3:.3g}" if roofline else "-",
                f"{max(errors):.1e}" if errors else "-",
            ])
        )  # fmt: skip
    return "\n".join([*lines, "", *_layers(found)]).rstrip()


def _layers(found: list[Row]) -> Iterator[str]:
    for row in found:
        if row.get("layers"):
            entries = [
                f"{entry['name']} {entry['algorithm']} {entry['ms']:.3g}" for entry in row["layers"]
            ]
            yield f"Layers of {row['case']}, milliseconds: {', '.join(entries)}."
            yield ""


def growth(found: list[Row]) -> str:
    """Return one line per size: time, roofline, their ratio, its growth, memory."""
    head = ["net", MAIN, "roofline", "over it", "growth", "resident MB", "of the least"]
    lines = [_line(head), _line(["---"] * len(head))]
    for rows in grouped(found, ["case"]):
        for row in rows:
            over, first = _over_roofline(row), _over_roofline(rows[0])
            grown = [one / other for one, other in zip(over, first, strict=True)]
            memory = row["memory"]
            cells = ["-", "-"]
            if memory:
                least = memory["weights"] + memory["two_largest_activations"]
                resident = memory["resident"]
                cells = [f"{resident / 1e6:.0f}", f"{resident / least:.2f}"]
            bounds = {key: row[f"roofline_{key}"] for key in ("minimum", "median")}
            net = f"{row['resolution']}x{row['channel_base']} batch {row['batch']}"
            ratios = [f"{pair[0]:.3f} ({pair[1]:.3f})" for pair in (over, grown)]
            lines.append(_line([net, _time(row), _time(bounds), *ratios, *cells]))
    return "\n".join(lines)


def _over_roofline(row: Row) -> tuple[float, float]:
    """By minimum and by median; without layers that are known, there is no roofline."""
    by_minimum, by_median = (
        row[key] / row[f"roofline_{key}"] if row[f"roofline_{key}"] else float("nan")
        for key in ("minimum", "median")
    )
    return by_minimum, by_median


def train(found: list[Row]) -> str:
    """Return one line per contender: milliseconds of phases, images a second, and ratios."""
    lines = []
    for rows in grouped(found, ["case"]):
        phases = list(rows[0]["phases"])
        head = ["model", "contender", *phases, "images/s", f"{MAIN} over it"]
        lines += ["", _line(head), _line(["---"] * len(head))]
        ours = _best(rows, MAIN)
        for row in rows:
            ratio = "-"
            if ours is not None:
                ratio = f"{ours['images_per_second'] / row['images_per_second']:.2f} "
                ratio += (
                    f"({ours['images_per_second_median'] / row['images_per_second_median']:.2f})"
                )
            speed = f"{row['images_per_second']:.3g} ({row['images_per_second_median']:.3g})"
            times = [_time(row["phases"][phase]) for phase in phases]
            lines.append(_line([row["case"], row["provider"], *times, speed, ratio]))
    return "\n".join(lines[1:])


def kind(row: Row) -> str:
    """Return the provider without the way in which it was written."""
    provider: str = row["provider"]
    return provider if ":" in provider else provider.split("/")[0]


def _best(rows: Iterable[Row], name: str) -> Row | None:
    found = [row for row in rows if kind(row) == name]
    return min(found, key=lambda row: row["minimum"]) if found else None


def _peers(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if not row["provider"].startswith(MAIN)]


def against(row: Row, peers: list[Row], key: str) -> float:
    """Return a row's time over that of the fastest of others, by `key`."""
    return float(row[key] / min(peer[key] for peer in peers))


def _against(row: Row | None, peers: list[Row]) -> str:
    if row is None or not peers:
        return "-"
    return f"{against(row, peers, 'minimum'):.2f} ({against(row, peers, 'median'):.2f})"


def _time(row: Row | None) -> str:
    if row is None:
        return "-"
    way = row.get("provider", "").partition("/")[2] if ":" not in row.get("provider", "") else ""
    return f"{row['minimum'] * 1e3:.3g} ({row['median'] * 1e3:.3g}) {way}".rstrip()


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def metrics(found: list[Row]) -> str:
    """Return one line per size of the Fréchet distance; milliseconds, minimum (median)."""
    lines = [_line(["features", "fastgan", "scipy", "x"]), _line(["---"] * 4)]
    for rows in grouped(found, ["case"]):
        ours, theirs = (
            next(row for row in rows if row["provider"] == name) for name in (MAIN, "scipy")
        )
        cells = [
            f"{row['minimum'] * 1e3:.0f} ({row['median'] * 1e3:.0f})" for row in (ours, theirs)
        ]
        ratios = [theirs[key] / ours[key] for key in ("minimum", "median")]
        lines.append(_line([rows[0]["case"], *cells, f"{ratios[0]:.1f} ({ratios[1]:.1f})"]))
    return "\n".join(lines)
