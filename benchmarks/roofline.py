"""What the machine can do at best, measured in the same run: copy bandwidth and SGEMM rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch.nn.functional import conv2d

from benchmarks.timing import Timing, measure

# Names among the contenders of a run. Which library multiplies faster depends on the CPU: torch.mm
# is MKL's, half as fast on some AMD ones as the same product as a 1x1 convolution, oneDNN's.
COPY = "machine/copy"
SGEMM = ("machine/sgemm", "machine/sgemm 1x1")


@dataclass(frozen=True)
class Peaks:
    """Rates of this machine with the threads in use.

    Attributes:
        copy: bytes read and written per second by a copy far larger than the caches.
        sgemm: floating-point operations per second of a float32 matrix product, by the faster
            of torch's two libraries.
    """

    copy: float
    sgemm: float

    def seconds(self, traffic: float, flops: float) -> float:
        """Return the least time for so many bytes and operations: the larger of the two."""
        return max(traffic / self.copy, flops / self.sgemm)


class MachineCalls:
    """A copy and a matrix product in two ways, to be timed in turn with the contenders of a run.

    Args:
        quick: take small arrays.
    """

    def __init__(self, *, quick: bool = False) -> None:
        elements, self.width = (2**20, 256) if quick else (2**25, 2048)
        source, target = torch.randn(elements), torch.empty(elements)
        a, b, c = (torch.randn(self.width, self.width) for _ in range(3))
        self.nbytes = 2 * source.nbytes  # read and written
        # The product's first factor as an image with a pixel for each row.
        x, w = (
            t.reshape(-1, self.width, *size).contiguous(memory_format=torch.channels_last)
            for t, size in ((a, (self.width // 32, 32)), (b, (1, 1)))
        )
        self.calls: dict[str, Callable[[], object]] = {
            COPY: lambda: target.copy_(source),
            SGEMM[0]: lambda: torch.mm(a, b, out=c),
            SGEMM[1]: torch.no_grad()(lambda: conv2d(x, w)),
        }

    def peaks(self, timings: Mapping[str, Timing], key: str = "minimum") -> Peaks:
        """Return the rates that go with the minimum times of the calls, or the medians."""
        flops = 2 * self.width**3
        product = min(getattr(timings[name], key) for name in SGEMM)
        return Peaks(self.nbytes / getattr(timings[COPY], key), flops / product)


def measure_peaks(*, quick: bool = False) -> Peaks:
    """Measure both rates; `quick` takes smaller arrays and fewer rounds."""
    machine = MachineCalls(quick=quick)
    return machine.peaks(measure(machine.calls, rounds=3 if quick else 15))
