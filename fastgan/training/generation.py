"""How fakes come out of a generator while training and while sampling.

The default serves every G(z, c) and every image-to-image G(x, c). Networks with more to it (style
mixing, layer noise) subclass it in their recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from fastgan.training.context import StepContext
    from fastgan.training.recipe import Edge


@dataclass(frozen=True)
class Generated:
    """Fakes, and the intermediate latents they came from where there are any.

    Attributes:
        images: [N, C, H, W] or [N, D].
        latents: w, [N, num_ws, w_dim], or None.
    """

    images: Tensor
    latents: Tensor | None = None


class Generation:
    """Calls the generator with the edge's input and condition."""

    def train(self, net: nn.Module, ctx: StepContext, edge: Edge) -> Generated:
        """Return fakes for an update; `ctx.record` may note means for `after_update`."""
        return Generated(net(ctx.generator_input(edge), ctx.fake_condition(edge)))

    def compiled(self, net: nn.Module, compiler: Callable[..., Any]) -> nn.Module:
        """Return a handle on `net` for `train` that runs through `compiler`, a torch.compile."""
        handle: nn.Module = compiler(net)
        return handle

    def sample(self, net: nn.Module, ctx: StepContext, edge: Edge) -> Tensor:
        """Return images to look at or to measure; `net` is in evaluation mode."""
        images: Tensor = net(ctx.generator_input(edge), ctx.fake_condition(edge))
        return images

    def after_update(self, net: nn.Module, edge: Edge, means: Mapping[str, Tensor]) -> None:
        """Move running statistics of `net`, after each main update of G.

        Args:
            means: what `ctx.record` noted, averaged over the global batch.
        """
