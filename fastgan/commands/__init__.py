"""One file per command: a dataclass `Options` with what `--help` documents and a method `run`.

A command that derives options from others (train: those of the recipe) adds `build(argv)`, which
returns such a class. Modules import heavy rooms inside functions, so that --help stays quick.
"""

from __future__ import annotations

from typing import Protocol

COMMANDS = ("doctor",)


class Command(Protocol):
    """Parsed options that can run."""

    def run(self) -> int:
        """Do it and return the exit status."""
