"""Specification of spectral_norm: divide a weight by its largest singular value."""

from __future__ import annotations

import torch
from torch import Tensor


def spectral_norm(
    weight: Tensor,
    u: Tensor,
    *,
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """(W / sigma, sigma, u_new) with sigma = u^T W v after power iteration.

    W is the weight with `dim` first and the rest flattened, [rows, cols]. Each iteration sets
    v = normalize(W^T u), u = normalize(W v); with none, v = normalize(W^T u) and u stays. The
    gradient takes u and v as constants and flows through sigma.
    Source: Miyato et al. 2018, algorithm 1 and equation 12.
    """
    columns = weight.unsqueeze(-1) if weight.ndim == 1 else weight.movedim(dim, 0)
    matrix = columns.flatten(1)  # [rows, cols]
    with torch.no_grad():
        v = _normalize(matrix.t() @ u, eps)
        for iteration in range(n_power_iterations):
            if iteration > 0:
                v = _normalize(matrix.t() @ u, eps)
            u = _normalize(matrix @ v, eps)
    sigma = u.detach() @ (matrix @ v)
    return weight / sigma, sigma, u.detach().clone()


def _normalize(vector: Tensor, eps: float) -> Tensor:
    return vector / vector.norm().clamp_min(eps)
