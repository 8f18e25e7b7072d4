"""Each detector fires on a history that has its trouble, and on no healthy one."""

import math
import random

import pytest

from fastgan.training.alarms import (
    DIVERSITY,
    FAKE,
    GRADIENT,
    REAL,
    Exploding,
    LowDiversity,
    NotFinite,
    Oscillation,
    StrongD,
    VanishingGradient,
    all_detectors,
    count_turns,
)

BATCH = 8


def healthy(steps, seed=0):
    """What a good run records: noisy losses with a spike now and then, D right 4 times of 5."""
    draw = random.Random(seed)
    for step in range(steps):
        spike = 30.0 if step % 97 == 50 else 0.0
        values = {
            "loss_d": 1.2 + 0.3 * draw.random(),
            "loss_g": 1.0 + draw.random() + spike,
            "r1": draw.random(),
            REAL: sum(draw.random() < 0.8 for _ in range(BATCH)) / BATCH,
            FAKE: sum(draw.random() < 0.85 for _ in range(BATCH)) / BATCH,
            GRADIENT: 10 ** draw.uniform(-3, 1),
        }
        if step % 30 == 0:
            values[DIVERSITY] = min(0.02 * (1 + step / 30), 0.9) * draw.uniform(0.8, 1.2)
        yield values


def firings(detector, history):
    """The steps at which a detector says something, with what it says."""
    said = ((step, detector.see(values)) for step, values in enumerate(history))
    return {step: text for step, text in said if text is not None}


def spoiled(start, steps=3000, **change):
    """A healthy history in which some values follow a function of the step from `start` on."""
    for step, values in enumerate(healthy(steps)):
        if step >= start:
            values |= {name: of(step) for name, of in change.items()}
        yield values


@pytest.mark.parametrize("seed", [0, 1])
def test_no_detector_fires_on_a_healthy_run(seed):
    for detector in all_detectors(BATCH):
        assert firings(detector, healthy(4000, seed)) == {}, detector.name
        assert not detector.is_suspicious
        assert len(detector.advice) > 10


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_not_finite_names_what_it_is(value):
    said = firings(NotFinite(), spoiled(7, 9, r1=lambda step: value, loss_g=lambda step: value))
    assert said == {7: "loss_g, r1 not finite", 8: "loss_g, r1 not finite"}


def test_exploding_loss_fires_within_its_recent_steps():
    detector = Exploding()
    said = firings(detector, spoiled(500, 600, loss_d=lambda step: -(3.0 ** (step - 500))))
    assert 500 <= min(said) <= 516
    assert "|loss_d|" in said[min(said)]
    assert detector.is_suspicious
    # Large from the start is how this objective counts, not an explosion.
    assert firings(Exploding(), spoiled(0, 600, loss_d=lambda step: 4e4 + step)) == {}


def test_vanishing_gradient_needs_a_row_of_steps():
    detector = VanishingGradient()
    said = firings(detector, spoiled(100, 140, grad_g=lambda step: 1e-8))
    assert list(said) == list(range(115, 140))
    assert detector.is_suspicious
    often = spoiled(0, 200, grad_g=lambda step: 1e-3 if step % 15 == 0 else 0.0)
    assert firings(VanishingGradient(), often) == {}
    assert VanishingGradient().see({"pl": 1.0}) is None  # a step without a game


def test_strong_d_needs_both_halves_for_a_thousand_steps():
    both = {REAL: lambda step: 1.0, FAKE: lambda step: 0.99}
    said = firings(StrongD(), spoiled(500, 2000, **both))
    assert 1200 < min(said) < 1500  # the window mean passes 0.95 shortly before it is full
    assert max(said) == 1999
    assert firings(StrongD(), spoiled(0, 999, **both)) == {}
    assert firings(StrongD(), spoiled(0, 2000, **{REAL: lambda step: 1.0})) == {}


def test_low_diversity_needs_a_row_of_measurements():
    detector = LowDiversity()
    collapsed = spoiled(2000, guard_diversity=lambda step: 0.03 if step % 30 == 0 else 0.5)
    history = [
        {name: value for name, value in values.items() if name != DIVERSITY or step % 30 == 0}
        for step, values in enumerate(collapsed)
    ]
    said = firings(detector, history)
    assert min(said) == 2010 + 7 * 30  # the first measurement is at 2010
    assert "3.0%" in said[min(said)]
    assert detector.is_suspicious
    assert firings(LowDiversity(), history[:2200]) == {}


@pytest.mark.parametrize("period", [10, 100, 220])
def test_oscillation_fires_at_any_period_that_dominates_its_window(period):
    def swing(step):
        return 0.5 + 0.45 * math.sin(2 * math.pi * step / period)

    said = firings(Oscillation(BATCH), spoiled(0, 3000, **{REAL: swing, FAKE: swing}))
    assert said
    assert "turned" in said[max(said)]


def test_oscillation_leaves_slow_drift_and_small_batches_alone():
    def drift(step):
        return 0.5 + 0.45 * math.sin(2 * math.pi * step / 3000)

    slow = spoiled(0, 6000, **{REAL: drift, FAKE: drift})
    assert firings(Oscillation(BATCH), slow) == {}
    draw = random.Random(5)
    single = ({REAL: float(draw.random() < 0.5), FAKE: 1.0} for _ in range(5000))
    assert firings(Oscillation(batch=1), single) == {}


def test_turns_are_counted_from_extreme_to_extreme():
    assert count_turns([0, 1, 0, 1, 0], 0.5) == 3
    assert count_turns([0, 0.4, 0.1, 0.5, 0.2], 0.5) == 0
    assert count_turns([0, 0.5, 1.0, 0.8, 0.4, 0.9], 0.5) == 2
    assert count_turns([1, 0.2, 0.6, 0.1, 0.8], 0.5) == 1
    assert count_turns([], 0.5) == 0
