"""Tables of rows, each within 100 columns: one for an op, and one of times."""

from __future__ import annotations

from collections.abc import Callable

from rich.table import Table

from fastgan.roofline.rows import Row

BACKENDS = ("cuda", "triton")
WORDS = ("pass", "input", "limit")
Column = tuple[str, Callable[[Row], str]]


def tables(title: str, found: list[Row]) -> list[Table]:
    """A table for each op, and one of the times where there are any."""
    families = list(dict.fromkeys(r.family for r in found))
    views = []
    for family in families:
        of_family = [r for r in found if r.family == family]
        columns = _counts if family != "modulated_conv2d" else _convolutions
        views.append(_table(f"{title}: {family}", columns(), of_family))
    if any(r.seconds for r in found):
        views.append(times(f"{title}: times", found))
    return views


def times(title: str, found: list[Row]) -> Table:
    """Measured microseconds, and what part of them the bound is."""
    names = sorted({name for r in found for name in r.seconds})
    columns: list[Column] = [("op", lambda r: r.op), ("input", lambda r: r.shape), _COUNT, _BOUND]
    columns += [(f"{name} us (of bound)", _measured(name)) for name in names]
    return _table(title, columns, found)


def _table(title: str, columns: list[Column], found: list[Row]) -> Table:
    view = Table(title=title, box=None, padding=(0, 1, 0, 0), title_justify="left")
    for head, _ in columns:
        words = head in (*WORDS, "op")
        view.add_column(head, justify="left" if words else "right", no_wrap=True)
    for r in found:
        view.add_row(*(cell(r) for _, cell in columns))
    return view


def number(value: float) -> str:
    """Three digits or decimals, in at most six characters below a million."""
    if value >= 100:
        return f"{value:.0f}"
    if value >= 1:
        return f"{value:.3g}"
    return f"{value:.3f}" if value >= 0.001 else "<0.001"


_PASS: Column = ("pass", lambda r: r.op.partition(" ")[2] or "-")
_COUNT: Column = ("n", lambda r: str(r.count))
_FLOPS: Column = ("GFLOP", lambda r: number(r.flops / 1e9))
_LEAST: Column = ("MB", lambda r: number(r.compulsory / 1e6))
_BOUND: Column = ("us", lambda r: "-" if r.bound is None else f"{r.bound * 1e6:.1f}")
_LIMIT: Column = ("limit", lambda r: r.limit or "-")
_SAVED: Column = ("saved", lambda r: _both(r.saved))


def _counts() -> list[Column]:
    columns = [_PASS, ("input", lambda r: r.shape), _COUNT, _FLOPS, _LEAST]
    columns += [(f"{name} MB", _moved(name)) for name in BACKENDS]
    return [*columns, _BOUND, _LIMIT, _SAVED]


def _convolutions() -> list[Column]:
    columns = [_PASS, ("input", lambda r: r.shape), _COUNT, _FLOPS, ("work x", _work), _LEAST]
    columns += [("L2 MB", _asked), ("extra", lambda r: _both(r.extra))]
    return [*columns, _BOUND, _LIMIT, _SAVED]


def _both(values: dict[str, int]) -> str:
    """One number where the backends agree, else cuda / triton."""
    distinct = list(dict.fromkeys(values.values()))
    return str(distinct[0]) if len(distinct) == 1 else "/".join(map(str, values.values()))


def _asked(r: Row) -> str:
    return "/".join(number(r.moved[name] / 1e6) for name in BACKENDS)


def _work(r: Row) -> str:
    return "/".join(f"{r.done[name] / r.flops:.2f}" for name in BACKENDS)


def _moved(backend: str) -> Callable[[Row], str]:
    def cell(r: Row) -> str:
        if backend not in r.moved:
            return "-"
        missed = r.goal is not None and r.ratio(backend) > r.goal
        text = f"{number(r.moved[backend] / 1e6)} ({r.ratio(backend):.2f}x)"
        return f"[red]{text}[/]" if missed else text

    return cell


def _measured(backend: str) -> Callable[[Row], str]:
    def cell(r: Row) -> str:
        if backend not in r.seconds:
            return "-"
        seconds = r.seconds[backend]
        share = "" if r.bound is None else f" ({r.bound / seconds:.0%})"
        return f"{seconds * 1e6:.1f}{share}"

    return cell
