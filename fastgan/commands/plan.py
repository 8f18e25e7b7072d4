"""`fastgan plan`: the options of `fastgan train`, and what the run would need."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass

from fastgan.commands import train
from fastgan.commands.source import Source
from fastgan.config import TrainConfig, check_range


@dataclass(frozen=True, kw_only=True)
class Options(train.Selection):
    """Estimate what a run needs before it starts: memory, micro-batch, images/s and time.

    Takes the options of `fastgan train`, builds the networks, runs a few images through each phase
    and times a few steps. Nothing is written."""

    memory: float | None = None
    """Memory of a device to plan for, in GiB. Left out: what this machine has free."""
    devices: int = 1
    """Devices to divide the batch over, one process each."""
    probe_seconds: float = 60.0
    """Whole steps are timed if they take no longer than this; else the time is scaled from a few
    images."""
    json: bool = False
    """Print one JSON object, in bytes and seconds, in place of the table."""
    source: Source
    config: TrainConfig

    def run(self) -> int:
        """Probe and print."""
        from rich.console import Console

        from fastgan import recipes
        from fastgan.training import keep_freed_memory, plan
        from fastgan.training.planner import show

        check_range("memory", self.memory, above=0)
        check_range("probe_seconds", self.probe_seconds, low=0)
        keep_freed_memory()
        found = plan(
            self.config,
            recipes.get(self.recipe),
            self.source.open(),
            memory=None if self.memory is None else round(self.memory * 2**30),
            devices=self.devices,
            probe_seconds=self.probe_seconds,
        )
        if self.json:
            print(json.dumps(dataclasses.asdict(found), indent=2))
        else:
            show(found, Console())
        return 0 if found.fits else 1


def prepare(argv: Sequence[str]) -> tuple[type, list[str]]:
    """Choose recipe and preset, as `fastgan train` does."""
    return train.prepare(argv, Options)
