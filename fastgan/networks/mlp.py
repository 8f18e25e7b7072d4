"""Fully connected networks for low-dimensional data: the smallest pair, for points in the plane."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastgan.errors import ConfigError
from fastgan.networks.base import DiscriminatorOutput, check_condition, check_latent


def _stack(in_dim: int, out_dim: int, hidden: int, layers: int) -> nn.Sequential:
    if min(in_dim, out_dim, hidden, layers) < 1:
        raise ConfigError(
            "MLP: widths and layers must be at least 1, got "
            f"in {in_dim}, out {out_dim}, hidden {hidden}, layers {layers}"
        )
    modules: list[nn.Module] = []
    width = in_dim
    for _ in range(layers):
        modules += [nn.Linear(width, hidden), nn.ReLU()]
        width = hidden
    return nn.Sequential(*modules, nn.Linear(width, out_dim))


class MLPGenerator(nn.Module):
    """z -> point, through `layers` hidden ReLU layers.

    Args:
        z_dim: width of the latent.
        out_dim: dimensions of a sample.
        hidden: width of the hidden layers.
        layers: number of hidden layers.
        c_dim: width of the condition, concatenated to z; 0 for none.

    Source: Goodfellow et al. 2014, "Generative Adversarial Nets".
    """

    def __init__(
        self, z_dim: int, out_dim: int = 2, hidden: int = 64, layers: int = 3, *, c_dim: int = 0
    ) -> None:
        super().__init__()
        self.z_dim, self.c_dim, self.out_dim = z_dim, c_dim, out_dim
        self.main = _stack(z_dim + c_dim, out_dim, hidden, layers)

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Map z [N, z_dim] (and c [N, c_dim]) to samples [N, out_dim]."""
        check_latent("MLPGenerator", z, self.z_dim)
        c = check_condition("MLPGenerator", c, self.c_dim, z.shape[0])
        samples: Tensor = self.main(z if c is None else torch.cat([z, c.to(z.dtype)], dim=1))
        return samples


class MLPDiscriminator(nn.Module):
    """point -> logit, through `layers` hidden ReLU layers.

    Args:
        in_dim: dimensions of a sample.
        hidden: width of the hidden layers.
        layers: number of hidden layers.
        c_dim: width of the condition, concatenated to the sample; 0 for none.

    Source: Goodfellow et al. 2014, "Generative Adversarial Nets".
    """

    def __init__(
        self, in_dim: int = 2, hidden: int = 64, layers: int = 3, *, c_dim: int = 0
    ) -> None:
        super().__init__()
        self.in_dim, self.c_dim = in_dim, c_dim
        self.main = _stack(in_dim + c_dim, 1, hidden, layers)

    def forward(self, x: Tensor, c: Tensor | None = None) -> DiscriminatorOutput:
        """Map x [N, in_dim] (and c [N, c_dim]) to logits [N, 1]; features "hidden" [N, hidden]."""
        if x.ndim != 2 or x.shape[1] != self.in_dim:
            raise ValueError(
                f"MLPDiscriminator: x must be [N, {self.in_dim}], got {tuple(x.shape)}"
            )
        c = check_condition("MLPDiscriminator", c, self.c_dim, x.shape[0])
        x = x if c is None else torch.cat([x, c.to(x.dtype)], dim=1)
        hidden = self.main[:-1](x)
        return DiscriminatorOutput(self.main[-1](hidden), {"hidden": hidden})
