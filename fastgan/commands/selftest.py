"""`fastgan selftest`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """Verify this machine: every kernel against the specification, the same bits twice, memory
    given back, and times beside plain PyTorch. Writes a report to attach to a bug report.

    The exit status is 0 only when every check passed and a backend with kernels ran."""

    device: str = "cuda"
    """What to verify: cuda, cuda:1 or cpu."""
    quick: bool = False
    """Few cases, two dtypes, no torch.compile and no training step."""
    output: Path = Path("out/selftest")
    """Folder of the report, selftest-DEVICE.json and .md."""

    def run(self) -> int:
        """Verify, write and print."""
        import sys

        from rich.console import Console

        from fastgan.errors import BackendUnavailableError
        from fastgan.verify import report, suite
        from fastgan.verify.device import open_device

        try:
            device = open_device(self.device)
        except BackendUnavailableError as error:
            print(f"fastgan selftest: nothing was verified: {error}", file=sys.stderr)
            return 1
        console = Console()
        found = suite.run(device, quick=self.quick, console=console)
        files = report.write(found, self.output)
        report.show(found, console)
        console.print("report: " + ", ".join(map(str, files)))
        return 0 if found.ok else 1
