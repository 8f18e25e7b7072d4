"""How training goes wrong, one detector each: what it looks for, what to try. Numbers in, text out.

A detector sees what each step recorded and says what is wrong, or None. What follows from that
(a line, a roll-back) is in guard.py. Nothing here touches a network.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Literal, TypeAlias

Severity: TypeAlias = Literal["fatal", "damage", "advice"]
"""fatal: nothing can be learned from here on. damage: the networks are no longer worth going on
from. advice: they may recover, and the settings deserve a look."""

GRADIENT, DIVERSITY = "grad_g", "guard_diversity"
REAL, FAKE = "d_real_accuracy", "d_fake_accuracy"


class Detector:
    """Watches for one way of going wrong.

    Attributes:
        name: of what it detects, as users read it.
        severity: how bad that is.
        advice: what to try.
        is_suspicious: the condition holds, though not yet for long enough to say so. A checkpoint
            written meanwhile is not one to return to.
    """

    name: str
    severity: Severity
    advice: str
    is_suspicious = False

    def see(self, values: Mapping[str, float]) -> str | None:
        """Take what one step recorded; return what is wrong as of this step, or None."""
        raise NotImplementedError


class NotFinite(Detector):
    """Anything that was recorded is NaN or infinite."""

    name, severity = "NaN", "fatal"
    advice = "a lower learning rate, a stronger gradient penalty, or float32 for more layers"

    def see(self, values: Mapping[str, float]) -> str | None:
        bad = sorted(name for name, value in values.items() if not math.isfinite(value))
        return f"{', '.join(bad)} not finite" if bad else None


class Exploding(Detector):
    """A loss, averaged over some steps, is far above both a floor and its own past.

    Args:
        factor: how many times the median magnitude of the steps before.
        floor: magnitude below which no loss counts as exploding.
        recent: steps that are averaged.
        past: steps that the median is taken over; a quarter of them must be there.
    """

    name, severity = "exploding loss", "damage"
    advice = "a lower learning rate for that player or a stronger gradient penalty (--r1-gamma)"

    def __init__(
        self, factor: float = 50.0, floor: float = 100.0, recent: int = 16, past: int = 256
    ) -> None:
        self.factor, self.floor, self.recent, self.past = factor, floor, recent, past
        self._seen: dict[str, deque[float]] = {}

    def see(self, values: Mapping[str, float]) -> str | None:
        self.is_suspicious, found = False, None
        for name, value in values.items():
            if name.startswith("loss_") and math.isfinite(value):
                seen = self._seen.setdefault(name, deque(maxlen=self.past + self.recent))
                seen.append(abs(value))
                found = self._judge(name, list(seen)) or found
        return found

    def _judge(self, name: str, seen: Sequence[float]) -> str | None:
        before, now = seen[: -self.recent], seen[-self.recent :]
        mean = sum(now) / len(now)
        if len(before) < self.past // 4 or max(mean, now[-1]) <= self.floor:
            return None
        usual = median(before)
        limit = max(self.floor, self.factor * usual)
        self.is_suspicious |= now[-1] > limit
        if mean <= limit:
            return None
        return f"|{name}| {mean:.3g} over {self.recent} steps, {usual:.3g} before"


class VanishingGradient(Detector):
    """The gradient of the generator's main loss is next to nothing, step after step.

    Args:
        limit: of its norm over all parameters.
        steps: in a row.
    """

    name, severity = "vanishing generator gradient", "damage"
    advice = "the non-saturating loss, a stronger gradient penalty, or a lower rate for D (--lr-d)"

    def __init__(self, limit: float = 1e-6, steps: int = 16) -> None:
        self.limit, self.steps, self._count = limit, steps, 0

    def see(self, values: Mapping[str, float]) -> str | None:
        norm = values.get(GRADIENT)
        if norm is not None:  # a step without a game has none
            self._count = self._count + 1 if norm < self.limit else 0
        self.is_suspicious = self._count > 0
        if self._count < self.steps:
            return None
        return f"|grad G| below {self.limit:g} for {self._count} steps"


class StrongD(Detector):
    """D tells reals from fakes nearly always, so that G learns little from it.

    Args:
        limit: of D's accuracy, on reals and on fakes each.
        steps: over which it is averaged.
    """

    name, severity = "too strong D", "advice"
    advice = "more or augmented images, a stronger R1 penalty, or a smaller discriminator"

    def __init__(self, limit: float = 0.95, steps: int = 1000) -> None:
        self.limit, self.steps = limit, steps
        self._sums = [0.0, 0.0]
        self._pairs: deque[tuple[float, float]] = deque()

    def see(self, values: Mapping[str, float]) -> str | None:
        if REAL in values and FAKE in values:
            self._add((values[REAL], values[FAKE]))
        worse = min(self._sums) / self.steps
        if len(self._pairs) < self.steps or not worse > self.limit:
            return None
        return f"D is right on {worse:.1%} or more of reals and of fakes over {self.steps} steps"

    def _add(self, pair: tuple[float, float]) -> None:
        if not all(map(math.isfinite, pair)):
            return
        self._pairs.append(pair)
        gone = self._pairs.popleft() if len(self._pairs) > self.steps else (0.0, 0.0)
        self._sums = [s + new - old for s, new, old in zip(self._sums, pair, gone, strict=True)]


class LowDiversity(Detector):
    """Fakes hardly differ from one another, compared with reals, in measurement after measurement.

    Early in training fakes are alike for a while, so only a long row of measurements counts.

    Args:
        limit: of the mean distance between two fakes, as a fraction of that between two reals.
        measurements: in a row.
    """

    name, severity = "low output diversity", "damage"
    advice = "--pack 2, a larger batch, a lower rate for G (--lr-g), or R1 with R2 penalties"

    def __init__(self, limit: float = 0.1, measurements: int = 8) -> None:
        self.limit, self.measurements = limit, measurements
        self._count, self._ratio = 0, 1.0

    def see(self, values: Mapping[str, float]) -> str | None:
        if DIVERSITY in values:  # measured in this step
            self._ratio = values[DIVERSITY]
            self._count = self._count + 1 if self._ratio < self.limit else 0
        self.is_suspicious = self._count > 0
        if self._count < self.measurements:
            return None
        return f"fakes differ {self._ratio:.1%} as much as reals, in {self._count} measurements"


class Oscillation(Detector):
    """D's accuracy goes up and down by much, again and again, instead of settling.

    The accuracy, averaged over blocks of steps, is followed from one turning point to the next; a
    turn counts when it is larger than sampling noise can make it. The window is full of them when
    turns come every four blocks or faster on average. Two lengths of blocks see fast and slow
    swings.

    Args:
        batch: images of a step, which sets the noise.
        swing: least size of a turn.
        blocks: window, in blocks.
        lengths: steps in a block.
    """

    name, severity = "oscillation", "advice"
    advice = "lower learning rates, --beta1 0, or a stronger gradient penalty"

    def __init__(
        self,
        batch: int,
        swing: float = 0.2,
        blocks: int = 64,
        lengths: tuple[int, ...] = (4, 32),
    ) -> None:
        self.blocks, self.lengths = blocks, lengths
        noise = {length: math.sqrt(0.25 / (2 * batch * length)) for length in lengths}
        self.swings = {length: max(swing, 6 * noise[length]) for length in lengths}
        self._open: dict[int, list[float]] = {length: [] for length in lengths}
        self._means = {length: deque[float](maxlen=blocks) for length in lengths}
        self._found: dict[int, str | None] = {}

    def see(self, values: Mapping[str, float]) -> str | None:
        accuracy = (values.get(REAL, math.nan) + values.get(FAKE, math.nan)) / 2
        if math.isfinite(accuracy):
            for length in self.lengths:
                self._add(length, accuracy)
        return next(filter(None, self._found.values()), None)

    def _add(self, length: int, accuracy: float) -> None:
        block, means, swing = self._open[length], self._means[length], self.swings[length]
        block.append(accuracy)
        if len(block) < length:
            return
        means.append(sum(block) / length)
        block.clear()
        turns, steps = count_turns(means, swing), self.blocks * length
        is_found = len(means) == self.blocks and turns >= self.blocks // 4
        text = f"D's accuracy turned {turns} times by {swing:.2g} or more in {steps} steps"
        self._found[length] = text if is_found else None


def count_turns(series: Sequence[float] | deque[float], swing: float) -> int:
    """Return how often a series turns by `swing` or more from its last extreme."""
    turns, direction = 0, 0
    low = high = math.nan
    for value in series:
        low, high = min(value, low), max(value, high)  # a NaN comes second: the first value wins
        if direction <= 0 and value - low >= swing:
            turns, direction, high = turns + (direction < 0), 1, value
        elif direction >= 0 and high - value >= swing:
            turns, direction, low = turns + (direction > 0), -1, value
    return turns


def all_detectors(batch: int) -> tuple[Detector, ...]:
    """Return one of each, the worst first."""
    return (
        NotFinite(),
        Exploding(),
        VanishingGradient(),
        LowDiversity(),
        StrongD(),
        Oscillation(batch),
    )
