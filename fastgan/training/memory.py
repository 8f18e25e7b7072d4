"""What to do when memory runs out in an update: the same update again, in smaller pieces.

The effective batch stays; only `micro_batch`, images per forward pass, gets smaller. An update that
failed half-way must leave no trace, see `Untouched`.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from fastgan.config import TrainConfig
from fastgan.errors import ConfigError, FastganError
from fastgan.training import distributed
from fastgan.training.recipe import Side
from fastgan.training.state import TrainingState

T = TypeVar("T")

# What allocators say; torch has a class of its own for CUDA alone.
_SIGNS = ("not enough memory", "can't allocate memory", "out of memory", "bad_alloc")


class TrainingMemoryError(FastganError, RuntimeError):
    """Memory does not suffice, however the batch is divided; the message says what to change."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be had, on whichever device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


class Untouched:
    """Undoes what computing gradients changes beside returning them.

    A forward pass in training mode moves buffers (running statistics of batch norm, u of spectral
    norm) and may draw from torch's global generators; a backward pass adds to gradients. What else
    an update moves (parameters, optimiser, w_avg, path length mean, averages) it moves after the
    last backward pass, when nothing can fail for the size of a micro-batch.

    Buffers are copied before every update. Version counters would tell which ones have moved, but
    batch norm moves its statistics without a word to them.
    """

    def __init__(self, state: TrainingState) -> None:
        self.state = state
        self._copies: list[Tensor] = []

    @torch.no_grad()
    def remember(self) -> None:
        """Note how things are now, before the gradients of an update."""
        buffers = self._buffers()
        if self._copies:
            torch._foreach_copy_(self._copies, buffers)
        else:
            self._copies = [buffer.clone() for buffer in buffers]
        self._cpu = torch.get_rng_state()
        device = self.state.device
        self._cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    @torch.no_grad()
    def restore(self, side: Side) -> None:
        """Bring things back to where `remember` was called, and forget the player's gradients."""
        for buffer, copy in zip(self._buffers(), self._copies, strict=True):
            buffer.copy_(copy)
        torch.set_rng_state(self._cpu)
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda, self.state.device)
        self.state.players[side].zero_grad()

    def _buffers(self) -> list[Tensor]:
        return [buffer for net in self.state.nets.values() for buffer in net.buffers()]


def repeat_until_it_fits(
    untouched: Untouched, side: Side, part: str, attempt: Callable[[], T]
) -> T:
    """Return what `attempt` returns, after halving the micro-batch as often as memory asks for.

    All processes halve together when it runs out in one of them.

    Args:
        untouched: of this run; its state's `config.micro_batch` is changed.
        side: the player whose gradients are computed.
        part: what they are of, for messages.
        attempt: computes gradients from the start; it must read the micro-batch anew.

    Raises: TrainingMemoryError when the micro-batch cannot be halved any more.
    """
    state = untouched.state
    while True:
        untouched.remember()
        reason, result = None, None
        try:
            result = attempt()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            reason = str(error).splitlines()[0]
        # Out of the handler, so that the traceback no longer holds the tensors of the attempt.
        if not distributed.any_process(reason is not None):
            return result  # type: ignore[return-value]  # it was computed when nothing failed
        del result
        untouched.restore(side)
        gc.collect()
        if state.device.type == "cuda":
            torch.cuda.empty_cache()
        before = images_per_pass(state)
        state.config = _halved(state, part, reason or "in another process")
        distributed.announce(
            f"out of memory in {part} at step {state.step}: micro_batch {before} -> "
            f"{state.config.micro_batch}, the batch stays {state.config.batch} ({reason})"
        )


def images_per_pass(state: TrainingState) -> int:
    """Return how many images of this process go through the networks at once."""
    share = -(-state.config.batch // distributed.world())
    return min(state.config.micro_batch or share, share)


def smaller_pass(config: TrainConfig, images: int) -> int:
    """Return half of the images per pass, or the next smaller number that the recipe can take.

    Raises: ConfigError when there is none.
    """
    reason = "it is one image"
    for size in range(images // 2, 0, -1):
        try:
            return replace(config, micro_batch=size).micro_batch or size
        except ConfigError as error:
            reason = str(error)
    raise ConfigError(reason)


def _halved(state: TrainingState, part: str, reason: str) -> TrainConfig:
    try:
        return replace(state.config, micro_batch=smaller_pass(state.config, images_per_pass(state)))
    except ConfigError as error:
        raise TrainingMemoryError(
            f"out of memory in {part} with micro_batch {images_per_pass(state)}, which cannot be "
            f"halved ({error}). Make the networks or the images smaller, or free memory; "
            f"`fastgan plan` estimates what a run needs. The allocator said: {reason}"
        ) from error
