"""Settings of a training run: a frozen dataclass, its validation and its JSON form.

A leaf: it imports nothing of the project but the errors. Fields that only one GAN knows live in
that recipe's subclass.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from typing_extensions import Self

from fastgan.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What every recipe can be told. One step shows the discriminator `batch` real images."""

    seed: int = 0
    """Seed of weights, data order and every draw; same seed, same run."""
    batch: int = 32
    """Images per step over all processes."""
    micro_batch: int | None = None
    """Images per forward pass, when memory is short: gradients are accumulated over as many passes
    as the batch needs, and the update is that of the whole batch (but for statistics taken within a
    pass, as the minibatch standard deviation). None: the whole batch of the process."""
    total_kimg: float = 1000.0
    """Length of the run, in thousands of real images shown to the discriminator."""
    max_minutes: float | None = None
    """Stop after this many minutes of wall time, counted from this start. None: no limit."""
    lr_g: float = 0.002
    """Learning rate of the generator."""
    lr_d: float = 0.002
    """Learning rate of the discriminator."""
    beta1: float = 0.0
    """Adam: decay of the mean of gradients, in [0, 1)."""
    beta2: float = 0.99
    """Adam: decay of the mean of squared gradients, in [0, 1)."""
    ema_kimg: float = 10.0
    """Half-life of the averaged generator, in thousands of images; 0 keeps no average."""
    ema_ramp: float | None = None
    """Limits the half-life to this fraction of the images seen so far. None: no limit."""
    mirror: bool = False
    """Show each image left-right mirrored half of the time."""
    precision: Literal["float32", "float64"] = "float32"
    """Number format of weights and images; float64 is for checking."""
    device: str = "auto"
    """Where to train: cpu, cuda, cuda:1, ...; auto takes CUDA when there is one."""
    compile: bool = False
    """Run main updates through torch.compile; lazy gradient penalties stay eager."""
    compile_backend: str = "inductor"
    """Which compiler: a backend of torch.compile."""
    log_kimg: float = 1.0
    """Write one line of metrics every so many thousand images."""
    sample_kimg: float = 20.0
    """Write a grid of samples every so many thousand images; 0 writes none."""
    sample_count: int = 64
    """Images (or points) in a grid of samples."""
    checkpoint_kimg: float = 100.0
    """Write a checkpoint every so many thousand images, and at the end; 0 writes none."""
    keep_checkpoints: int = 2
    """Number of checkpoints to keep; older ones are deleted."""
    tensorboard: bool = True
    """Write metrics for TensorBoard, too."""
    guard: Literal["off", "warn", "rollback"] = "rollback"
    """When training goes wrong (NaN, exploding loss, vanishing gradient, fakes all alike): rollback
    returns to the last good checkpoint and goes on with other draws, warn says so. A NaN ends the
    run where there is no way back."""
    guard_rollbacks: int = 2
    """How often the guard may return to a checkpoint before it ends the run."""
    metrics: str = "kid,fd"
    """What to measure during training: names such as kid,fd,pr,dc; see fastgan metrics."""
    metrics_kimg: float = 0.0
    """Measure the averaged generator every so many thousand images; 0 never does."""
    metrics_samples: int = 1000
    """Fakes to measure; they are compared with all images of the data set."""
    metrics_extractor: Literal["efflite0", "pixels", "random-conv"] = "efflite0"
    """What turns images into features; see fastgan metrics."""

    # A run may be resumed with other values of these: they do not change what is learned
    # (micro_batch only through statistics taken over a forward pass, compile through rounding).
    RESUMABLE: ClassVar[frozenset[str]] = frozenset(
        ("micro_batch", "total_kimg", "max_minutes", "device", "compile", "compile_backend",
         "log_kimg", "sample_kimg", "sample_count", "checkpoint_kimg", "keep_checkpoints",
         "tensorboard", "guard", "guard_rollbacks", "metrics", "metrics_kimg", "metrics_samples",
         "metrics_extractor")
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_range("seed", self.seed, low=0, high=2**63 - 1)
        check_range("batch", self.batch, low=1)
        check_range("micro_batch", self.micro_batch, low=1)
        for name in ("total_kimg", "max_minutes", "lr_g", "lr_d", "ema_ramp", "log_kimg"):
            check_range(name, getattr(self, name), above=0)
        for name in ("beta1", "beta2"):
            check_range(name, getattr(self, name), low=0, below=1)
        for name in ("ema_kimg", "sample_kimg", "checkpoint_kimg", "metrics_kimg"):
            check_range(name, getattr(self, name), low=0)
        check_range("sample_count", self.sample_count, low=1)
        check_range("metrics_samples", self.metrics_samples, low=2)
        check_choice(
            "metrics_extractor", self.metrics_extractor, ("efflite0", "pixels", "random-conv")
        )
        check_range("keep_checkpoints", self.keep_checkpoints, low=1)
        check_choice("guard", self.guard, ("off", "warn", "rollback"))
        check_range("guard_rollbacks", self.guard_rollbacks, low=0)
        check_choice("precision", self.precision, ("float32", "float64"))

    @property
    def total_images(self) -> int:
        """Length of the run in images."""
        return round(self.total_kimg * 1000)

    def to_json(self) -> str:
        """Return the settings as a JSON object with one entry per field."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote; fields that are left out keep their defaults.

        Raises:
            ConfigError: not a JSON object, an unknown field, a wrong type or value.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(f"settings are not valid JSON: {error}") from error
        if not isinstance(values, dict):
            raise ConfigError(f"settings: expected a JSON object, got {type(values).__name__}")
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ConfigError(
                f"unknown setting {', '.join(unknown)}; {cls.__name__} has: "
                + ", ".join(sorted(known))
            )
        hints = typing.get_type_hints(cls)
        return cls(**{name: _typed(name, value, hints[name]) for name, value in values.items()})


def check_range(
    name: str,
    value: float | None,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    below: float | None = None,
) -> None:
    """Raise ConfigError naming the field and the range, unless `value` lies in it or is None."""
    bounds = {"at least": low, "above": above, "at most": high, "below": below}
    wanted = " and ".join(f"{word} {bound}" for word, bound in bounds.items() if bound is not None)
    if value is None:
        return
    ok = (low is None or value >= low) and (above is None or value > above)
    ok = ok and (high is None or value <= high) and (below is None or value < below)
    # Infinity compares fine and NaN never does, but neither is a setting.
    if not ok or value in (float("inf"), float("-inf")):
        raise ConfigError(f"{name}: expected a number {wanted}, got {value}")


def check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Raise ConfigError listing the choices, unless `value` is one of them."""
    if value not in choices:
        listed = ", ".join(str(choice) for choice in choices)
        raise ConfigError(f"{name}: expected one of {listed}, got {value}")


def _typed(name: str, value: Any, hint: Any) -> Any:
    """Return `value` as the annotated type (lists become tuples), or raise ConfigError."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = typing.get_args(hint)
        if value is None and type(None) in options:
            return None
        hint = next(option for option in options if option is not type(None))
    if typing.get_origin(hint) is Literal:
        check_choice(name, value, typing.get_args(hint))
        return value
    if typing.get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_typed(name, item, typing.get_args(hint)[0]) for item in value)
    accepted = (int, float) if hint is float else (hint,)
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{name}: expected {hint.__name__}, got {value!r}")
    return value
