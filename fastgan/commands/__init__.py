"""One file per command: a dataclass `Options` with what `--help` documents and a method `run`.

A command that derives options from others (train: those of the recipe) adds `prepare(argv)`,
which returns such a class and the arguments to read with it. Modules import heavy rooms inside
functions, so that --help stays quick.
"""

from __future__ import annotations

from typing import Protocol

COMMANDS = (
    "demo", "train", "plan", "generate", "metrics", "recipes", "doctor", "selftest", "warmup",
    "tune", "bench",
)  # fmt: skip


class Command(Protocol):
    """Parsed options that can run."""

    def run(self) -> int:
        """Do it and return the exit status."""
