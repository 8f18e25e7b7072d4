"""Which backend serves a call: argument > `use_backend` > FASTGAN_BACKEND > automatic.

The answer is a concrete name, fixed before the op is called, so that forward, backward and second
backward of one call run on the same backend, also in the autograd thread and under torch.compile.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

from fastgan.dispatch import registry
from fastgan.dispatch.spec import OpCall
from fastgan.errors import BackendUnavailableError, ConfigError

_log = logging.getLogger("fastgan")


class _Requests(threading.local):
    """The `use_backend` blocks of this thread, innermost last."""

    def __init__(self) -> None:
        self.stack: tuple[dict[str, str], ...] = ()


_requests = _Requests()

# What os.environ looks into: its own get raises and catches an exception where a variable is not
# set, which every call of an op would wait for.
_ENVIRONMENT: Any = getattr(os.environ, "_data", os.environ)
_KEY: Any = (
    "FASTGAN_BACKEND" if _ENVIRONMENT is os.environ else os.environ.encodekey("FASTGAN_BACKEND")
)


@cache
def parse_request(text: str, source: str) -> dict[str, str]:
    """Read "cpp" or "bias_act=cpp,upfirdn2d=reference" into {op or "*": backend}.

    Raises:
        ConfigError: an op or a backend is not known; the message lists those that are.
    """
    choices: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        op, _, name = entry.rpartition("=")
        op = op or "*"
        if op != "*" and op not in registry.OPS:
            raise ConfigError(f"{source}: no op named {op!r}; the ops are {list(registry.OPS)}")
        if name not in (*registry.BACKENDS, "auto"):
            raise ConfigError(
                f"{source}: no backend named {name!r}; the backends are "
                f"{[*registry.BACKENDS, 'auto']}"
            )
        choices[op] = name
    return choices


@contextmanager
def use_backend(request: str) -> Iterator[None]:
    """Ask for a backend inside a `with` block, in this thread.

    Args:
        request: a backend name ("reference", "cpp", "cuda", "triton" or "auto"), or choices
            per op such as "bias_act=cpp,upfirdn2d=reference".

    Raises:
        ConfigError: a name is not known.
    """
    choices = parse_request(request, "use_backend")
    previous = _requests.stack
    _requests.stack = (*previous, choices)
    try:
        yield
    finally:
        _requests.stack = previous


def requested_backend(op: str) -> str | None:
    """What the `use_backend` blocks and FASTGAN_BACKEND ask for `op`; None means automatic."""
    for choices in reversed(_requests.stack):
        name = _chosen(choices, op)
        if name is not None:
            return None if name == "auto" else name
    if _KEY not in _ENVIRONMENT:
        return None
    choices = parse_request(os.environ["FASTGAN_BACKEND"], "FASTGAN_BACKEND")
    name = _chosen(choices, op)
    return None if name == "auto" else name


def _chosen(choices: dict[str, str], op: str) -> str | None:
    """The entry for `op`. What is asked of every op leaves those to the automatic choice that the
    backend has no kernels for by design."""
    name = choices.get("*")
    return choices.get(op) or ("auto" if name and registry.lacks(name, op) else name)


def select(op: str, tensor: torch.Tensor, requested: str | None = None) -> str:
    """The backend that serves `op` on tensors like `tensor`.

    Args:
        op: name of the op.
        tensor: the main input; its device and dtype decide.
        requested: the caller's `backend=` argument.

    Raises:
        BackendUnavailableError: an explicitly requested backend cannot run the call; the message
            gives the reason for every backend.
        ConfigError: the requested name is not known.
    """
    name = requested if requested is not None else requested_backend(op)
    if name == "auto":
        name = None
    return _resolve(op, name, tensor.device.type, tensor.dtype)


_resolved: dict[tuple[str, str | None, str, torch.dtype], str] = {}


def _resolve(op: str, name: str | None, device: str, dtype: torch.dtype) -> str:
    key = (op, name, device, dtype)
    if key not in _resolved:
        _resolved[key] = _find(OpCall(op, device, dtype), name)
    return _resolved[key]


# What torch.compiler.assume_constant_result sets. Calling that would import the compiler with
# fastgan. The tracer then calls _resolve instead of reading into it.
_resolve._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _find(call: OpCall, name: str | None) -> str:
    if name is None:
        return _automatic(call)
    if name not in registry.BACKENDS:
        raise ConfigError(
            f"{call.op}: no backend named {name!r}; the backends are {list(registry.BACKENDS)}"
        )
    if registry.why_not(name, call) is not None:
        raise BackendUnavailableError(_explain(call, name))
    return name


def _automatic(call: OpCall) -> str:
    order = registry.AUTO_ORDER.get(call.device, registry.FALLBACK_ORDER)
    for name in order:
        reason = registry.why_not(name, call)
        if reason is None:
            return name
        if not registry.lacks(name, call.op):
            _log_once(f"{call.op}: backend {name} is not used: {reason}")
    raise BackendUnavailableError(_explain(call, "auto"))


@cache
def _log_once(message: str) -> None:
    _log.warning(message)


def _explain(call: OpCall, wanted: str) -> str:
    lines = [f"{call.op}: backend {wanted!r} cannot run {call.dtype} on {call.device}."]
    for name in registry.BACKENDS:
        reason = registry.why_not(name, call)
        lines.append(f"  {name}: {reason or 'available; ask for it or for auto'}")
    return "\n".join(lines)
