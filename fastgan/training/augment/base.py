"""What stands between images and the discriminator: the interface."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from fastgan.errors import CheckpointError
from fastgan.training.draws import Draws


class Augmentation:
    """Changes every image that a discriminator sees, real or fake, in every update.

    A subclass must be twice differentiable in the images, because R1 goes through it, and must
    take all its random numbers from `draws`, so that they do not depend on how a step is divided.
    """

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """Return the images [N, C, H, W] as the discriminator is to see them."""
        raise NotImplementedError

    def after_update(self, means: Mapping[str, Tensor], batch: int) -> dict[str, Tensor]:
        """Follow statistics, after each main update of D.

        Args:
            means: what the update recorded, averaged over the global batch.
            batch: images in the global batch.

        Returns: scalars to log.
        """
        return {}

    def state_dict(self) -> dict[str, Tensor]:
        """Return what a checkpoint has to keep."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state_dict` returned.

        Raises: CheckpointError when these are other tensors.
        """
        expected = set(self.state_dict())
        if set(state) != expected:
            raise CheckpointError(
                f"augment: expected {', '.join(sorted(expected)) or 'nothing'}, "
                f"got {', '.join(sorted(state)) or 'nothing'}"
            )
