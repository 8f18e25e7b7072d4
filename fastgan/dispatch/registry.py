"""Names of the backends, their order, and where each one lives.

Backends are imported by name at first use and never import this file. To add one, write
`fastgan/backends/<name>.py` with `why_unavailable`, `why_unsupported` and `launcher`, and put its
name into `BACKENDS` and into the order of the devices it serves.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol, cast

from fastgan.dispatch.spec import OpCall

OPS = ("bias_act", "upfirdn2d", "modulated_conv2d", "conv2d_resample", "spectral_norm")
BACKENDS = ("reference", "cpp", "triton")
AUTO_ORDER = {"cpu": ("cpp", "reference"), "cuda": ("triton", "reference")}
FALLBACK_ORDER = ("reference",)  # devices that no kernel serves


class Backend(Protocol):
    """What a module in `fastgan.backends` offers."""

    def why_unavailable(self) -> str | None:
        """None when this machine can run the backend, else the reason."""

    def why_unsupported(self, call: OpCall) -> str | None:
        """None when the backend can serve the call, else the reason."""

    def provides(self, name: str) -> bool:
        """Whether the backend has the kernel `name`."""

    def launcher(self, name: str) -> Callable[..., Any]:
        """The function that runs the kernel `name` on tensors."""


@cache
def backend(name: str) -> Backend:
    """Import a backend by name."""
    return cast(Backend, importlib.import_module(f"fastgan.backends.{name}"))


@cache
def launcher(kernel: str, backend_name: str) -> Callable[..., Any]:
    """The kernel `kernel` (such as "bias_act_grad") of a backend."""
    return backend(backend_name).launcher(kernel)


def why_not(name: str, call: OpCall) -> str | None:
    """None when backend `name` can serve `call`, else the reason in one line."""
    return backend(name).why_unavailable() or backend(name).why_unsupported(call)


def provides(kernel: str, backend_name: str) -> bool:
    """Whether a backend has the kernel `kernel`, for ops that have another way without it."""
    return backend(backend_name).provides(kernel)


# A constant of the machine for torch.compile, as `select` is.
provides._dynamo_marked_constant = True  # type: ignore[attr-defined]
