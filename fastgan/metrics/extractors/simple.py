"""Extractors without weights from elsewhere: pixels, seeded convolutions, a classifier of yours."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastgan.metrics.extractors.base import Extracted, Names, to_rgb
from fastgan.metrics.resize import antialiased


class Pixels:
    """The pixels themselves, as they are, in 0..1."""

    name, names = "pixels", Names.of("pixels")
    resize, key, has_logits = "none", "pixels", False

    def __call__(self, images: Tensor) -> Extracted:
        return Extracted(images.to(torch.float32).flatten(1) / 255)


class RandomConv:
    """A fixed network of random convolutions: mean and spread of each channel at four scales.

    Its weights are a function of the seed alone. It needs no file and sees colour and texture, but
    knows nothing of the world.

    Args:
        seed: of the weights.
        size: side that images are resized to.
        device: where it runs.
    """

    SIZE = 64
    WIDTHS = (32, 48, 64, 96)
    name, names, has_logits = "random-conv", Names.of("RandomConv"), False

    def __init__(self, seed: int = 0, *, size: int = SIZE, device: str = "cpu") -> None:
        generator = torch.Generator().manual_seed(seed)
        self.weights = []
        for into, out in zip((3, *self.WIDTHS), self.WIDTHS, strict=False):
            weight = torch.randn(out, into, 3, 3, generator=generator) * (2 / (9 * into)) ** 0.5
            self.weights.append(weight.to(device))
        self.size, self.device = size, device
        self.resize = f"bilinear antialiased {size}x{size}"
        self.key = f"random-conv/{seed}/{size}"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Extracted:
        x = antialiased(to_rgb(images.to(self.device)), self.size) / 127.5 - 1
        parts = []
        for weight in self.weights:
            x = F.leaky_relu(F.conv2d(x, weight, stride=2, padding=1), 0.2)
            parts += [x.mean(dim=(2, 3)), x.std(dim=(2, 3), correction=0)]
        return Extracted(torch.cat(parts, dim=1).cpu())


class Classifier:
    """A network of yours, such as one trained on the task, so that IS means something there.

    Args:
        network: maps images, prepared by `prepare`, to logits [N, K], or to (features, logits).
        label: what scores are called: "digits" gives IS-digits, FD-digits.
        resize: what `prepare` does to the size, in words.
        prepare: images [N, C, H, W] in 0..255 to the network's input; None: to [-1, 1].
    """

    has_logits = True

    def __init__(
        self,
        network: nn.Module,
        label: str,
        *,
        resize: str = "none",
        prepare: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.network, self.prepare = network.eval(), prepare or _signed_unit
        self.name, self.names, self.resize = label, Names.of(label), resize
        digest = hashlib.sha256(resize.encode())
        for name, value in network.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        self.key = f"{label}/{digest.hexdigest()}"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Extracted:
        found = self.network(self.prepare(images))
        features, logits = found if isinstance(found, tuple) else (found, found)
        return Extracted(features.detach().float().cpu(), logits.detach().float().cpu())


def _signed_unit(images: Tensor) -> Tensor:
    return images.float() / 127.5 - 1
