"""What the machine can do at best, measured in the same run: copy bandwidth and SGEMM rate."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.timing import measure


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


def measure_peaks(*, quick: bool = False) -> Peaks:
    """Measure both rates; `quick` takes smaller arrays and fewer rounds."""
    elements, width = (2**20, 256) if quick else (2**25, 1024)
    source, target = torch.randn(elements), torch.empty(elements)
    a, b, c = (torch.randn(width, width) for _ in range(3))
    timings = measure(
        {"copy": lambda: target.copy_(source), "sgemm": lambda: torch.mm(a, b, out=c)},
        rounds=3 if quick else 15,
    )
    return Peaks(
        copy=2 * source.nbytes / timings["copy"].minimum,
        sgemm=2 * width**3 / timings["sgemm"].minimum,
    )
