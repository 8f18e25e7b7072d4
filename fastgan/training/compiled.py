"""Networks through torch.compile, for the updates that need first gradients only.

torch refuses to differentiate a compiled graph twice, so an update with a gradient penalty stays
eager. Compiled and eager updates share their parameters.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fastgan.errors import ConfigError
from fastgan.training.recipe import TrainingRecipe
from fastgan.training.regularizers import Regularizer

if TYPE_CHECKING:
    from fastgan.training.state import TrainingState


def compiled_nets(state: TrainingState) -> Mapping[str, nn.Module] | None:
    """Return handles on all networks when the settings ask for them; None when they do not.

    The handles compile at their first call, each shape of a micro-batch by itself.

    Raises: ConfigError when the chosen compiler does not work here.
    """
    if not state.config.compile:
        return None
    compiler: Callable[..., Any] = partial(
        torch.compile, backend=state.config.compile_backend, dynamic=False
    )
    check_compiler(compiler, state.config.compile_backend, state.device)
    _say_what_stays_eager(state.recipe)
    generation, players = state.recipe.generation, state.players
    handles = {name: compiler(net) for name, net in players["d"].nets.items()}
    return handles | {
        name: generation.compiled(net, compiler) for name, net in players["g"].nets.items()
    }


def check_compiler(compiler: Callable[..., Any], backend: str, device: torch.device) -> None:
    """Compile and run something small.

    Raises: ConfigError when that fails, with the reason and the ways out.
    """

    def probe(x: Tensor) -> Tensor:
        return x.sin() + 1

    try:
        compiler(probe)(torch.ones(8, device=device))
    except Exception as error:  # every compiler has its own
        reason = " ".join(str(error).split("\n\n")[0].split())[:300]
        raise ConfigError(
            f"compile: torch.compile with backend {backend!r} does not work here ({reason}). "
            "inductor needs a C++ compiler on the CPU (install g++ or clang, or set CXX) and "
            "Triton on a GPU; or train without --compile"
        ) from error


def blocking(regularizers: tuple[Regularizer, ...]) -> list[str]:
    """Names of the penalties that keep an update eager."""
    return [reg.name for reg in regularizers if reg.needs_second_order]


def _say_what_stays_eager(recipe: TrainingRecipe) -> None:
    for side in ("d", "g"):
        main = tuple(reg for reg in recipe.regularizers if reg.side == side and not reg.is_lazy)
        names = blocking(main)
        if names:
            warnings.warn(
                f"compile: the main update of {side.upper()} stays eager, because "
                f"{', '.join(names)} is part of it and differentiates a gradient, which compiled "
                "graphs do not allow; a penalty with an interval above 1 has its own update",
                stacklevel=2,
            )


@contextmanager
def frozen(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Keep a compiled graph from computing gradients of the other player's parameters.

    Eager autograd skips what nobody asked for; a compiled backward computes all or nothing.
    """
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
