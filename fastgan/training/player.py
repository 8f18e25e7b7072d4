"""A player while it trains: networks on their device, optimiser, average, and one update."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fastgan.errors import CheckpointError
from fastgan.training.distributed import sum_over_processes
from fastgan.training.ema import EMA
from fastgan.training.optimizers import lazy_correction
from fastgan.training.recipe import Player
from fastgan.training.regularizers import Regularizer


class PlayerState:
    """Networks, optimiser and average of one player.

    Args:
        player: the recipe's part; its networks are moved, not copied.
        regularizers: those of its side.
        device, dtype: where and in which format to train.
    """

    def __init__(
        self,
        player: Player,
        regularizers: Iterable[Regularizer],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.player = player
        self.nets = {name: net.to(device, dtype).train() for name, net in player.nets.items()}
        self.named_parameters = {
            f"{name}.{key}": parameter
            for name, net in self.nets.items()
            for key, parameter in net.named_parameters()
            if parameter.requires_grad
        }
        self.parameters: list[nn.Parameter] = list(self.named_parameters.values())
        lazy = [regularizer.every for regularizer in regularizers if regularizer.is_lazy]
        self._correction = lazy_correction(lazy)
        self.optimizer = player.optimizer(self.parameters, self._correction)
        self._full_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.ema = EMA(self.nets, player.ema) if player.ema is not None else None

    @property
    def sampling_nets(self) -> Mapping[str, nn.Module]:
        """The averaged networks, or the trained ones where no average is kept."""
        return self.ema.nets if self.ema is not None else self.nets

    def zero_grad(self) -> None:
        """Forget gradients."""
        self.optimizer.zero_grad(set_to_none=True)

    def update(self, progress: float) -> None:
        """Sum gradients over processes, clean them, and take one optimiser step.

        NaN becomes 0 and infinity 1e5, so that one overflow does not end a run. A parameter that
        the loss does not reach has gradient 0, as autograd may say None or 0 depending on the
        operators' backend, and Adam skips the parameter only for the former.
        """
        gradients = []
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        sum_over_processes(gradients)
        for gradient in gradients:
            torch.nan_to_num(gradient, nan=0.0, posinf=1e5, neginf=-1e5, out=gradient)
        if self.player.schedule is not None:
            factor = self.player.schedule(progress)
            for group, rate in zip(self.optimizer.param_groups, self._full_rates, strict=True):
                group["lr"] = rate * factor
        if self.player.beta2 is not None:
            beta2 = self.player.beta2(progress) ** self._correction
            for group in self.optimizer.param_groups:
                group["betas"] = (group["betas"][0], beta2)
        self.optimizer.step()

    def state_dict(self) -> dict[str, Tensor]:
        """Return networks, average and optimiser as flat names and tensors."""
        state: dict[str, Tensor] = {}
        for name, net in self.nets.items():
            state |= {f"net/{name}/{key}": value for key, value in net.state_dict().items()}
        for name, net in (self.ema.nets if self.ema is not None else {}).items():
            state |= {f"ema/{name}/{key}": value for key, value in net.state_dict().items()}
        for name, parameter in self.named_parameters.items():
            for key, value in self.optimizer.state[parameter].items():
                state[f"optimizer/{name}/{key}"] = torch.as_tensor(value)
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state_dict` returned.

        Raises: CheckpointError when names or shapes are not those of these networks.
        """
        for name, net in self.nets.items():
            _load_net(net, f"net/{name}/", state)
        for name, net in (self.ema.nets if self.ema is not None else {}).items():
            _load_net(net, f"ema/{name}/", state)
        saved = self.optimizer.state_dict()
        saved["state"] = self._optimizer_entries(state)
        self.optimizer.load_state_dict(saved)

    def _optimizer_entries(self, state: Mapping[str, Tensor]) -> dict[int, dict[str, Any]]:
        """Return what the optimiser kept per parameter, by the number torch gives it."""
        entries: dict[int, dict[str, Any]] = {}
        names = {id(parameter): name for name, parameter in self.named_parameters.items()}
        ordered = [p for group in self.optimizer.param_groups for p in group["params"]]
        for index, parameter in enumerate(ordered):
            name = names[id(parameter)]
            kept = select(state, f"optimizer/{name}/")
            for key, value in kept.items():
                if value.ndim > 0 and value.shape != parameter.shape:
                    raise CheckpointError(
                        f"checkpoint: optimizer/{name}/{key} has shape {tuple(value.shape)}, "
                        f"the parameter has {tuple(parameter.shape)}"
                    )
            if kept:  # a parameter without a gradient so far has no entry
                entries[index] = dict(kept)
        return entries


def gradient_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Return the Euclidean norm of all gradients together, a scalar."""
    norms = torch._foreach_norm([p.grad for p in parameters if p.grad is not None])
    return torch.linalg.vector_norm(torch.stack(norms))


def select(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the entries whose name starts with `prefix`, without it."""
    return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}


def _load_net(net: nn.Module, prefix: str, state: Mapping[str, Tensor]) -> None:
    try:
        net.load_state_dict(select(state, prefix))
    except RuntimeError as error:
        raise CheckpointError(f"checkpoint: {prefix} does not fit the network: {error}") from error
