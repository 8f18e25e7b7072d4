"""Starting a new run from trained weights: what fits by name and shape is taken over.

Optimisers, counters, random numbers and the state of regularisers start new; to go on with a run,
see checkpoint.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from fastgan.errors import CheckpointError
from fastgan.synthesis.model_file import find_model, load_model
from fastgan.training.checkpoint import find_checkpoint, load_verified
from fastgan.training.player import PlayerState, select
from fastgan.training.recipe import Side
from fastgan.training.state import TrainingState

LEAST_SHARE = 0.01  # a few small parameters fit everywhere
SHOWN = 12  # names per reason in a report


@dataclass(frozen=True)
class Transfer:
    """What became of one network.

    Attributes:
        net: its name.
        loaded: parameters and buffers that were taken over.
        reshaped: those that have another shape in the file, with both shapes; they start new.
        absent: those that the file does not have; they start new.
        unused: those that only the file has.
        share: of the numbers in its trained parameters, those that were taken over.
    """

    net: str
    loaded: tuple[str, ...]
    reshaped: tuple[str, ...]
    absent: tuple[str, ...]
    unused: tuple[str, ...]
    share: float

    def __str__(self) -> str:
        total = len(self.loaded) + len(self.reshaped) + len(self.absent)
        counts = f"{len(self.loaded)} of {total} tensors, {self.share:.0%} of the weights"
        lines = [f"{self.net}: {counts} loaded"]
        reasons = {
            "starts new, other shape": self.reshaped,
            "starts new, not in the file": self.absent,
            "in the file, not used": self.unused,
        }
        for reason, names in reasons.items():
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            lines += [f"  {reason}: {', '.join(names[:SHOWN])}{more}"] if names else []
        return "\n".join(lines)


def initialize_from(state: TrainingState, path: Path) -> tuple[Transfer, ...]:
    """Take over the weights that fit the networks of a fresh run.

    A checkpoint gives each network its own weights and its average's; a model file gives the
    generator and its average the same ones, and says nothing of a discriminator.

    Args:
        state: a run before its first step.
        path: a checkpoint, the folder of a run, or a model file.

    Returns: one entry per network of the run.
    Raises: CheckpointError when there is nothing to load at the path, it is damaged, or next to
        nothing in it fits.
    """
    found, averages = _read(state, path)
    transfers = []
    for player in state.players.values():
        for name, net in player.nets.items():
            transfers.append(_fill(name, net, found.get(name, {})))
        _fill_averages(player, averages)
    if max(transfer.share for transfer in transfers) < LEAST_SHARE:
        names = ", ".join(transfer.net for transfer in transfers)
        raise CheckpointError(
            f"{path}: next to nothing in it fits the networks {names} of this run by name and "
            "shape; start from a model of the same recipe, with the same channels"
        )
    return tuple(transfers)


Nets = dict[str, dict[str, Tensor]]


def _read(state: TrainingState, path: Path) -> tuple[Nets, Nets]:
    """Trained and averaged weights by network; a folder's checkpoint is preferred to its model."""
    try:
        folder = find_checkpoint(path)
    except CheckpointError:
        generator, _ = load_model(find_model(path))
        weights = {state.recipe.edges[0].generator: dict(generator.state_dict())}
        return weights, weights
    tensors = load_verified(folder)
    trained: Nets = {}
    averages: Nets = {}
    sides: Mapping[Side, PlayerState] = state.players
    for side, player in sides.items():
        for name in player.nets:
            trained[name] = select(tensors, f"player/{side}/net/{name}/")
            averages[name] = select(tensors, f"player/{side}/ema/{name}/") or trained[name]
    return trained, averages


def _fill_averages(player: PlayerState, averages: Nets) -> None:
    for name, net in (player.ema.nets if player.ema is not None else {}).items():
        net.load_state_dict(player.nets[name].state_dict())
        _fill(name, net, averages.get(name, {}))


@torch.no_grad()
def _fill(name: str, net: nn.Module, tensors: Mapping[str, Tensor]) -> Transfer:
    own = net.state_dict()
    shared = sorted(own.keys() & tensors.keys())
    fits = [key for key in shared if own[key].shape == tensors[key].shape]
    net.load_state_dict({**own, **{key: tensors[key] for key in fits}})
    reshaped = tuple(
        f"{key} {_shape(tensors[key])} -> {_shape(own[key])}" for key in shared if key not in fits
    )
    absent, unused = own.keys() - tensors.keys(), tensors.keys() - own.keys()
    sizes = {key: parameter.numel() for key, parameter in net.named_parameters()}
    share = sum(sizes.get(key, 0) for key in fits) / max(sum(sizes.values()), 1)
    missing, extra = tuple(sorted(absent)), tuple(sorted(unused))
    return Transfer(name, tuple(fits), reshaped, missing, extra, share)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
