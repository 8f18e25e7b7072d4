"""The regression gate: times as ratios to SGEMM's in the same run, against those of a stored run.

A ratio moves less than a time when the machine is busy or its clock is slower. It means nothing on
another machine, so runs are kept by what the machine is.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import report
from fastgan.errors import ConfigError

LIMIT = 1.15
STORED = report.RESULTS / "gate.json"


@dataclass(frozen=True)
class Ratio:
    """Seconds of a call over those of a matrix product in the same run."""

    minimum: float
    median: float


def machine_name(facts: report.Row) -> str:
    """Return what runs have in common that may be compared."""
    return f"{facts['cpu']}, {facts['cpu_capability']}, {facts['threads']} threads"


@dataclass
class Gate:
    """Compares the ratios of this run with the stored ones of this machine.

    Attributes:
        file: where runs are stored.
        facts: of this run, see `report.machine`.
        found: ratios of this run so far, by call.
    """

    file: Path
    facts: report.Row
    found: dict[str, Ratio] = field(default_factory=dict)

    @property
    def stored(self) -> dict[str, Any] | None:
        """The stored run of this machine; None where there is none.

        Raises: ConfigError when the file is damaged.
        """
        run: dict[str, Any] | None = self._runs().get(machine_name(self.facts))
        return run

    def judge(self, name: str, ratio: Ratio) -> str | None:
        """Note a ratio; return why it fails, None when it does not or there is nothing stored.

        Both minimum and median must be above the limit: a busy machine moves one of them.
        """
        self.found[name] = ratio
        run = self.stored
        if run is None or name not in run["ratios"]:
            return None
        before = Ratio(**run["ratios"][name])
        slower = ratio.minimum / before.minimum, ratio.median / before.median
        if min(slower) <= LIMIT:
            return None
        return (
            f"{name} takes {ratio.minimum:.4g} times as long as the matrix product of this run "
            f"(median {ratio.median:.4g}), and took {before.minimum:.4g} ({before.median:.4g}) at "
            f"commit {run['commit']}: {slower[0]:.2f} ({slower[1]:.2f}) times as much, the limit "
            f"is {LIMIT:g}. Run again on a quiet machine; if the change is meant, "
            "`make bench-gate ARGS=--store` keeps it."
        )

    def store(self) -> None:
        """Keep this run for its machine, in place of the one before."""
        runs = self._runs()
        before = runs.get(machine_name(self.facts), {"ratios": {}})
        ratios = {name: asdict(ratio) for name, ratio in self.found.items()}
        runs[machine_name(self.facts)] = {
            "commit": self.facts["commit"],
            "torch": self.facts["torch"],
            "ratios": before["ratios"] | ratios,
        }
        self.file.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(runs, indent=2, sort_keys=True) + "\n"
        self.file.write_text(text, encoding="utf-8")

    def summary(self, *, stores: bool) -> list[str]:
        """Return what was compared with what, a line per call."""
        name, run = machine_name(self.facts), self.stored
        if run is None and not stores:
            known = ", ".join(self._runs()) or "none"
            lines = [
                f"gate: nothing to compare with: {self.file} has no run of this machine ({name}; "
                f"it has: {known}). `make bench-gate ARGS=--store` keeps this one."
            ]
        elif stores:
            lines = [f"gate: stored in {self.file} as {name}; nothing was compared"]
        else:
            lines = [f"gate: compared with commit {(run or {})['commit']} on {name}"]
        for call, ratio in self.found.items():
            before = (run or {"ratios": {}})["ratios"].get(call)
            change = ", new" if before is None else f", {ratio.minimum / before['minimum']:.2f} of"
            known_as = "" if before is None else " what it was"
            lines.append(f"gate: {call} {ratio.minimum:.4g} x SGEMM{change}{known_as}")
        return lines

    def _runs(self) -> dict[str, Any]:
        if not self.file.is_file():
            return {}
        try:
            runs: dict[str, Any] = json.loads(self.file.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ConfigError(
                f"{self.file} is no JSON ({error}); restore it or delete it and store a new run"
            ) from error
        return runs
