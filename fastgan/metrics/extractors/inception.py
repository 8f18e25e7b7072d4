"""The Inception network that FID is defined with, its weights loaded from a file of the user's.

It is the TensorFlow graph of 2015 (1008 classes), not the later Inception-v3: average pools leave
the padding out, and the last block pools by maximum. Names are those of the ports that
torch-fidelity and pytorch-fid load (`Mixed_5b.branch1x1.conv.weight`, ...), so their file fits.

Source: Szegedy et al. 2015, "Rethinking the Inception Architecture"; Heusel et al. 2017.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastgan.errors import ConfigError
from fastgan.files import sha256
from fastgan.metrics.extractors.base import Extracted, Names, to_rgb
from fastgan.metrics.resize import bilinear_tf1

# A branch: convolutions after each other, (name, output channels, kernel, stride, padding); the
# names of a block's parallel ends are joined in a tuple of branches.
Layer = tuple[str, int, tuple[int, int], int, tuple[int, int]]
ONE, THREE, FIVE = (1, 1), (3, 3), (5, 5)
WIDE, TALL = ((1, 7), (0, 3)), ((7, 1), (3, 0))


class BasicConv2d(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(
        self,
        channels: int,
        out: int,
        kernel: tuple[int, int],
        stride: int = 1,
        padding: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """Run the three."""
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Mixed(nn.Module):
    """Branches side by side, joined by channel.

    Args:
        channels: of the input.
        branches: each a chain of layers.
        pool: what the last branch pools with: "mean", "max", or "max/2", which halves the size.
        pool_out: channels of the convolution after the pool; 0 is without.
        split: of a chain's last layer, two side by side, 1 x 3 and 3 x 1, by its index.
    """

    def __init__(
        self,
        channels: int,
        branches: list[list[Layer]],
        pool: str,
        pool_out: int = 0,
        split: tuple[tuple[str, int], ...] = (),
    ) -> None:
        super().__init__()
        self.pool, self.chains = pool, [[layer[0] for layer in chain] for chain in branches]
        self.ends: dict[int, tuple[str, str]] = {}
        for index, chain in enumerate(branches):
            into = channels
            for name, out, kernel, stride, padding in chain:
                self.add_module(name, BasicConv2d(into, out, kernel, stride, padding))
                into = out
            if index in (wanted := {number: name for name, number in split}):
                self.ends[index] = (f"{wanted[index]}a", f"{wanted[index]}b")
                for name, (kernel, padding) in zip(
                    self.ends[index], (((1, 3), (0, 1)), ((3, 1), (1, 0))), strict=True
                ):
                    self.add_module(name, BasicConv2d(into, 384, kernel, 1, padding))
        if pool_out:
            self.branch_pool = BasicConv2d(channels, pool_out, ONE)
        self.has_pool_conv = pool_out > 0

    def forward(self, x: Tensor) -> Tensor:
        """Join what the branches make."""
        found = []
        for index, chain in enumerate(self.chains):
            y = x
            for name in chain:
                y = self.get_submodule(name)(y)
            ends = self.ends.get(index)
            found += [y] if ends is None else [self.get_submodule(name)(y) for name in ends]
        if self.pool == "mean":
            pooled = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        else:
            pooled = F.max_pool2d(x, 3, 2) if self.pool == "max/2" else F.max_pool2d(x, 3, 1, 1)
        return torch.cat([*found, self.branch_pool(pooled) if self.has_pool_conv else pooled], 1)


def _mixed_5(channels: int, pool_out: int) -> Mixed:
    return Mixed(
        channels,
        [
            [("branch1x1", 64, ONE, 1, (0, 0))],
            [("branch5x5_1", 48, ONE, 1, (0, 0)), ("branch5x5_2", 64, FIVE, 1, (2, 2))],
            [
                ("branch3x3dbl_1", 64, ONE, 1, (0, 0)),
                ("branch3x3dbl_2", 96, THREE, 1, (1, 1)),
                ("branch3x3dbl_3", 96, THREE, 1, (1, 1)),
            ],
        ],
        "mean",
        pool_out,
    )


def _mixed_6a() -> Mixed:
    return Mixed(
        288,
        [
            [("branch3x3", 384, THREE, 2, (0, 0))],
            [
                ("branch3x3dbl_1", 64, ONE, 1, (0, 0)),
                ("branch3x3dbl_2", 96, THREE, 1, (1, 1)),
                ("branch3x3dbl_3", 96, THREE, 2, (0, 0)),
            ],
        ],
        "max/2",
    )


def _mixed_6(width: int) -> Mixed:
    return Mixed(
        768,
        [
            [("branch1x1", 192, ONE, 1, (0, 0))],
            [
                ("branch7x7_1", width, ONE, 1, (0, 0)),
                ("branch7x7_2", width, WIDE[0], 1, WIDE[1]),
                ("branch7x7_3", 192, TALL[0], 1, TALL[1]),
            ],
            [
                ("branch7x7dbl_1", width, ONE, 1, (0, 0)),
                ("branch7x7dbl_2", width, TALL[0], 1, TALL[1]),
                ("branch7x7dbl_3", width, WIDE[0], 1, WIDE[1]),
                ("branch7x7dbl_4", width, TALL[0], 1, TALL[1]),
                ("branch7x7dbl_5", 192, WIDE[0], 1, WIDE[1]),
            ],
        ],
        "mean",
        192,
    )


def _mixed_7a() -> Mixed:
    return Mixed(
        768,
        [
            [("branch3x3_1", 192, ONE, 1, (0, 0)), ("branch3x3_2", 320, THREE, 2, (0, 0))],
            [
                ("branch7x7x3_1", 192, ONE, 1, (0, 0)),
                ("branch7x7x3_2", 192, WIDE[0], 1, WIDE[1]),
                ("branch7x7x3_3", 192, TALL[0], 1, TALL[1]),
                ("branch7x7x3_4", 192, THREE, 2, (0, 0)),
            ],
        ],
        "max/2",
    )


def _mixed_7(channels: int, pool: str) -> Mixed:
    return Mixed(
        channels,
        [
            [("branch1x1", 320, ONE, 1, (0, 0))],
            [("branch3x3_1", 384, ONE, 1, (0, 0))],
            [
                ("branch3x3dbl_1", 448, ONE, 1, (0, 0)),
                ("branch3x3dbl_2", 384, THREE, 1, (1, 1)),
            ],
        ],
        pool,
        192,
        split=(("branch3x3_2", 1), ("branch3x3dbl_3", 2)),
    )


class InceptionNetwork(nn.Module):
    """Images [N, 3, 299, 299] in [-1, 1] to features [N, 2048] and logits without bias."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = BasicConv2d(3, 32, THREE, 2)
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, THREE)
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, THREE, 1, (1, 1))
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80, ONE)
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, THREE)
        self.Mixed_5b, self.Mixed_5c = _mixed_5(192, 32), _mixed_5(256, 64)
        self.Mixed_5d, self.Mixed_6a = _mixed_5(288, 64), _mixed_6a()
        self.Mixed_6b, self.Mixed_6c = _mixed_6(128), _mixed_6(160)
        self.Mixed_6d, self.Mixed_6e = _mixed_6(160), _mixed_6(192)
        self.Mixed_7a = _mixed_7a()
        self.Mixed_7b, self.Mixed_7c = _mixed_7(1280, "mean"), _mixed_7(2048, "max")
        self.fc = nn.Linear(2048, 1008)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run the network; the published score leaves the bias of the classifier out."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = F.max_pool2d(x, 3, 2)
        for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"):
            x = self.get_submodule(f"Mixed_{name}")(x)
        features = x.mean(dim=(2, 3))
        return features, features @ self.fc.weight.T


class Inception:
    """The extractor "inception": the one whose distance is called FID.

    Args:
        path: state dict as torch-fidelity and pytorch-fid publish it.
        device: where it runs.

    Raises: ConfigError when the file is missing, damaged or of another network.
    """

    name, names, has_logits = "inception", Names("FID", "KID", ""), True
    resize = "bilinear TF1 299x299"

    def __init__(self, path: Path, *, device: str = "cpu") -> None:
        if not path.is_file():
            raise ConfigError(f"extractor-weights: no file {path}")
        with torch.device("meta"):  # no time for weights that the file replaces
            network = InceptionNetwork()
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            network.load_state_dict(state, assign=True)
        except OSError:
            raise
        except Exception as error:  # rubbish has the restricted unpickler raise anything
            reason = " ".join(str(error).split())[:200]
            raise ConfigError(
                f"extractor-weights: {path} is not the FID Inception network's state dict "
                f"({reason})"
            ) from error
        self.network = network.to(device).eval().requires_grad_(False)
        self.device, self.key = device, f"inception/{sha256(path)}"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Extracted:
        x = bilinear_tf1(to_rgb(images.to(self.device)), 299)
        features, logits = self.network((x - 128) / 128)
        return Extracted(features.cpu(), logits.cpu())
