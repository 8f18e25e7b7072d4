"""`fastgan recipes`."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # rich comes with `run`, so that --help stays quick
    from rich.table import Table

KEY_NUMBERS = ("batch", "total_kimg", "lr_g", "r1_gamma", "channel_base", "channel_max", "channels")


@dataclass(frozen=True)
class Options:
    """List the recipes and their presets, with what each is for and its key numbers."""

    def run(self) -> int:
        """Print one table per recipe."""
        from rich.console import Console

        from fastgan import recipes

        console = Console()
        for name in recipes.names():
            console.print(_table(name, recipes.get(name)))
        console.print(
            "fastgan train --recipe NAME --preset NAME --help lists every setting; a preset's name "
            "may leave out the recipe's."
        )
        return 0


def _table(name: str, module: Any) -> Table:
    from rich.table import Table

    table = Table(title=f"{name}: {first_line(module)}", title_justify="left", expand=True)
    table.add_column("preset", no_wrap=True)
    table.add_column("what it is; key numbers", ratio=1)
    for preset, make in module.PRESETS.items():
        config = make()
        numbers = [
            f"{key} {_number(getattr(config, key))}" for key in KEY_NUMBERS if hasattr(config, key)
        ]
        about = first_line(make)
        table.add_row(preset, "\n".join(filter(None, [about, ", ".join(numbers)])))
    return table


def first_line(thing: Any) -> str:
    """The first line of a docstring, without the full stop; "" where there is none."""
    function = thing.func if isinstance(thing, functools.partial) else thing
    line = (inspect.getdoc(function) or "").partition("\n")[0].rstrip(".")
    line = line.removeprefix("Return ")
    return line[:1].upper() + line[1:]


def _number(value: float | None) -> str:
    return "auto" if value is None else f"{value:g}"
