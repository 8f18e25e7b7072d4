"""The calls of ops that a StyleGAN2 makes: shapes, without a network or a tensor.

float16 images are channels_last and float32 images contiguous, as the networks have them on a GPU.
"tf32" is float32 whose convolutions may round their factors to TensorFloat-32, torch's default.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from fastgan.networks.geometry import Widths

DType: TypeAlias = Literal["fp32", "fp16", "tf32"]
ITEM_SIZE = {"fp32": 4, "fp16": 2, "tf32": 4}
SEPARATE_SIZE = 64  # smaller images are bound by launches, not by traffic
TAPS = 4  # of StyleGAN2's filter, [1, 3, 3, 1]


@dataclass(frozen=True)
class Images:
    """A batch of images in memory."""

    batch: int
    channels: int
    height: int
    width: int
    dtype: DType
    channels_last: bool

    @property
    def item(self) -> int:
        """Bytes of an element."""
        return ITEM_SIZE[self.dtype]

    @property
    def numel(self) -> int:
        """Elements."""
        return self.batch * self.channels * self.height * self.width

    @property
    def nbytes(self) -> int:
        """Bytes."""
        return self.numel * self.item

    def __str__(self) -> str:
        return f"{self.batch}x{self.channels}x{self.height}x{self.width}"


@dataclass(frozen=True)
class BiasAct:
    """Bias and activation of x; backward also sums the gradient of the bias."""

    x: Images
    backward: bool = False


@dataclass(frozen=True)
class NoiseBiasAct:
    """Noise, bias and activation of x in one pass."""

    x: Images


@dataclass(frozen=True)
class Upfirdn2d:
    """A resampling with a square filter; padding is that of both axes, (before, after)."""

    x: Images
    up: int
    down: int
    padding: tuple[int, int]
    taps: int = TAPS
    backward: bool = False

    @property
    def y(self) -> Images:
        """The result."""
        grow = sum(self.padding) - self.taps + self.down
        height, width = ((n * self.up + grow) // self.down for n in (self.x.height, self.x.width))
        return replace(self.x, height=height, width=width)

    def adjoint(self) -> Upfirdn2d:
        """The call that computes the gradient."""
        before = self.taps - 1 - self.padding[0]
        rest = self.x.width * self.up - self.y.width * self.down
        after = rest + self.padding[0] - self.up + 1
        return Upfirdn2d(self.y, self.down, self.up, (before, after), self.taps, True)


@dataclass(frozen=True)
class ModulatedConv2d:
    """A modulated convolution of x with all that follows it, keeping the size or doubling it.

    Attributes:
        x: input.
        out_channels, size: of the weight.
        up: 1, or 2 with the filter.
        rgb: a layer to the image: no demodulation, no noise, no activation.
        role: "forward" with bias, clamp and what else the layer has; "grad", the gradient of the
            input, and "again", what the gradient of the demodulation computes again, are
            convolutions and nothing else.
    """

    x: Images
    out_channels: int
    size: int
    up: int = 1
    rgb: bool = False
    role: Literal["forward", "grad", "again"] = "forward"

    @property
    def y(self) -> Images:
        """The result."""
        x = self.x
        return replace(
            x, channels=self.out_channels, height=x.height * self.up, width=x.width * self.up
        )

    @property
    def backward(self) -> bool:
        """Whether a gradient makes the call."""
        return self.role != "forward"

    @property
    def is_layer(self) -> bool:
        """Whether the result is demodulated, gets noise and is activated."""
        return not self.rgb and not self.backward

    def backward_calls(self) -> Iterator[Call]:
        """Calls of the gradients, without those of torch's convolution and of the scales."""
        yield BiasAct(self.y, backward=True)
        if not self.rgb:
            yield replace(self, role="again")
        if self.up == 1:
            yield ModulatedConv2d(self.y, self.x.channels, self.size, role="grad")
            return
        for _ in range(2):  # for the gradients of the input and of the weight
            yield Upfirdn2d(self.y, 1, 1, (2, 2), backward=True)


@dataclass(frozen=True)
class SpectralNorm:
    """One power iteration on a weight [rows, cols], and its division."""

    rows: int
    cols: int
    dtype: DType

    @property
    def nbytes(self) -> int:
        """Bytes of the weight."""
        return self.rows * self.cols * ITEM_SIZE[self.dtype]


Call: TypeAlias = BiasAct | NoiseBiasAct | Upfirdn2d | ModulatedConv2d | SpectralNorm


def stylegan2(resolution: int, batch: int, widths: Widths, dtype: DType) -> Counter[Call]:
    """Calls of one forward and backward pass through generator and discriminator, counted.

    The architectures are "skip" and "resnet". Two ops are not part of a StyleGAN2: spectral_norm is
    what normalising the discriminator's convolutions would add, and noise_bias_act what a layer
    would whose convolution is not the fused one.

    Args:
        resolution: of the images, a power of two.
        batch: images.
        widths: channels at each level.
        dtype: of all levels but the generator's image, which is summed in float32.
    """
    calls: Counter[Call] = Counter()
    level = resolution
    while level >= 4:
        calls.update(_generator_block(level, batch, widths, dtype))
        calls.update(_discriminator_block(level, batch, widths, dtype, top=level == resolution))
        level //= 2
    backward: Counter[Call] = Counter()
    for call, count in calls.items():
        if isinstance(call, Upfirdn2d):
            backward[call.adjoint()] += count
        elif isinstance(call, BiasAct):
            backward[replace(call, backward=True)] += count
        elif isinstance(call, ModulatedConv2d):
            for made in call.backward_calls():
                backward[made] += count
    return calls + backward


def _images(batch: int, channels: int, side: int, dtype: DType) -> Images:
    return Images(batch, channels, side, side, dtype, channels_last=dtype == "fp16")


def _generator_block(level: int, batch: int, widths: Widths, dtype: DType) -> Iterator[Call]:
    channels, half = widths(level), level // 2
    y = _images(batch, channels, level, dtype)
    if level > 4:
        yield ModulatedConv2d(_images(batch, widths(half), half, dtype), channels, 3, up=2)
        yield Upfirdn2d(_images(batch, 3, half, "fp32"), 2, 1, (2, 1))  # the image so far
    yield ModulatedConv2d(y, channels, 3)
    if level >= SEPARATE_SIZE:
        yield NoiseBiasAct(y)
    yield ModulatedConv2d(y, 3, 1, rgb=True)


def _discriminator_block(
    level: int, batch: int, widths: Widths, dtype: DType, *, top: bool
) -> Iterator[Call]:
    channels = widths(level)
    x = _images(batch, channels, level, dtype)
    if top:
        yield BiasAct(x)  # of fromrgb
    yield BiasAct(x)
    if level == 4:
        return
    below = widths(level // 2)
    yield SpectralNorm(channels, channels * 9, dtype)
    yield SpectralNorm(below, channels * 9, dtype)
    yield Upfirdn2d(x, 1, 1, (2, 2))  # before the strided convolution
    yield Upfirdn2d(x, 1, 2, (1, 1))  # of the shortcut
    yield BiasAct(_images(batch, below, level // 2, dtype))
