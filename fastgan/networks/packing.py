"""A discriminator that judges several samples together, which shows it a lack of variety."""

from __future__ import annotations

from torch import Tensor, nn

from fastgan.errors import ConfigError
from fastgan.networks.base import DiscriminatorOutput


class PackedDiscriminator(nn.Module):
    """One judgement for m samples: D(x_1, ..., x_m), the samples stacked along the channels.

    Reals come in packs of independent reals, fakes in packs of independent fakes, so a generator
    that makes too many of one kind is seen through from a single pack. All layers but the first
    see 1 / m of the samples, so a packed network is about m times cheaper as well.

    Args:
        net: the discriminator of a pack: its images have m times the channels, its condition m
            times the width.
        pack: m, at least 1.

    Raises:
        ConfigError: pack is below 1, or does not divide the network's c_dim.

    Source: Lin et al. 2018, "PacGAN: The power of two samples in generative adversarial networks".
    """

    def __init__(self, net: nn.Module, pack: int) -> None:
        super().__init__()
        if pack < 1 or int(net.c_dim) % pack:  # type: ignore[arg-type]
            raise ConfigError(
                f"pack must be at least 1 and divide the network's c_dim, got pack {pack} and "
                f"c_dim {net.c_dim}"
            )
        self.net, self.pack = net, pack
        self.c_dim = int(net.c_dim) // pack  # type: ignore[arg-type]

    def forward(self, x: Tensor, c: Tensor | None = None) -> DiscriminatorOutput:
        """Judge samples n m, ..., n m + m - 1 as pack n.

        Args:
            x: [N, C, ...], N a multiple of m.
            c: [N, c_dim], or None where c_dim is 0.

        Returns: logits [N / m, 1] and the network's features of the packs.
        Raises: ValueError when N is not a multiple of m.
        Differentiable: as the network is.
        """
        if x.shape[0] % self.pack:
            raise ValueError(
                f"packed discriminator: expected a multiple of {self.pack} samples, got "
                f"{x.shape[0]}; change the batch, the micro-batch or the pack"
            )
        packed = x.reshape(-1, self.pack * x.shape[1], *x.shape[2:])
        condition = None if c is None else c.reshape(-1, self.pack * self.c_dim)
        output: DiscriminatorOutput = self.net(packed, condition)
        return output

    def extra_repr(self) -> str:
        return f"pack={self.pack}"
