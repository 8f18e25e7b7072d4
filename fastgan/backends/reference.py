"""The reference backend: plain torch. Ops call `fastgan.reference` directly, because plain torch
is already differentiable and traceable, so this file only answers questions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastgan import reference
from fastgan.dispatch.spec import OpCall


def why_unavailable() -> str | None:
    """Plain torch always runs."""
    return None


def why_unsupported(call: OpCall) -> str | None:
    """The specification covers every floating-point type on every device."""
    if not call.dtype.is_floating_point:
        return f"needs a floating-point tensor, not {call.dtype}"
    return None


def provides(name: str) -> bool:
    """Whether there is a launcher `name`."""
    return hasattr(reference, name)


def launcher(name: str) -> Callable[..., Any]:
    """The function of the specification called `name`."""
    function: Callable[..., Any] = getattr(reference, name)
    return function
