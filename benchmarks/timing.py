"""The only clock of the benchmarks. No contenders, no shapes and no tables live here."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Timing:
    """Seconds of one call, over the rounds of one run."""

    minimum: float
    median: float
    p20: float
    p80: float
    rounds: int

    @classmethod
    def of(cls, seconds: list[float]) -> Timing:
        """Summarise the seconds of at least one call."""
        ordered = sorted(seconds)

        def quantile(fraction: float) -> float:
            return ordered[round(fraction * (len(ordered) - 1))]

        return cls(ordered[0], quantile(0.5), quantile(0.2), quantile(0.8), len(ordered))


def measure(
    contenders: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 30,
    warmup: int = 3,
    max_seconds: float = float("inf"),
    synchronize: Callable[[], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Time the contenders in turn, round after round, so that all meet the same machine.

    Each round calls every contender once, in an order drawn anew (the same draws in every run), so
    that none always follows the same neighbour, which leaves caches and sleeping threads behind.
    Garbage is collected before, not during, a round.

    Args:
        contenders: calls without arguments, by name. Outputs are freed inside the timed span.
        rounds: calls of each contender that are timed.
        warmup: calls of each contender before that.
        max_seconds: no round starts later than this after the first one; at least one runs.
        synchronize: waits for the device; called before each reading of the clock. None: CUDA's,
            where CUDA is in use.
        clock: seconds.

    Returns: one Timing per contender.
    """
    wait = synchronize or _synchronize
    names = list(contenders)
    order = random.Random(0)
    for name in names:
        for _ in range(warmup):
            contenders[name]()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with _collected():
        first = clock()
        for index in range(rounds):
            if index > 0 and clock() - first > max_seconds:
                break
            for name in order.sample(names, len(names)):
                wait()
                start = clock()
                contenders[name]()
                wait()
                seconds[name].append(clock() - start)
    return {name: Timing.of(found) for name, found in seconds.items()}


def _synchronize() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


@contextmanager
def _collected() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
