"""Who trains: fastgan's networks and the same ones in plain PyTorch, in fastgan's own step.

All share draws, data, losses and optimiser, and start with the same weights, so that their
gradients compare by name and their times differ by the networks alone.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from benchmarks.plain_stylegan2 import PlainDiscriminator, PlainGenerator
from fastgan import use_backend
from fastgan.config import TrainConfig
from fastgan.data import Dataset
from fastgan.dispatch import registry
from fastgan.dispatch.spec import OpCall
from fastgan.errors import ConfigError
from fastgan.networks import StyleGAN2Generator
from fastgan.networks.dcgan import Activation
from fastgan.training import Phase, RecipeModule, Step, TrainingRecipe, start_state

Nets: TypeAlias = tuple[nn.Module, nn.Module]  # generator, discriminator
Change: TypeAlias = Callable[[nn.Module, nn.Module], Nets]


class ChangedRecipe:
    """A recipe with other modules in the place of its networks.

    Args:
        base: the recipe.
        change: takes generator and discriminator and returns others.
    """

    def __init__(self, base: RecipeModule, change: Change) -> None:
        self.NAME, self.Config, self.PRESETS = base.NAME, base.Config, base.PRESETS
        self.base, self.change = base, change

    def build(self, config: Any, dataset: Dataset) -> TrainingRecipe:
        """Build the recipe and change its networks."""
        recipe = self.base.build(config, dataset)
        made = self.change(recipe.players["g"].nets["G"], recipe.players["d"].nets["D"])
        if not (
            isinstance(made, tuple)
            and len(made) == 2
            and all(isinstance(m, nn.Module) for m in made)
        ):
            raise ConfigError(
                "--contender: expected (generator, discriminator), two modules, got "
                f"{type(made).__name__}"
            )
        nets = {"g": {"G": made[0]}, "d": {"D": made[1]}}
        players = {side: replace(p, nets=nets[side]) for side, p in recipe.players.items()}
        return replace(recipe, players=players)


class Trainer:
    """One contender: a step, and updates of its phases.

    Args:
        recipe, config, dataset: what is trained.
        change: puts other modules in the place of the networks.
        backend: of fastgan's ops.
        compiled: run the phases without second-order gradients through torch.compile; the networks
            must be the plain ones.
    """

    def __init__(
        self,
        recipe: RecipeModule,
        config: TrainConfig,
        dataset: Dataset,
        *,
        change: Change | None = None,
        backend: str = "reference",
        compiled: bool = False,
    ) -> None:
        changed: RecipeModule = recipe if change is None else ChangedRecipe(recipe, change)
        self.step = Step(start_state(config, changed, dataset))
        self.backend = backend
        self.phases = {phase.name: phase for phase in self.step.phases()}  # step 0 has every one
        nets = self.step.state.nets
        self.fast: dict[str, Any] = {}
        if compiled:
            torch._dynamo.reset()
            generator: Any = nets["G"]
            discriminator: Any = nets["D"]
            self.fast["G"] = torch.compile(generator.synthesis.render, dynamic=False)
            self.fast["D"] = torch.compile(discriminator.judge, dynamic=False)

    def update(self, name: str) -> None:
        """Carry out one update: gradients and optimiser step; or move the averages ("ema")."""
        if name == "ema":
            for player in self.step.state.players.values():
                if player.ema is not None:
                    player.ema.update(self.step.state.config.batch, 1000)
            return
        phase = self.phases[name]
        self._switch(phase)
        with use_backend(self.backend):
            self.step.update(phase)

    def gradients(self, name: str) -> tuple[Tensor, dict[str, Tensor]]:
        """Return loss and gradients by name of a phase, without an update."""
        phase, state = self.phases[name], self.step.state
        self._switch(phase)
        player = state.players[phase.side]
        with use_backend(self.backend):
            ctx = self.step.context(phase, state.draws(phase.name, phase.batch))
            loss = self.step.loss(phase, ctx)
            found = torch.autograd.grad(
                loss, player.parameters, allow_unused=True, materialize_grads=True
            )
        return loss.detach(), dict(zip(player.named_parameters, found, strict=True))

    def _switch(self, phase: Phase) -> None:
        """Use the compiled networks where they serve: torch refuses their double backward.

        A compiled backward pass computes what requires a gradient, asked for or not, so the
        player that rests must not require any.
        """
        if not self.fast:
            return
        nets: dict[str, Any] = dict(self.step.state.nets)
        nets["G"].synthesis.compiled = self.fast["G"] if phase.is_main else None
        nets["D"].compiled = self.fast["D"] if phase.is_main else None
        nets["D"].requires_grad_(phase.side == "d" or not phase.is_main)


def plain_networks(channels_last: bool) -> Change:
    """Return the change to plain PyTorch, for StyleGAN2 and DCGAN."""

    def change(generator: nn.Module, discriminator: nn.Module) -> Nets:
        if isinstance(generator, StyleGAN2Generator):
            judge: Any = discriminator
            return (
                PlainGenerator(generator, channels_last=channels_last),
                PlainDiscriminator(judge, channels_last=channels_last),
            )
        nets = plain_dcgan(generator), plain_dcgan(discriminator)
        if channels_last:
            for net in nets:
                net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return nets

    return change


def plain_dcgan(net: nn.Module) -> nn.Module:
    """Return a copy whose activations are torch's own, in place where that is usual."""
    torchs: dict[str, Callable[[], nn.Module]] = {
        "relu": lambda: nn.ReLU(inplace=True),
        "lrelu": lambda: nn.LeakyReLU(0.2),  # its output is also returned as a feature
        "tanh": nn.Tanh,
    }
    net = copy.deepcopy(net)
    for name, module in list(net.named_modules()):
        if isinstance(module, Activation):
            parent, _, key = name.rpartition(".")
            setattr(net.get_submodule(parent), key, torchs[module.act]())
    return net


def kernels() -> str:
    """Return the fastest backend of fastgan's ops for the CPU."""
    call = OpCall("bias_act", "cpu", torch.float32)
    return next(name for name in registry.AUTO_ORDER["cpu"] if registry.why_not(name, call) is None)
