"""What the machine can do at best, measured in the same run: copy bandwidth and SGEMM rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from benchmarks.timing import Timing, measure

COPY, SGEMM = "machine/copy", "machine/sgemm"  # names among the contenders of a run


@dataclass(frozen=True)
class Peaks:
    """Rates of this machine with the threads in use.

    Attributes:
        copy: bytes read and written per second by a copy far larger than the caches.
        sgemm: floating-point operations per second of a float32 matrix product.
    """

    copy: float
    sgemm: float

    def seconds(self, traffic: float, flops: float) -> float:
        """Return the least time for so many bytes and operations: the larger of the two."""
        return max(traffic / self.copy, flops / self.sgemm)


class MachineCalls:
    """A copy and a matrix product, to be timed in turn with the contenders of a run.

    Args:
        quick: take small arrays.
    """

    def __init__(self, *, quick: bool = False) -> None:
        elements, self.width = (2**20, 256) if quick else (2**25, 2048)
        source, target = torch.randn(elements), torch.empty(elements)
        a, b, c = (torch.randn(self.width, self.width) for _ in range(3))
        self.nbytes = 2 * source.nbytes  # read and written
        self.calls: dict[str, Callable[[], object]] = {
            COPY: lambda: target.copy_(source),
            SGEMM: lambda: torch.mm(a, b, out=c),
        }

    def peaks(self, timings: Mapping[str, Timing]) -> Peaks:
        """Return the rates that go with the minimum times of the two calls."""
        flops = 2 * self.width**3
        return Peaks(self.nbytes / timings[COPY].minimum, flops / timings[SGEMM].minimum)


def measure_peaks(*, quick: bool = False) -> Peaks:
    """Measure both rates; `quick` takes smaller arrays and fewer rounds."""
    machine = MachineCalls(quick=quick)
    return machine.peaks(measure(machine.calls, rounds=3 if quick else 15))
