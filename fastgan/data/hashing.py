"""A counter-based hash: random bits as a pure function of (seed, stream, counter).

Unlike a generator it has no state and no history, and it does not change with the version of
any library, so a run can be resumed or split at any position.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def hash_bits(seed: int, stream: int, counters: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return 64 well-mixed bits per counter, uint64 of the shape of `counters`.

    bits = mix(key + (counter + 1) * golden), key = mix(mix(seed) + stream)

    Source: Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators".
    """
    start = _mix(np.array([seed & _MASK], dtype=np.uint64))
    key = _mix(start + np.array([stream & _MASK], dtype=np.uint64))
    return _mix(key + (counters + np.uint64(1)) * np.uint64(_GOLDEN))


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = x ^ (x >> np.uint64(31))
    return mixed
