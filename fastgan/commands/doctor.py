"""`fastgan doctor`."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """Say what runs here and check it: versions, backends and a self-test of a few seconds.

    The exit status is 1 when an op disagrees with the specification."""

    json: bool = False
    """Print one JSON object instead of tables."""

    def run(self) -> int:
        """Examine this machine and print the findings."""
        from rich.console import Console

        from fastgan import doctor

        report = doctor.examine()
        if self.json:
            print(json.dumps(report, indent=2))
        else:
            doctor.show(report, Console())
        return 0 if report["ok"] else 1
