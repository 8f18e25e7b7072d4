"""What a phase of a step takes: bytes and seconds, from a few images through the networks.

The probe uses up a state: gradients, buffers and optimisers of it are no longer those of a run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from fastgan import timing
from fastgan.errors import ConfigError
from fastgan.training.state import TrainingState
from fastgan.training.step import Phase, Step


@dataclass(frozen=True)
class PhaseCost:
    """What one forward and backward pass of a phase takes, as a line in the number of images.

    Attributes:
        part: name, as in a profile.
        share: images of this phase for each image of a main update.
        fixed: bytes that do not depend on the images.
        per_image: bytes for each image.
        seconds: for each image.
        every: steps from one to the next.
    """

    part: str
    share: float
    fixed: float
    per_image: float
    seconds: float
    every: int

    def bytes(self, micro_batch: int) -> int:
        """Bytes of a pass when main updates take so many images at once."""
        return round(self.fixed + self.per_image * max(int(micro_batch * self.share), 1))


def measure_phases(state: TrainingState) -> tuple[PhaseCost, ...]:
    """Run each phase of a step forward and backward on a few images.

    On CUDA bytes are the allocator's peak. On the CPU they are what autograd keeps for the backward
    pass, and twice the largest of it for the gradients under way: an estimate, see `saved_bytes`.
    """
    step, unit = Step(state), smallest_micro_batch(state)
    state.step = 0  # when every lazy penalty is due
    costs = []
    for phase in step.phases():
        small = unit * min(2, max(1, phase.batch // (2 * unit)))
        large = max(small, min(2 * small, phase.batch // unit * unit))
        seconds, most = _run(step, phase, large)  # the first run of a phase sets things up
        seconds, most = _run(step, phase, large)
        few = _run(step, phase, small)[1] if small < large else 0
        slope = (most - few) / (large - small) if small < large else most / large
        slope = min(max(slope, 0.0), most / large)
        every = max([1, *(reg.every for reg in phase.regularizers if not phase.is_main)])
        share = phase.batch / state.config.batch
        fixed = most - slope * large
        costs.append(PhaseCost(phase.part, share, fixed, slope, seconds / large, every))
    return tuple(costs)


def smallest_micro_batch(state: TrainingState) -> int:
    """Return the least number of images per pass that the recipe's settings allow."""
    for size in range(1, state.config.batch + 1):
        try:
            replace(state.config, micro_batch=size)
        except ConfigError:
            continue
        return size
    return state.config.batch


def _run(step: Step, phase: Phase, images: int) -> tuple[float, int]:
    """Seconds and peak bytes of one pass; gradients of parameters are there before and after."""
    state, player = step.state, step.state.players[phase.side]
    for parameter in player.parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    draws = state.draws(phase.name, phase.batch).slice(slice(0, images))
    started = timing.now()

    def forward() -> Tensor:
        return step.loss(phase, step.context(phase, draws))

    if state.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(state.device)
        before = torch.cuda.memory_allocated(state.device)
        forward().backward(inputs=player.parameters)
        peak = torch.cuda.max_memory_allocated(state.device) - before
    else:
        loss, peak = saved_bytes(forward, state)
        loss.backward(inputs=player.parameters)
    return timing.now() - started, peak


def saved_bytes(forward: Callable[[], Tensor], state: TrainingState) -> tuple[Tensor, int]:
    """Run `forward` and estimate the most memory that it and its backward pass take.

    Counted is each block of memory that autograd saves, once, without the networks' own; and twice
    the largest, for the gradients of activations that exist at a time. Work space of operators is
    not seen.

    Returns: what `forward` returned, and bytes.
    """
    nets = state.nets.values()
    own = {t.untyped_storage().data_ptr() for net in nets for t in net.state_dict().values()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own and storage.nbytes() > 0:
            kept[storage.data_ptr()] = storage.nbytes()
        # Not the tensor itself: the result of a function would then hold the function alive.
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = forward()
    return loss, sum(kept.values()) + 2 * max(kept.values(), default=0)


def available_bytes(device: torch.device) -> int | None:
    """Return the memory that a run could have, what this process holds already included.

    Returns: bytes; None where the system does not say.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device)
    left = _entry(Path("/proc/meminfo"), "MemAvailable:")
    if left is None:
        return None
    group = Path("/sys/fs/cgroup")  # a container may have less than the machine
    limit, used = (_number(group / name) for name in ("memory.max", "memory.current"))
    if limit is not None and used is not None:
        left = min(left, limit - used)
    return left + (resident_bytes() or 0)


def resident_bytes() -> int | None:
    """Return the memory of this process; None where the system does not say."""
    return _entry(Path("/proc/self/status"), "VmRSS:")


def _entry(path: Path, key: str) -> int | None:
    """A line `key  number kB` of one of Linux' tables, in bytes."""
    if not path.is_file():
        return None
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(key)), None)


def _number(path: Path) -> int | None:
    text = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
    return int(text) if text.isdigit() else None
