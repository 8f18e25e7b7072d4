"""spectral_norm for modules: the weight divided by its largest singular value at each use.

Carries u along and says when it moves; the mathematics is in `fastgan.ops.spectral_norm`.
"""

from __future__ import annotations

import threading
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fastgan import ops


class Block(Protocol):
    """A block of `spectral_norm_group`."""

    def take(self, layer: SpectralNorm, weight: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
        """What the op gives for a layer, or None where the layer has to compute it."""


class _Blocks(threading.local):
    """The blocks that this thread is in, innermost first."""

    stack: tuple[Block, ...] = ()


blocks = _Blocks()

WARM_UP = 15  # power iterations at registration, so that sigma is sound from the first step
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def spectral_norm(
    module: nn.Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
    backend: str | None = None,
) -> nn.Module:
    """Make `module.weight` the stored weight divided by its largest singular value.

    A parametrization of `torch.nn.utils.parametrize`: the parameter moves to
    `module.parametrizations.weight.original`, and `module.weight` is computed from it at each use.
    In training mode each use first runs the power iteration on u, a buffer of the state dict. In
    eval mode u stays, and v = normalize(W^T u) is computed anew, so that the result follows the
    weight. Recomputing a forward (gradient checkpointing) counts as a use.

    Args:
        module: Conv, ConvTranspose, Linear, Embedding or any module with a floating-point weight.
        name: the parameter to normalise.
        n_power_iterations: per use in training mode, at least 1.
        eps: floor of the norms in the power iteration.
        dim: the output dimension of the weight; None: 1 for ConvTranspose, else 0.
        backend: "reference", "cpp", "cuda" or "triton"; None lets dispatch choose at each use.

    Returns:
        The same module. Copies, state dicts, `.half()`, `.double()` and DistributedDataParallel
        work; like every parametrized module it pickles through its state dict only. State dicts of
        `torch.nn.utils.parametrizations.spectral_norm` load.

    Raises:
        ValueError: no such parameter, an uninitialised or already normalised one, or a dim or
            n_power_iterations that does not fit.
        TypeError: the parameter is not floating point.

    Differentiable: any order in the stored weight, through sigma, with u and v constant.

    Source: Miyato et al. 2018, "Spectral Normalization for GANs", algorithm 1.
    """
    weight = _find_weight(module, name)
    if n_power_iterations < 1:
        raise ValueError(
            f"spectral_norm: n_power_iterations must be at least 1, got {n_power_iterations}"
        )
    if dim is None:
        dim = 1 if isinstance(module, _TRANSPOSED) else 0

    normalize = SpectralNorm(weight, n_power_iterations, eps, dim, backend)
    normalize.train(module.training)
    # unsafe: skips a trial use, which would move u; shape and dtype are kept by construction.
    parametrize.register_parametrization(module, name, normalize, unsafe=True)
    return module


def remove_spectral_norm(module: nn.Module, name: str = "weight") -> nn.Module:
    """Undo `spectral_norm`: `module.weight` becomes a parameter with its normalised value.

    The value is that of eval mode: u does not move.

    Args:
        module: a module that `spectral_norm` was applied to.
        name: the normalised parameter.

    Returns:
        The same module.

    Raises:
        ValueError: the parameter is not normalised, or has other parametrizations too.
    """
    if not parametrize.is_parametrized(module, name):
        raise ValueError(f"remove_spectral_norm: {name!r} of {module} is not parametrized")
    found = list(_parametrizations(module, name))
    if len(found) != 1 or not isinstance(found[0], SpectralNorm):
        raise ValueError(
            f"remove_spectral_norm: {name!r} must have spectral_norm as its one parametrization, "
            f"got {[type(entry).__name__ for entry in found]}"
        )
    found[0].eval()
    return parametrize.remove_parametrizations(module, name, leave_parametrized=True)


class SpectralNorm(nn.Module):
    """Computes the normalised weight and holds u, [weight.shape[dim]]."""

    _u: Tensor

    def __init__(
        self, weight: Tensor, n_power_iterations: int, eps: float, dim: int, backend: str | None
    ) -> None:
        super().__init__()
        self.n_power_iterations = n_power_iterations
        self.eps = eps
        self.dim = dim
        self.backend = backend
        with torch.no_grad():
            rows = weight.shape[dim] if -weight.ndim <= dim < weight.ndim else 0
            u = nn.functional.normalize(weight.new_empty(rows).normal_(), dim=0, eps=eps)
            _, _, u = ops.spectral_norm(
                weight, u, n_power_iterations=WARM_UP, eps=eps, dim=dim, backend=backend
            )
        self.register_buffer("_u", u)

    @property
    def u(self) -> Tensor:
        """The left singular vector so far."""
        return self._u

    @property
    def iterations(self) -> int:
        """Power iterations of a use in the present mode."""
        return self.n_power_iterations if self.training else 0

    def forward(self, weight: Tensor) -> Tensor:
        normalized, u = self._from_block(weight) or self._alone(weight)
        if self.training:
            with torch.no_grad():
                self._u.copy_(u)
        return normalized

    def _from_block(self, weight: Tensor) -> tuple[Tensor, Tensor] | None:
        if torch.compiler.is_compiling():
            return None
        for block in blocks.stack:
            found = block.take(self, weight)
            if found is not None:
                return found[0], found[2]
        return None

    def _alone(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        # The op gets a copy, because autograd may keep what it gets, and the buffer is written in
        # place: here by the next forward, and by DistributedDataParallel when it broadcasts.
        normalized, _, u = ops.spectral_norm(
            weight,
            self._u.clone(),
            n_power_iterations=self.iterations,
            eps=self.eps,
            dim=self.dim,
            backend=self.backend,
        )
        return normalized, u

    def right_inverse(self, value: Tensor) -> Tensor:
        """What `module.weight = value` stores: the value, to be normalised at its next use."""
        return value

    def extra_repr(self) -> str:
        return f"dim={self.dim}, n_power_iterations={self.n_power_iterations}, eps={self.eps}"

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        state_dict.pop(f"{prefix}_v", None)  # torch's parametrization stores v; here it follows u
        super()._load_from_state_dict(state_dict, prefix, *args)


def _find_weight(module: nn.Module, name: str) -> Tensor:
    if parametrize.is_parametrized(module, name) and any(
        isinstance(entry, SpectralNorm) for entry in _parametrizations(module, name)
    ):
        raise ValueError(f"spectral_norm: {name!r} of {module} is normalised already")
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"spectral_norm: {module} has no parameter named {name!r}")
    if nn.parameter.is_lazy(weight):
        raise ValueError(
            f"spectral_norm: {name!r} of {module} has no shape yet; run the module once first"
        )
    return weight


def _parametrizations(module: nn.Module, name: str) -> nn.ModuleList:
    found = module.get_submodule("parametrizations").get_submodule(name)
    if not isinstance(found, nn.ModuleList):
        raise ValueError(f"spectral_norm: {name!r} of {module} is not parametrized by torch")
    return found
