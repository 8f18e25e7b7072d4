"""The only clock. No contenders, no shapes and no tables live here. A leaf."""

from __future__ import annotations

import gc
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch

Timer: TypeAlias = Callable[[Callable[[], object]], float]


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
    timer: Timer | None = None,
    pause: float = 0.0,
    min_span: float = 0.0,
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
        timer: runs a call and returns its seconds, in place of `synchronize` and `clock`, which
            then only bounds the rounds.
        pause: seconds to sleep before each timed call, in which the threads of a contender that
            brings its own pool stop spinning; not timed.
        min_span: seconds that a reading spans at least, as the last warm-up call foretells: a short
            call is repeated in a row and counts as the mean. A single short call is a measurement
            of what the contender before it left in the caches.

    Returns: one Timing per contender.
    """
    run = timer or partial(_timed, synchronize or _synchronize, clock)
    names = list(contenders)
    order = random.Random(0)
    repeats = dict.fromkeys(names, 1)
    for name in names:
        for _ in range(warmup):
            took = run(contenders[name])
            repeats[name] = max(1, math.ceil(min_span / max(took, 1e-6)))
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with _collected():
        first = clock()
        for index in range(rounds):
            if index > 0 and clock() - first > max_seconds:
                break
            for name in order.sample(names, len(names)):
                if pause > 0:
                    time.sleep(pause)
                total = sum(run(contenders[name]) for _ in range(repeats[name]))
                seconds[name].append(total / repeats[name])
    return {name: Timing.of(found) for name, found in seconds.items()}


def _timed(
    wait: Callable[[], None], clock: Callable[[], float], call: Callable[[], object]
) -> float:
    wait()
    start = clock()
    call()
    wait()
    return clock() - start


class CudaTimer:
    """Seconds that the GPU takes for a call, between two events, with its caches flushed before.

    Args:
        flush_bytes: memory that is overwritten before each call, more than any L2 cache.
        cuda: torch.cuda, or what stands in for it in a test.
        device: where the memory is.
    """

    def __init__(self, flush_bytes: int = 256 << 20, cuda: Any = torch.cuda, device: str = "cuda"):
        self._cuda = cuda
        self._flush = torch.empty(flush_bytes, dtype=torch.uint8, device=device)

    def __call__(self, call: Callable[[], object]) -> float:
        """Run the call and return its seconds."""
        begin, end = (self._cuda.Event(enable_timing=True) for _ in range(2))
        self._flush.zero_()
        self._cuda.synchronize()
        begin.record()
        call()
        end.record()
        self._cuda.synchronize()
        return float(begin.elapsed_time(end)) / 1e3


def now() -> float:
    """Seconds on the clock, read when the device has done its work."""
    _synchronize()
    return time.perf_counter()


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
