"""Training steps on the CPU, phase by phase: fastgan's networks against plain PyTorch ones."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks import plugins
from benchmarks.providers import WrongResultError
from benchmarks.report import Row
from benchmarks.roofline import MachineCalls
from benchmarks.runner import Options
from benchmarks.timing import Timing, measure
from benchmarks.trainers import Change, Trainer, kernels, plain_networks
from fastgan.config import TrainConfig
from fastgan.data import ArrayDataset, Dataset, shapes
from fastgan.recipes import dcgan, stylegan2
from fastgan.training import RecipeModule, keep_freed_memory

LOSS_TOLERANCE = 1e-4  # relative
PENALTY_TOLERANCE = 1e-3  # the same, of lazy penalties: they are made of slopes, too, and plain
# PyTorch differs from itself in the other layout by up to 2e-4
GRADIENT_TOLERANCE = 5e-3  # |difference| / |gradient| over all parameters: a slope of leaky ReLU
# that flips near zero, by rounding, shows up in single parameters
LAYOUTS = ("plain", "channels_last")
SMALL: dict[str, Any] = {"channel_base": 128, "channel_max": 8, "z_dim": 8, "w_dim": 8}


@dataclass(frozen=True)
class Model:
    """What is trained: a recipe with settings, and the side of the images."""

    recipe: RecipeModule
    config: TrainConfig
    size: int

    @property
    def name(self) -> str:
        """The case, as tables and --only have it."""
        name = "stylegan2-lite" if self.recipe.NAME == "stylegan2" else self.recipe.NAME
        return f"{name} {self.size}x{self.size} batch {self.config.batch}"

    def dataset(self) -> Dataset:
        """Return generated images of simple shapes."""
        images = shapes(256, self.size, torch.Generator().manual_seed(0)).images
        return ArrayDataset(images, name="shapes")

    def phases(self, trainer: Trainer) -> dict[str, float]:
        """Return how often each phase is due, per step."""
        found = {}
        for name, phase in trainer.phases.items():
            found[name] = 1.0 if phase.is_main else 1.0 / phase.regularizers[0].every
        has_average = any(p.ema is not None for p in trainer.step.state.players.values())
        return found | ({"ema": 1.0} if has_average else {})


def cases(quick: bool) -> list[Model]:
    """Return the models."""
    lite = replace(stylegan2.lite(), device="cpu")
    if quick:
        tiny = dcgan.Config(device="cpu", batch=4, channels=4, z_dim=8)
        return [_model(stylegan2, replace(lite, batch=4, **SMALL), 16), _model(dcgan, tiny, 16)]
    return [
        *(_model(stylegan2, replace(lite, batch=batch), 64) for batch in (16, 8)),
        _model(dcgan, dcgan.Config(device="cpu"), 64),
    ]


def _model(recipe: Any, config: TrainConfig, size: int) -> Model:
    return Model(recipe, config, size)


def run(options: Options) -> Iterator[Row]:
    """Check and time every model, and the rates of the machine in turn with the contenders."""
    models = {model.name: model for model in cases(options.quick)}
    names = plugins.selected("train_step", models, options.only)
    extra = {name: plugins.load(name) for name in options.contender}
    keep_freed_memory()  # as `fastgan train` does, for all contenders alike
    for name in names:
        print(f"benchmarks: train_step {name}", file=sys.stderr, flush=True)
        yield from run_model(models[name], options, extra)


def run_model(model: Model, options: Options, extra: Mapping[str, Change]) -> list[Row]:
    """Check and time the contenders of one model.

    Raises: WrongResultError when one of them is wrong; nothing is timed then.
    """
    trainers = _trainers(model, options, extra)
    check(model.name, trainers)
    due = model.phases(trainers["fastgan"])
    machine = MachineCalls(quick=options.quick)
    timings = measure(
        _calls(trainers, due) | machine.calls,
        rounds=2 if options.quick else min(options.rounds, 20),
        warmup=1,
        max_seconds=6 * options.max_seconds,
    )
    peaks = machine.peaks(timings)
    facts = {
        "suite": "train", "case": model.name, "model": model.recipe.NAME, "size": model.size,
        "batch": model.config.batch, "dtype": "float32", "copy_bandwidth": peaks.copy,
        "sgemm": peaks.sgemm,
    }  # fmt: skip
    return [
        facts | {"provider": name} | combined({p: timings[f"{name} {p}"] for p in due}, due, model)
        for name in trainers
    ]


def _trainers(model: Model, options: Options, extra: Mapping[str, Change]) -> dict[str, Trainer]:
    make = partial(Trainer, model.recipe, model.config, model.dataset())
    found = {
        "fastgan": make(backend=kernels()),
        **{f"eager/{way}": make(change=plain_networks(way == "channels_last")) for way in LAYOUTS},
    }
    if options.compile and not options.quick and model.recipe.NAME == "stylegan2":
        # Trained a little to find out, so not those that are compared.
        ways = {way: make(change=plain_networks(way == "channels_last")) for way in LAYOUTS}
        way = _faster_layout(ways)
        change = plain_networks(way == "channels_last")
        found[f"compile/{way}"] = make(change=change, compiled=True)
    for name, change in extra.items():
        found[f"plugin/{name}"] = make(change=change)
    return found


def _faster_layout(trainers: dict[str, Trainer]) -> str:
    """Return the contender whose updates without penalties are the quickest."""
    timings = measure(_calls(trainers, ["d0", "g"]), rounds=2, warmup=1)
    return min(trainers, key=lambda name: sum(timings[f"{name} {p}"].minimum for p in ("d0", "g")))


def _calls(trainers: Mapping[str, Trainer], phases: Any) -> dict[str, Callable[[], object]]:
    return {
        f"{name} {phase}": partial(trainer.update, phase)
        for name, trainer in trainers.items()
        for phase in phases
    }


def combined(timings: Mapping[str, Timing], due: Mapping[str, float], model: Model) -> Row:
    """Return the seconds of a step with each phase as often as it is due, and images a second."""
    minimum, median = (
        sum(getattr(timings[phase], key) * often for phase, often in due.items())
        for key in ("minimum", "median")
    )
    return {
        "minimum": minimum,
        "median": median,
        "rounds": min(timing.rounds for timing in timings.values()),
        "images_per_second": model.config.batch / minimum,
        "images_per_second_median": model.config.batch / median,
        "phases": {phase: asdict(timing) for phase, timing in timings.items()},
        "due": dict(due),
    }


def check(case: str, trainers: Mapping[str, Trainer]) -> None:
    """Compare losses and gradients of every phase with those of the plain networks.

    Raises: WrongResultError, naming contender, phase and error.
    """
    reference = trainers["eager/plain"]
    for phase in reference.phases:
        loss, gradients = reference.gradients(phase)
        for name, trainer in trainers.items():
            if trainer is reference:
                continue
            other_loss, other = trainer.gradients(phase)
            if set(other) != set(gradients):
                raise WrongResultError(
                    f"train_step {case}: {name} has other parameters than the plain networks: "
                    f"{', '.join(sorted(set(other) ^ set(gradients))[:3])}, ..."
                )
            is_main = reference.phases[phase].is_main
            tolerance = LOSS_TOLERANCE if is_main else PENALTY_TOLERANCE
            errors = {
                "loss": (float((other_loss - loss).abs() / loss.abs()), tolerance),
                "gradient": (_relative(other, gradients), GRADIENT_TOLERANCE),
            }
            for what, (error, tolerance) in errors.items():
                if not error <= tolerance:  # NaN is wrong too
                    raise WrongResultError(
                        f"train_step {case}, {phase}: the {what} of {name} is off by {error:.1e}, "
                        f"more than {tolerance:.0e}"
                    )


def _relative(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """Return |found - expected| / |expected|, over all gradients together."""
    squares = [(found[name] - truth).square().sum() for name, truth in expected.items()]
    norm = torch.stack([truth.square().sum() for truth in expected.values()]).sum()
    return float((torch.stack(squares).sum() / norm).sqrt())
