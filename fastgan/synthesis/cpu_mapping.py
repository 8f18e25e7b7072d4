"""The mapping network by the C++ engine, on the engine's own threads.

torch's threads stay awake for milliseconds after each operator, and the engine's, which render
next, would share the cores with them.
"""

from __future__ import annotations

from math import sqrt
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from fastgan.networks.layers import FullyConnected
from fastgan.networks.mapping import MappingNetwork


class CpuMapping:
    """A mapping network handed over to the C++ engine; called as `MappingNetwork` is.

    Args:
        network: the engine's, which takes the weights.
        mapping: where they come from. It is not kept.
    """

    def __init__(self, network: Any, mapping: MappingNetwork) -> None:
        layers = [cast(FullyConnected, mapping.get_submodule(name)) for name in mapping.layers]
        parts = [_dense(layer, sqrt(2)) for layer in layers]
        if mapping.c_dim > 0:
            parts.insert(0, _dense(mapping.embed, 1.0))
        weights, biases = zip(*parts, strict=True)
        network.set_mapping(mapping.z_dim, mapping.c_dim, weights, biases, slope=0.2)
        self._network, self._num_ws = network, mapping.num_ws or 1
        self._w_avg = None
        if mapping.w_avg_beta is not None:
            self._w_avg = mapping.w_avg.detach().to("cpu", torch.float32, copy=True)

    def __call__(self, z: Tensor, c: Tensor | None, truncation_psi: float = 1.0) -> Tensor:
        """Map z [N, z_dim] and c [N, c_dim] to ws, float32 [N, num_ws, w_dim]."""
        labels = np.zeros((len(z), 0), np.float32) if c is None else c.contiguous().numpy()
        threads = torch.get_num_threads()
        w = torch.from_numpy(self._network.map(z.contiguous().numpy(), labels, threads))
        if truncation_psi != 1.0:
            assert self._w_avg is not None  # the synthesizer has asked
            w = self._w_avg.lerp(w, truncation_psi)
        return w[:, None].repeat(1, self._num_ws, 1)


def _dense(layer: FullyConnected, gain: float) -> tuple[np.ndarray, np.ndarray]:
    """Return weight and bias with all gains; leaky ReLU is as good before a gain as after it."""
    weight = layer.weight.detach().double() * (layer.weight_gain * gain)
    bias = torch.zeros(len(weight)) if layer.bias is None else layer.bias.detach()
    return (
        weight.to("cpu", torch.float32).numpy(),
        (bias.double() * (layer.bias_gain * gain)).to("cpu", torch.float32).numpy(),
    )
