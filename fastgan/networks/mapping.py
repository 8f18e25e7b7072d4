"""The mapping network z, c -> w, truncation and style mixing. No images here."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastgan.errors import ConfigError
from fastgan.networks.base import check_condition, check_latent
from fastgan.networks.layers import FullyConnected, normalize_2nd_moment


class MappingNetwork(nn.Module):
    """Map latents and conditions to intermediate latents w, one per layer of the synthesis.

    w = MLP(concat(normalize(z), normalize(embed(c)))), broadcast to [N, num_ws, w_dim].

    Args:
        z_dim: width of z; 0 means there is no latent (as in a discriminator).
        c_dim: width of the condition; 0 means there is none.
        w_dim: width of w.
        num_ws: how many times w is repeated; None returns [N, w_dim].
        num_layers: fully connected layers.
        lr_multiplier: learning-rate factor of those layers.
        w_avg_beta: decay of the running mean of w; None keeps no mean.

    Source: Karras et al. 2019 (StyleGAN), section 2.
    """

    w_avg: Tensor

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        num_ws: int | None,
        *,
        num_layers: int = 8,
        lr_multiplier: float = 0.01,
        w_avg_beta: float | None = 0.995,
    ) -> None:
        super().__init__()
        if z_dim + c_dim < 1 or min(z_dim, c_dim) < 0 or w_dim < 1 or num_layers < 1:
            raise ConfigError(
                "the mapping network needs z_dim + c_dim >= 1, w_dim >= 1 and mapping_layers >= 1, "
                f"got z_dim {z_dim}, c_dim {c_dim}, w_dim {w_dim}, mapping_layers {num_layers}"
            )
        self.z_dim, self.c_dim, self.w_dim, self.num_ws = z_dim, c_dim, w_dim, num_ws
        self.w_avg_beta = w_avg_beta
        if c_dim > 0:
            self.embed = FullyConnected(c_dim, w_dim)
        width = z_dim + (w_dim if c_dim > 0 else 0)
        self.layers = [f"fc{i}" for i in range(num_layers)]
        for name in self.layers:
            layer = FullyConnected(width, w_dim, activation="lrelu", lr_multiplier=lr_multiplier)
            self.add_module(name, layer)
            width = w_dim
        if w_avg_beta is not None:
            self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(
        self,
        z: Tensor | None,
        c: Tensor | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        update_w_avg: bool = False,
    ) -> Tensor:
        """Map a batch; see the class for the equation.

        Args:
            z: [N, z_dim], or None where z_dim is 0.
            c: [N, c_dim], or None where c_dim is 0.
            truncation_psi: w moves towards the mean: w_avg + psi (w - w_avg).
            truncation_cutoff: only the first so many of the num_ws are truncated; None means all.
            update_w_avg: move the running mean towards this batch's (`update_average`).

        Returns:
            [N, num_ws, w_dim], or [N, w_dim] where num_ws is None.

        Raises:
            ValueError: a shape does not fit, or a mean is needed and none is kept.

        Differentiable: any order in z and c.
        """
        w = self._network(z, c)  # [N, w_dim]
        if update_w_avg:
            self.update_average(w.detach().mean(dim=0))
        if self.num_ws is not None:
            w = w.unsqueeze(1).repeat(1, self.num_ws, 1)  # [N, num_ws, w_dim]
        if truncation_psi == 1.0:
            return w
        self._check_average("truncation_psi other than 1")
        if self.num_ws is None or truncation_cutoff is None:
            return self.w_avg.to(w.dtype).lerp(w, truncation_psi)
        head, tail = w[:, :truncation_cutoff], w[:, truncation_cutoff:]
        return torch.cat([self.w_avg.to(w.dtype).lerp(head, truncation_psi), tail], dim=1)

    @torch.no_grad()
    def update_average(self, mean_w: Tensor) -> None:
        """Move the running mean: w_avg = beta * w_avg + (1 - beta) * mean_w.

        Args:
            mean_w: [w_dim], the mean of w over a batch (over all processes, in training).
        """
        beta = self._check_average("update_average")
        if tuple(mean_w.shape) != (self.w_dim,):
            raise ValueError(f"mean_w must be [{self.w_dim}], got {tuple(mean_w.shape)}")
        self.w_avg.lerp_(mean_w.to(self.w_avg), 1.0 - beta)

    def _network(self, z: Tensor | None, c: Tensor | None) -> Tensor:
        parts = []
        dtype = self.get_submodule(self.layers[0]).get_parameter("weight").dtype
        if z is not None and self.z_dim > 0:
            check_latent("mapping", z, self.z_dim)
            parts.append(normalize_2nd_moment(z.to(dtype)))
        elif self.z_dim > 0:
            raise ValueError(f"mapping: z must be [N, {self.z_dim}], got None")
        batch = parts[0].shape[0] if parts else (0 if c is None else c.shape[0])
        c = check_condition("mapping", c, self.c_dim, batch)
        if c is not None:
            parts.append(normalize_2nd_moment(self.embed(c.to(dtype))))
        x = torch.cat(parts, dim=1)
        for name in self.layers:
            x = self.get_submodule(name)(x)
        return x

    def _check_average(self, wish: str) -> float:
        if self.w_avg_beta is None:
            raise ValueError(f"mapping: {wish} needs the running mean of w; w_avg_beta is None")
        return self.w_avg_beta


def mix_styles(ws_a: Tensor, ws_b: Tensor, cutoff: Tensor) -> Tensor:
    """Take the first styles of each sample from one batch and the rest from another.

    ws[n, i] = ws_a[n, i] if i < cutoff[n] else ws_b[n, i].

    Args:
        ws_a: [N, num_ws, w_dim]. ws_b: the same shape.
        cutoff: [N] integers; num_ws or more keeps ws_a, 0 gives ws_b.

    Returns:
        [N, num_ws, w_dim].

    Raises:
        ValueError: the shapes differ, or cutoff is not one integer per sample.

    Differentiable: any order in ws_a and ws_b.

    Source: Karras et al. 2019 (StyleGAN), section 3.1.
    """
    if ws_a.shape != ws_b.shape or ws_a.ndim != 3:
        raise ValueError(
            "mix_styles: ws_a and ws_b must both be [N, num_ws, w_dim], got "
            f"{tuple(ws_a.shape)} and {tuple(ws_b.shape)}"
        )
    if tuple(cutoff.shape) != (ws_a.shape[0],) or cutoff.is_floating_point():
        raise ValueError(
            f"mix_styles: cutoff must be [{ws_a.shape[0]}] integers, got {cutoff.dtype} "
            f"{tuple(cutoff.shape)}"
        )
    index = torch.arange(ws_a.shape[1], device=ws_a.device)
    return torch.where((index < cutoff.to(ws_a.device)[:, None])[:, :, None], ws_a, ws_b)
