"""Traffic of noise_bias_act."""

from __future__ import annotations

import numpy as np

from fastgan.kernels import config
from fastgan.roofline import tiles
from fastgan.roofline.bias_act import FORWARD_FLOPS
from fastgan.roofline.calls import NoiseBiasAct
from fastgan.roofline.traffic import Stream, sectors, whole

NOISE_BYTES = 4  # noise is float32


def flops(call: NoiseBiasAct) -> int:
    """Floating-point operations."""
    return call.x.numel * (FORWARD_FLOPS + 1)


def _noise(call: NoiseBiasAct) -> int:
    """Bytes of the noise, a plane for each sample."""
    return call.x.batch * call.x.height * call.x.width * NOISE_BYTES


def compulsory(call: NoiseBiasAct) -> int:
    """Reads x, noise and bias, writes y."""
    return 2 * call.x.nbytes + _noise(call) + call.x.channels * call.x.item


def cuda(call: NoiseBiasAct) -> list[Stream]:
    """Streams of csrc/cuda/noise_bias_act_kernel.cuh, for aligned tensors."""
    x = call.x
    pixels = x.height * x.width
    if x.channels_last:
        each = tiles.NOISE_THREADS * tiles.PACK_BYTES // x.item  # neighbours that a block has
        first = np.arange(0, x.numel, each, dtype=np.int64)
        last = np.minimum(first + each, x.numel) - 1
        pixel = first // x.channels
        length = (last // x.channels - pixel + 1) * NOISE_BYTES
        noise = int(sectors((pixel * NOISE_BYTES)[:, None], length[:, None]).sum()) * 32
    else:
        pack = tiles.PACK_BYTES // x.item
        if pixels % pack or pixels * x.item % 32 or pixels // pack % tiles.NOISE_THREADS:
            raise ValueError(f"roofline: noise_bias_act of {x} has blocks that share planes")
        noise = _noise(call) * -(-x.channels // tiles.NOISE_PLANES)
    return [
        Stream("x", loaded=whole(x.nbytes)),
        Stream("noise", loaded=noise, once=(_noise(call), 0)),
        Stream("bias", loaded=whole(x.channels * x.item)),
        Stream("y", stored=whole(x.nbytes)),
    ]


def triton(call: NoiseBiasAct) -> list[Stream]:
    """Streams of kernels/noise_bias_act.py; tiles are whole rows or start on a sector."""
    x = call.x
    rows, cols = x.channels, x.height * x.width
    if x.channels_last:
        rows, cols = cols, rows
    block_rows, block_cols = config.noise_tile(rows, cols, x.channels_last)
    again = -(-cols // block_cols) if x.channels_last else -(-rows // block_rows)
    return [
        Stream("x", loaded=whole(x.nbytes)),
        Stream("noise", loaded=_noise(call) * again, once=(_noise(call), 0)),
        Stream("bias", loaded=whole(x.channels * x.item)),
        Stream("y", stored=whole(x.nbytes)),
    ]
