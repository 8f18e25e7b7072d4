"""The normalised weights of a network in one call, where its layers would compute one each.

Decides which weights to compute together and whether a result still holds when its layer asks for
it; the mathematics is in `fastgan.ops.spectral_norm_group`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from fastgan import ops
from fastgan.nn.spectral_norm import SpectralNorm, blocks

Result = tuple[Tensor, Tensor, Tensor]


@contextmanager
def spectral_norm_group(module: nn.Module) -> Iterator[None]:
    """Inside the block, compute the normalised weights of a network together.

    The first use of a weight that `fastgan.nn.spectral_norm` normalises computes those of all
    layers below `module`, in one call of `fastgan.ops.spectral_norm_group`, which on a GPU takes
    three launches instead of three for each layer. Every layer takes its own at its use, and u
    moves then. Outputs, buffers and gradients are those without the block: a second forward in
    training mode iterates anew, and a result whose layer has changed since (its weight by an
    operation that autograd sees, u, the mode, whether gradients are recorded) is not used.

    A layer computes its weight alone where the block does not reach: in a module compiled by
    torch.compile, inside `torch.utils.checkpoint` begun in the block (begin the block inside, as a
    network's own forward does), under functorch and dispatch modes. Blocks may be nested; the
    inner one serves what is in it. Each thread has its own.

    Args:
        module: any module; one without normalised weights makes the block do nothing.
    """
    if torch.compiler.is_compiling():
        yield
        return
    previous = blocks.stack
    blocks.stack = (_Group(module), *previous)
    try:
        yield
    finally:
        blocks.stack = previous


class _Call:
    """One computation of several weights."""

    is_spent = False  # a backward went through it and may have freed what it saved


@dataclass
class _Ready:
    """A weight that its layer has not taken yet. weight and u are held so that no other tensor
    can have their identity."""

    signature: tuple[Any, ...]
    weight: Tensor
    u: Tensor
    call: _Call
    result: Result


class _Group:
    """What `blocks` asks for the weights of one network."""

    def __init__(self, module: nn.Module) -> None:
        self.layers = {
            entry[0]: entry
            for entry in module.modules()
            if isinstance(entry, ParametrizationList)
            and entry.is_tensor
            and isinstance(entry[0], SpectralNorm)
        }
        self.hooks = _hooks_of_saved_tensors()
        self.ready: dict[nn.Module, _Ready] = {}

    def take(self, layer: SpectralNorm, weight: Tensor) -> Result | None:
        """The results for a layer, which will move u; None where it must compute them alone."""
        entry = self.layers.get(layer)
        if entry is None or weight is not entry.original or not self._reaches_here():
            return None
        if weight.is_inference() or layer.u.is_inference():  # their changes cannot be seen
            return None
        if not self._holds(layer, weight):
            self._compute(_kind(layer, weight))
        return self.ready.pop(layer).result

    def _reaches_here(self) -> bool:
        """Not in a checkpoint that began in the block: recomputing it must save the same tensors
        again, maybe after the block."""
        return (
            torch._C._functorch.peek_interpreter_stack() is None
            and torch._C._len_torch_dispatch_stack() == 0
            and _hooks_of_saved_tensors() == self.hooks
        )

    def _holds(self, layer: SpectralNorm, weight: Tensor) -> bool:
        ready = self.ready.get(layer)
        return (
            ready is not None
            and not ready.call.is_spent
            and ready.signature == _signature(layer, weight)
        )

    def _compute(self, kind: tuple[Any, ...]) -> None:
        """Compute the weights of a kind that are not ready."""
        chosen: list[tuple[SpectralNorm, Tensor]] = []
        for layer, entry in self.layers.items():
            weight = entry.original
            if weight.is_inference() or layer.u.is_inference():
                continue
            if _kind(layer, weight) == kind and not self._holds(layer, weight):
                chosen.append((layer, weight))
        first, _ = chosen[0]
        results = ops.spectral_norm_group(
            [weight for _, weight in chosen],
            [layer.u for layer, _ in chosen],
            n_power_iterations=first.iterations,
            eps=first.eps,
            dims=[layer.dim for layer, _ in chosen],
            backend=first.backend,
        )
        call = _Call()
        node = results[0][0].grad_fn
        if node is not None:
            node.register_prehook(lambda _: setattr(call, "is_spent", True))
        for (layer, weight), result in zip(chosen, results, strict=True):
            signature = _signature(layer, weight)
            self.ready[layer] = _Ready(signature, weight, layer.u, call, result)


def _kind(layer: SpectralNorm, weight: Tensor) -> tuple[Any, ...]:
    """What weights have in common that one call computes."""
    kind = (weight.dtype, weight.device, weight.requires_grad)
    return (*kind, layer.iterations, layer.eps, layer.backend)


def _signature(layer: SpectralNorm, weight: Tensor) -> tuple[Any, ...]:
    """What must be the same when a result is taken as when it was computed."""
    tensors = [(id(t), t.data_ptr(), t._version) for t in (weight, layer.u)]
    recording = (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
    return (*tensors, *recording, layer.dim, *_kind(layer, weight))


def _hooks_of_saved_tensors() -> Any:
    """The hooks through which autograd would save tensors now, such as those of a checkpoint."""
    return torch._C._autograd._top_saved_tensors_default_hooks(True)
