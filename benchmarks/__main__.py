"""python -m benchmarks [NAME ...]: run all benchmarks or the named ones, and print results."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated

import tyro

from benchmarks import suites
from benchmarks.runner import Options
from benchmarks.suites import NAMES
from fastgan.errors import FastganError


@dataclass(frozen=True)
class Command(Options):
    """Time fastgan against plain PyTorch, torch.compile and others, in one process, in turn."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Which benchmarks; all when none is named."""


def main() -> int:
    """Run; return the exit status."""
    command = tyro.cli(Command, description=f"The benchmarks: {', '.join(NAMES)}.")
    try:
        return suites.run(command.names or NAMES, command)
    except FastganError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
