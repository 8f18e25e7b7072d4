"""`fastgan train`: its options are those below and every setting of the chosen recipe.

The command line is read twice: first the recipe, the preset and what to resume, then everything,
with the preset (or the resumed run's settings) as defaults.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, make_dataclass, replace
from pathlib import Path
from typing import Any

from fastgan.commands.source import Peek, Source
from fastgan.config import TrainConfig
from fastgan.errors import CheckpointError, ConfigError

TRANSFER_ADA_KIMG = 100.0  # Karras et al. 2020, "Training GANs with Limited Data", for transfer
RUN_FILE = "run.json"  # what a run was started with, beside its checkpoints


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The options that decide which other options there are."""

    recipe: str = "stylegan2"
    """Which GAN; `fastgan recipes` lists them."""
    preset: str | None = None
    """Settings to start from; `fastgan recipes` lists them. Left out: the recipe's first, which
    is named when training starts."""
    out: Path | None = None
    """Folder for logs, samples, checkpoints and the model. Left out: out/RECIPE."""
    resume: str | None = None
    """Go on with an interrupted run, exactly as if it had not stopped: the folder of the run or
    of a checkpoint, or "latest" for the newest checkpoint in the output folder."""
    init_from: Path | None = None
    """Start a new run from trained weights, whatever fits by name and shape: a checkpoint, the
    folder of a run, or a model.safetensors, which has no discriminator. See --freeze-d.
    The new run's --ada-kimg is 100 unless given."""


@dataclass(frozen=True, kw_only=True)
class Options(Selection):
    """Train a GAN on images. Ctrl-C stops after the current step and keeps a checkpoint.

    The settings of the recipe, listed last, start from the preset's values."""

    profile: bool = False
    """Time the parts of a few steps, print the table, write a trace for Chrome, and stop; no
    checkpoint and no model is written."""
    profile_steps: int | None = None
    """How many steps, after two of warm-up. Left out: until each lazy penalty has been due."""
    source: Source
    config: TrainConfig

    def run(self) -> int:
        """Open the data and train, as one of several processes if torchrun started them."""
        from fastgan.devices import usable_device
        from fastgan.training import distributed, keep_freed_memory

        keep_freed_memory()
        on_cuda = distributed.launched() > 1 and usable_device(self.config.device).type == "cuda"
        with distributed.joined(on_cuda=on_cuda):
            return self._train(is_first=distributed.rank() == 0)

    def _train(self, *, is_first: bool) -> int:
        from fastgan import recipes
        from fastgan.training import Profile, train

        if self.profile_steps is not None and not self.profile:
            raise ConfigError("profile-steps: needs --profile")
        out = self.out or Path("out") / self.recipe
        resume = None if self.resume is None else _checkpoint(self.resume, out)
        is_new = resume is None or resume.absolute().parents[1] != out.absolute()
        if is_new and not self.profile:
            _refuse_overwriting(out)
        dataset = self.source.open()
        out.mkdir(parents=True, exist_ok=True)
        say = print if is_first else _say_nothing
        if is_first and not self.profile:
            _remember(self, out, None if resume is None else resume.absolute().parents[1])
        shape = " x ".join(map(str, dataset.image_shape))
        settings = f"preset {self.preset}" if resume is None else f"from {resume}"
        say(f"{self.recipe}, {settings}; {len(dataset)} items of {shape} from {dataset.name}")
        for remark in recipes.remarks(self.recipe, self.config, dataset):
            say(remark)
        profile = Profile(out, self.profile_steps) if self.profile else None
        recipe = recipes.get(self.recipe)
        state = train(
            self.config, recipe, dataset, out, resume=resume, init_from=self.init_from,
            profile=profile,
        )  # fmt: skip
        how = f"stopped: {state.stopped}" if state.stopped else "finished"
        say(f"{how} at {state.images_seen / 1000:.1f} kimg; results in {out}")
        return 130 if state.stopped and state.stopped.startswith("interrupted") else 0


def _say_nothing(line: str) -> None:
    """In the place of print, in all processes but the first."""


def prepare(argv: Sequence[str], base: type[Selection] = Options) -> tuple[type, list[str]]:
    """Choose recipe and preset, and return the class of options that goes with them.

    Args:
        argv: what follows `train`.
        base: the command's own options.

    Returns: the class, and `argv` with "latest" put behind a bare --resume.
    Raises:
        ConfigError: an unknown recipe or preset. CheckpointError: nothing to resume.
    """
    import tyro

    from fastgan.training import AugmentedConfig

    argv = _complete_resume(argv)
    known = [word for word in argv if word not in ("-h", "--help")]
    chosen, _ = tyro.cli(Selection, prog="fastgan train", args=known, return_unknown_args=True)
    if chosen.resume is not None and chosen.preset is not None:
        raise ConfigError(
            "preset: a resumed run has its settings; leave out --preset, and give what may change "
            "(--total-kimg, intervals) by its own option"
        )
    if chosen.resume is not None:
        return _options(base, *_resumed(chosen, chosen.resume)), argv
    chosen = replace(chosen, preset=chosen.preset or suggest_preset(chosen.recipe))
    config = _settings(chosen, known)
    if chosen.init_from is not None and isinstance(config, AugmentedConfig):
        config = replace(config, ada_kimg=TRANSFER_ADA_KIMG)
    return _options(base, chosen, config, None), argv


