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

from fastgan.dispatch.spec import GPU_OPS, OpCall

OPS = ("bias_act", "upfirdn2d", "modulated_conv2d", "conv2d_resample", "spectral_norm", *GPU_OPS)
BACKENDS = ("reference", "cpp", "cuda", "triton")
AUTO_ORDER = {"cpu": ("cpp", "reference"), "cuda": ("cuda", "triton", "reference")}
FALLBACK_ORDER = ("reference",)  # devices that no kernel serves


def lacks(name: str, op: str) -> bool:
    """Whether backend `name` has no kernels for `op` by design, so that nobody need be told."""
    return name == "cpp" and op in GPU_OPS


class Backend(Protocol):
    """What a module in `fastgan.backends` offers."""

    def why_unavailable(self) -> str | None:
        """None when this machine can run the backend, else the reason."""

    def why_unsupported(self, call: OpCall) -> str | None:
        """None when the backend can serve the call, else the reason."""

    def has_kernel(self, name: str) -> bool:
        """Whether there is a kernel `name`, for kernels that not every backend has."""

    def launcher(self, name: str) -> Callable[..., Any]:
        """The function that runs the kernel `name` on tensors."""


@cache
def backend(name: str) -> Backend:
    """Import a backend by name."""
    return cast(Backend, importlib.import_module(f"fastgan.backends.{name}"))


_has_kernel: dict[tuple[str, str], bool] = {}


def has_kernel(kernel: str, backend_name: str) -> bool:
    """Whether a backend that serves the op has a kernel that not every backend has."""
    key = (kernel, backend_name)
    if key not in _has_kernel:
        _has_kernel[key] = backend(backend_name).has_kernel(kernel)
    return _has_kernel[key]


@cache
def launcher(kernel: str, backend_name: str) -> Callable[..., Any]:
    """The kernel `kernel` (such as "bias_act_grad") of a backend."""
    return backend(backend_name).launcher(kernel)


# The tracer calls it instead of reading into it, as `select._resolve`.
has_kernel._dynamo_marked_constant = True  # type: ignore[attr-defined]


def why_not(name: str, call: OpCall) -> str | None:
    """None when backend `name` can serve `call`, else the reason in one line."""
    return backend(name).why_unavailable() or backend(name).why_unsupported(call)
