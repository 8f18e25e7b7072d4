"""Traffic and operations of modulated_conv2d: composed of passes, as it is now, and fused, as a
function of the tile of an implicit matrix product."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from fastgan.roofline.calls import ModulatedConv2d, Upfirdn2d
from fastgan.roofline.traffic import Stream, whole


@dataclass(frozen=True)
class ConvTile:
    """What a block of a fused kernel makes: pixels of the output by channels of the output."""

    height: int
    width: int
    channels: int


def weight_bytes(call: ModulatedConv2d) -> int:
    """Bytes of the weight, in the dtype of the images."""
    return call.out_channels * call.x.channels * call.size**2 * call.x.item


def flops(call: ModulatedConv2d) -> int:
    """Multiply-adds of the convolution: the taps at every input pixel, upsampled or not."""
    pixels = call.x.batch * call.x.height * call.x.width
    return 2 * call.size**2 * call.x.channels * call.out_channels * pixels


def compulsory(call: ModulatedConv2d) -> int:
    """Input, output, weight and styles once."""
    styles = call.x.batch * call.x.channels * 4
    return call.x.nbytes + call.y.nbytes + weight_bytes(call) + styles


def composed(call: ModulatedConv2d, resample: Callable[[Upfirdn2d], list[Stream]]) -> list[Stream]:
    """Scale the input, convolve with the library, filter, scale the output. The library's
    convolution is taken to read and write each byte once; demodulation, which the noise's pass
    does, is counted there.

    Args:
        call: the call.
        resample: streams of the backend's upfirdn2d.
    """
    x, y = call.x, call.y
    between = y
    if call.up == 2:
        between = replace(y, height=y.height + 1, width=y.width + 1)
    streams = [
        Stream("x", loaded=whole(x.nbytes)),
        Stream("styles", loaded=whole(x.batch * x.channels * 4)),
        Stream("scaled x", loaded=whole(x.nbytes), stored=whole(x.nbytes)),
        Stream("weight", loaded=whole(weight_bytes(call))),
        Stream("convolved", stored=whole(between.nbytes)),
    ]
    if call.up == 2:
        streams += resample(Upfirdn2d(between, 1, 1, (1, 1)))
    return streams


def fused(call: ModulatedConv2d, tile: ConvTile, taps: int = 4) -> list[Stream]:
    """One kernel: each block reads the inputs of its tile of pixels, halo included, for its block
    of output channels, and all of the weight that belongs to those channels.

    Args:
        call: the call.
        tile: what a block makes.
        taps: of the filter that follows the upsampling, which widens the halo.
    """
    x, y = call.x, call.y
    rows = _inputs(y.height, tile.height, call, taps, x.height)
    cols = _inputs(y.width, tile.width, call, taps, x.width)
    blocks_of_channels = -(-call.out_channels // tile.channels)
    blocks_of_pixels = -(-y.height // tile.height) * -(-y.width // tile.width)
    read = x.batch * rows * cols * x.channels * x.item * blocks_of_channels
    return [
        Stream("x", loaded=read),
        Stream("styles", loaded=whole(x.batch * x.channels * 4)),
        Stream("weight", loaded=x.batch * blocks_of_pixels * weight_bytes(call)),
        Stream("y", stored=whole(y.nbytes)),
    ]


def _inputs(outputs: int, step: int, call: ModulatedConv2d, taps: int, size: int) -> int:
    """Inputs along an axis that all tiles read, less what lies outside of the image."""
    reach = call.size - 1 if call.up == 1 else call.size - 1 + taps - 1
    total = 0
    for first in range(0, outputs, step):
        end = min(first + step, outputs)
        begin = (first - reach // 2) // call.up
        last = -(-(end + reach - reach // 2) // call.up)
        total += min(last, size) - max(begin, 0)
    return total
