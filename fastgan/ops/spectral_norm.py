"""spectral_norm: divide a weight by its largest singular value, found by power iteration.

The mathematics is in `fastgan.reference.spectral_norm`.
"""

from __future__ import annotations

from torch import Tensor

from fastgan import reference
from fastgan.dispatch import select
from fastgan.ops._check import check_floating


def spectral_norm(
    weight: Tensor,
    u: Tensor,
    *,
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int = 0,
    backend: str | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Divide a weight by an estimate of its largest singular value.

    With W the weight with `dim` first and the rest flattened, [rows, cols], each iteration sets
    v = normalize(W^T u), u = normalize(W v); then sigma = u^T W v. Without iterations
    v = normalize(W^T u) and u stays as it is.

    Args:
        weight: at least one dimension, floating point.
        u: [weight.shape[dim]], dtype of weight: the left singular vector so far.
        n_power_iterations: at least 0; one per training step suffices, as u is carried on.
        eps: floor of the norms in `normalize`.
        dim: the output dimension: 0, or 1 for transposed convolutions.
        backend: "reference" or "cpp"; None lets dispatch choose.

    Returns:
        (weight / sigma, sigma as a scalar tensor, u_new). u_new is detached.

    Raises:
        TypeError: weight is not floating point or u has another dtype.
        ValueError: dim, n_power_iterations or the length of u does not fit.
        BackendUnavailableError: `backend` cannot run this call.

    Differentiable: any order in weight, through sigma, with u and v constant.

    Source: Miyato et al. 2018, "Spectral Normalization for GANs", algorithm 1 and equation 12.
    """
    dim = _check(weight, u, n_power_iterations, dim)
    chosen = select("spectral_norm", weight, backend)
    if chosen == "reference":
        return reference.spectral_norm(
            weight, u, n_power_iterations=n_power_iterations, eps=eps, dim=dim
        )
    raise NotImplementedError


def _check(weight: Tensor, u: Tensor, n_power_iterations: int, dim: int) -> int:
    check_floating("spectral_norm", "weight", weight)
    if weight.ndim == 0 or not -weight.ndim <= dim < weight.ndim:
        raise ValueError(
            f"spectral_norm: dim {dim} is out of range for weight of shape {tuple(weight.shape)}"
        )
    dim %= weight.ndim
    if u.dtype != weight.dtype or u.device != weight.device:
        raise TypeError(
            f"spectral_norm: u is {u.dtype} on {u.device}, weight is {weight.dtype} on "
            f"{weight.device}; convert one of them"
        )
    if tuple(u.shape) != (weight.shape[dim],):
        raise ValueError(
            f"spectral_norm: u must have shape [{weight.shape[dim]}], the size of dim {dim} of "
            f"weight {tuple(weight.shape)}, got {tuple(u.shape)}"
        )
    if n_power_iterations < 0:
        raise ValueError(
            f"spectral_norm: n_power_iterations must be at least 0, got {n_power_iterations}"
        )
    return dim