def _settings(chosen: Selection, argv: Sequence[str]) -> Any:
    import tyro

    from fastgan import recipes
    from fastgan.training import distributed

    size, preset = None, chosen.preset or ""
    if recipes.full_name(chosen.recipe, preset) in recipes.fitted_presets(chosen.recipe):
        peek, _ = tyro.cli(Peek, prog="fastgan train", args=argv, return_unknown_args=True)
        size = peek.image_size()
    return recipes.preset(chosen.recipe, preset, size, distributed.launched())


def suggest_preset(recipe: str) -> str:
    """The preset to take when none is named: the first, which a recipe keeps fit for a CPU."""
    from fastgan import recipes

    return next(iter(recipes.get(recipe).PRESETS))


def _options(base: type[Selection], chosen: Selection, config: Any, source: Source | None) -> type:
    """Subclass `base` with these values as defaults and the type of this config."""
    import tyro

    plain = tyro.conf.OmitArgPrefixes
    source_field = field() if source is None else field(default=source)
    return make_dataclass(
        "Options",
        [
            ("recipe", str, field(default=chosen.recipe)),
            ("preset", str | None, field(default=chosen.preset)),
            ("out", Path | None, field(default=chosen.out)),
            ("source", plain[Source], source_field),
            ("config", plain[type(config)], field(default=config)),
        ],
        bases=(base,),
        namespace={"__doc__": base.__doc__},
        frozen=True,
        kw_only=True,
    )


def _complete_resume(argv: Sequence[str]) -> list[str]:
    complete: list[str] = []
    for word, following in itertools.pairwise([*argv, "--"]):
        complete.append(word)
        if word == "--resume" and following.startswith("-"):
            complete.append("latest")
    return complete


def _checkpoint(resume: str, out: Path) -> Path:
    from fastgan.training.checkpoint import find_checkpoint

    return find_checkpoint(out if resume == "latest" else Path(resume))


def _resumed(chosen: Selection, resume: str) -> tuple[Selection, Any, Source | None]:
    """Settings and data of the run to go on with."""
    from fastgan import recipes
    from fastgan.training.checkpoint import read_about

    out = chosen.out or Path("out") / chosen.recipe
    checkpoint = _checkpoint(resume, out)
    about = read_about(checkpoint)
    run = checkpoint.absolute().parents[1]
    config = recipes.get(about["recipe"]).Config.from_json(json.dumps(about["config"]))
    chosen = Selection(recipe=about["recipe"], out=chosen.out or run, resume=resume)
    return chosen, config, _remembered(run)


def _remember(options: Options, out: Path, run: Path | None) -> None:
    """Note where the data is, for a resume from any folder, and what the run began with.

    Args:
        run: the folder of the run that goes on in `out`, None for a new one.
    """
    from fastgan.files import write_json

    source = asdict(options.source)
    if options.source.is_file:
        source["data"] = str(Path(options.source.data).absolute())
    start = None if options.init_from is None else str(options.init_from.absolute())
    if run is not None and (run / RUN_FILE).is_file():
        start = _read_run(run / RUN_FILE).get("init_from")
    write_json(out / RUN_FILE, {"recipe": options.recipe, "source": source, "init_from": start})


def _read_run(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise TypeError("no object")
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{file}: damaged ({error}); delete it and pass --data") from error
    return values


def _remembered(run: Path) -> Source | None:
    file = run / RUN_FILE
    if not file.is_file():
        return None
    try:
        values = _read_run(file)["source"]
        if not isinstance(values["data"], str):
            raise TypeError(f"data is {values['data']!r}")
        size = values["resolution"]  # JSON has no tuples
        return Source(**{**values, "resolution": tuple(size) if isinstance(size, list) else size})
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{file}: damaged ({error}); delete it and pass --data") from error


def _refuse_overwriting(out: Path) -> None:
    from fastgan.training.checkpoint import checkpoints

    if checkpoints(out):
        raise ConfigError(
            f"{out} holds a run with checkpoints: go on with it by --resume latest, or choose "
            "another folder with --out"
        )
