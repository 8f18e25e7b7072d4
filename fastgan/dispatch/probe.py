"""What this machine has: the table that `fastgan doctor` prints."""

from __future__ import annotations

import platform

import torch

from fastgan._version import __version__
from fastgan.dispatch import registry
from fastgan.dispatch.spec import OpCall


def versions() -> dict[str, str]:
    """Versions and hardware that decide what runs here."""
    return {
        "fastgan": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "threads": str(torch.get_num_threads()),
        "cuda": torch.version.cuda or "none: this torch is a CPU build",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none found",
        "cpu_capability": cpu_capability(),
    }


def cpu_capability() -> str:
    """Instruction set that the C++ kernels use, or why there are none."""
    reason = registry.backend("cpp").why_unavailable()
    return str(registry.launcher("cpu_capability", "cpp")()) if reason is None else reason


def backend_table(
    device: str = "cpu", dtype: torch.dtype = torch.float32
) -> dict[str, dict[str, str]]:
    """{op: {backend: "available" or the reason why not}}."""
    return {
        op: {
            name: registry.why_not(name, OpCall(op, device, dtype)) or "available"
            for name in registry.BACKENDS
        }
        for op in registry.OPS
    }
