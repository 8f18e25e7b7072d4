"""Names for the parts of a step, for whoever wants to time them. A leaf that knows no clock."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeAlias

Span: TypeAlias = Callable[[str], AbstractContextManager[None]]
"""`with span(name):` marks a part; a part inside another one is not counted twice."""

# The parts that are not phases. A phase is named by `Phase.part`.
STEP, DATA, OPTIMIZER, EMA, LOGGING = "step", "data", "optimiser", "EMA", "logging"

_NOTHING: AbstractContextManager[None] = nullcontext()


def unwatched(name: str) -> AbstractContextManager[None]:
    """Mark a part while nobody looks, which takes no longer than the call."""
    return _NOTHING
