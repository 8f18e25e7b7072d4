"""Kernels of spectral_norm for groups as a backend would have them, computed weight by weight by
the C++ backend, so that what is built on them is tested on any machine. The CUDA kernels
themselves are tested by tests/emulation and, on a GPU, by fastgan.verify."""

from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor

from fastgan.dispatch import registry

SERVED = ["reference", "cpp", "grouped"]  # "grouped" is cpp as if it had the kernels


def spectral_norm_group(
    weights: list[Tensor], us: list[Tensor], n_power_iterations: int, eps: float, dims: list[int]
) -> tuple[tuple[Tensor, ...], ...]:
    one = torch.ops.fastgan_cpp.spectral_norm
    results = [
        one(weight, u, n_power_iterations, eps, dim)
        for weight, u, dim in zip(weights, us, dims, strict=True)
    ]
    return tuple(zip(*results, strict=True))


def spectral_norm_group_grad(*lists: Any) -> list[Tensor]:
    assert all(isinstance(entry, list) for entry in lists)
    return [torch.ops.fastgan_cpp.spectral_norm_grad(*call) for call in zip(*lists, strict=True)]


KERNELS = {f.__name__: f for f in (spectral_norm_group, spectral_norm_group_grad)}


def install(served: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The backend to ask for one of SERVED."""
    if served == "reference":
        return served
    reason = registry.backend("cpp").why_unavailable()
    if reason is not None:
        pytest.skip(reason)
    if served == "grouped":
        # By its full name: in the package, the name stands for the function.
        module = import_module("fastgan.ops.spectral_norm_group")
        monkeypatch.setattr(module, "has_kernel", lambda kernel, name: kernel in KERNELS)
        monkeypatch.setattr(module, "launcher", lambda kernel, name: KERNELS[kernel])
    return "cpp"
