"""The clock of the benchmarks, which the package's own measurements share."""

from fastgan.timing import Timing, measure

__all__ = ["Timing", "measure"]
