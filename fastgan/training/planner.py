"""What a run will need, before it starts: memory by phase, speed, micro-batch, time.

Everything rests on a probe of the networks themselves, see probe.py; nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from rich.console import Console
from rich.table import Table

from fastgan.config import TrainConfig
from fastgan.data import Dataset
from fastgan.errors import ConfigError
from fastgan.training.memory import TrainingMemoryError, is_out_of_memory, smaller_pass
from fastgan.training.probe import (
    PhaseCost,
    available_bytes,
    measure_phases,
    resident_bytes,
)
from fastgan.training.profile import Recorder, summarize
from fastgan.training.recipe import RecipeModule
from fastgan.training.spans import STEP, unwatched
from fastgan.training.state import TrainingState, start_state
from fastgan.training.step import Step

RESERVE = {"cuda": 0.1, "cpu": 0.25}  # of the memory, for what the estimate does not see
TIMED_STEPS = 2


@dataclass(frozen=True)
class Plan:
    """What was found; bytes are of one device.

    Attributes:
        device: where the probe ran.
        devices: processes that the batch is divided over.
        available: memory at hand; None: the system does not say and nothing was given.
        held: by kind, what is there all the time.
        phases: by name, what a pass takes on top of that at the suggested micro-batch.
        per_image: by name, bytes of a phase for one more image per pass.
        peak: held and the largest phase.
        fits: even the smallest micro-batch may not.
        batch: images of a step.
        batch_per_device: of them.
        micro_batch: suggested images per pass.
        accumulation: passes of a main update.
        images_per_second: lazy penalties by their share; devices are assumed not to wait.
        timing: how that was found.
        total_kimg: length of the run.
        seconds: until then, without logs, samples and checkpoints.
    """

    device: str
    devices: int
    available: int | None
    held: dict[str, int]
    phases: dict[str, int]
    per_image: dict[str, int]
    peak: int
    fits: bool
    batch: int
    batch_per_device: int
    micro_batch: int
    accumulation: int
    images_per_second: float
    timing: str
    total_kimg: float
    seconds: float


def plan(
    config: TrainConfig,
    recipe: RecipeModule,
    dataset: Dataset,
    *,
    memory: int | None = None,
    devices: int = 1,
    probe_seconds: float = 60.0,
) -> Plan:
    """Probe a run of this process alone and return what it would need.

    Args:
        config, recipe, dataset: as for `train`.
        memory: bytes per device to plan for. None: what there is.
        devices: processes to divide the batch over.
        probe_seconds: whole steps are timed if they take no longer than this, else the time of a
            few images is scaled.

    Raises: ConfigError, as `train`; TrainingMemoryError when not even the probe fits.
    """
    before = resident_bytes()
    state = start_state(config, recipe, dataset)
    if not 1 <= devices <= config.batch:
        raise ConfigError(f"devices: expected 1 to batch {config.batch}, got {devices}")
    available = memory if memory is not None else available_bytes(state.device)
    try:
        costs = measure_phases(state)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingMemoryError(
            f"{config.batch} images are a batch, but not even a few at a time fit into memory. "
            f"Make the networks or the images smaller. The allocator said: {error}"
        ) from error
    held = _held(state)
    if state.device.type == "cpu" and before is not None:
        held = {"Python, torch, data set": before} | held
    share = -(-config.batch // devices)
    micro, fits = _largest_that_fits(state, costs, share, sum(held.values()), available)
    state.config = replace(config, micro_batch=micro)
    speed, how = _speed(state, costs, probe_seconds)
    phases = {cost.part: cost.bytes(micro) for cost in costs}
    return Plan(
        device=str(state.device),
        devices=devices,
        available=available,
        held=held,
        phases=phases,
        per_image={cost.part: round(cost.per_image * cost.share) for cost in costs},
        peak=sum(held.values()) + max(phases.values()),
        fits=fits,
        batch=config.batch,
        batch_per_device=share,
        micro_batch=micro,
        accumulation=-(-share // micro),
        images_per_second=speed * devices,
        timing=how,
        total_kimg=config.total_kimg,
        seconds=config.total_images / (speed * devices),
    )


def _held(state: TrainingState) -> dict[str, int]:
    """Bytes that a run keeps all the time, counted from its tensors."""
    weights = gradients = optimizers = averages = 0
    for player in state.players.values():
        player.update(0.0)  # Adam makes its tensors at the first update
        weights += sum(_size(net.state_dict().values()) for net in player.nets.values())
        gradients += _size(player.parameters)
        optimizers += _size(
            value
            for entry in player.optimizer.state.values()
            for value in entry.values()
            if isinstance(value, torch.Tensor)
        )
        if player.ema is not None:
            averages += sum(_size(net.state_dict().values()) for net in player.ema.nets.values())
    return {
        "weights": weights,
        "gradients": gradients,
        "optimiser": optimizers,
        "average (EMA)": averages,
    }


def _size(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _largest_that_fits(
    state: TrainingState, costs: Sequence[PhaseCost], share: int, held: int, available: int | None
) -> tuple[int, bool]:
    """Halve the images per pass, as a run does, until they fit; return them and whether they do."""
    micro = min(state.config.micro_batch or share, share)
    reserve = RESERVE.get(state.device.type, 0.25)
    while True:
        peak = held + max(cost.bytes(micro) for cost in costs)
        if available is None or peak <= available * (1 - reserve):
            return micro, True
        try:
            micro = smaller_pass(state.config, micro)
        except ConfigError:
            return micro, False


def _speed(state: TrainingState, costs: Sequence[PhaseCost], limit: float) -> tuple[float, str]:
    """Images per second of this process, and how that was found."""
    batch = state.config.batch
    once = sum(cost.seconds * cost.share * batch for cost in costs)
    if once * (1 + TIMED_STEPS) > limit:
        seconds = sum(cost.seconds * cost.share * batch / cost.every for cost in costs)
        return batch / seconds, "scaled from passes of a few images: coarse"
    step, recorder = Step(state), Recorder()
    for index in (0, *range(TIMED_STEPS)):  # all penalties are due at step 0: once unwatched
        state.step = index
        with state.span(STEP):
            step()
        state.span = recorder.span
    state.span = unwatched
    lazy = {reg.name: reg.every for reg in state.recipe.regularizers if reg.is_lazy}
    rows = summarize(recorder.visits, TIMED_STEPS, lazy)
    return batch / sum(
        row.amortised for row in rows
    ), f"{TIMED_STEPS} steps timed, after one of warm-up"


def show(found: Plan, console: Console) -> None:
    """Print a plan as a table, and what to make of it."""
    table = Table(title=f"plan for {found.device}", min_width=50)
    table.add_column("memory per device")
    table.add_column("MiB", justify="right")
    table.add_column("MiB an image", justify="right")
    for name, size in found.held.items():
        table.add_row(name, _mib(size), "")
    for name, size in found.phases.items():
        table.add_row(f"during {name}", _mib(size), _mib(found.per_image[name]))
    table.add_section()
    table.add_row("peak: all above with the largest phase", _mib(found.peak), "")
    at_hand = "unknown" if found.available is None else _mib(found.available)
    table.add_row("at hand", at_hand, "")
    console.print(table)
    for line in summary(found):
        console.print(line, soft_wrap=True, highlight=False)


def summary(found: Plan) -> list[str]:
    """Say a plan in sentences, with what is an estimate."""
    lines = []
    if not found.fits:
        lines.append(
            f"DOES NOT FIT with {found.micro_batch} images per pass: use smaller networks or "
            "images, or a device with more memory"
        )
    passes = "in one pass" if found.accumulation == 1 else f"in {found.accumulation} passes"
    lines += [
        f"batch {found.batch}: {found.batch_per_device} images per device ({found.devices}), "
        f"{passes}: --micro-batch {found.micro_batch}",
        f"{found.images_per_second:.4g} images/s ({found.timing}); "
        f"{found.total_kimg:g} kimg in {_duration(found.seconds)}",
    ]
    if found.devices > 1:
        lines.append("Speed is this device's, times the devices: waiting for others is not in it.")
    if found.device.startswith("cuda"):
        lines.append("Memory of phases is the allocator's peak with few images, as a line in them.")
    else:
        lines.append(
            "Memory of phases is an estimate, good to a factor of about 1.5: what autograd keeps, "
            "and twice the largest of it. Work space of operators is not in it."
        )
    lines.append("Time leaves out samples, checkpoints and metrics. A busy machine looks slow.")
    return lines


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
