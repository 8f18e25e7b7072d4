"""Synthesis into bytes: fastgan against plain PyTorch, torch.compile, onnxruntime and OpenVINO."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from torch import Tensor

from benchmarks import peers, plugins
from benchmarks.nets import Net, direct_flops, truth
from benchmarks.peers import Array, MissingPeerError, Renderer
from benchmarks.plain_synthesis import to_bytes
from benchmarks.providers import WrongResultError
from benchmarks.report import Row
from benchmarks.roofline import MachineCalls, Peaks
from benchmarks.runner import Options
from benchmarks.timing import Timing, measure

PAUSE = 0.02  # seconds; threads of runtimes spin for a while after a call
SPAN = 0.1  # seconds of a reading: small nets render several frames in a row, as a video does
FLOAT_TOLERANCE = 1e-4  # of the standard deviation of the image
LEVELS = 1  # of 256


def run(options: Options) -> Iterator[Row]:
    """Check and time every net, and the rates of the machine in turn with the contenders."""
    nets = {net.name: net for net in cases(options.quick)}
    names = plugins.selected("synthesis", nets, options.only)
    extra = {name: peers.plugged_in(name, plugins.load(name)) for name in options.contender}
    for name in names:
        print(f"benchmarks: synthesis {name}", file=sys.stderr, flush=True)
        yield from run_net(nets[name], options, extra)


def cases(quick: bool) -> Iterable[Net]:
    """Yield the sizes; the largest at batch 1 alone."""
    if quick:
        return [Net(16, 256, batch, channel_max=16, w_dim=16) for batch in (1, 2)]
    sizes = [(r, base) for base in (16384, 4096) for r in (64, 128, 256)]
    nets = [Net(r, base, batch) for r, base in sizes for batch in (1, 8)]
    return [*nets, Net(512, 16384, 1), Net(1024, 16384, 1)]


def run_net(net: Net, options: Options, extra: dict[str, peers.Maker]) -> list[Row]:
    """Check and time the contenders of one net.

    Raises: WrongResultError when one of them is wrong; nothing is timed then.
    """
    generator, ws = net.build()
    makers = peers.FASTGAN | peers.PEERS | extra
    if options.quick or not options.compile:
        makers = {name: make for name, make in makers.items() if name != "compile"}
    renderers: dict[str, Renderer] = {}
    for name, make in makers.items():
        try:
            key, renderer = peers.named(make(generator, ws), name)
            renderers[key] = renderer
        except MissingPeerError as error:
            print(f"benchmarks: {name} is left out: {error}", file=sys.stderr)
    errors = check(net.name, renderers, truth(generator, ws))
    machine = MachineCalls(quick=options.quick)
    calls: dict[str, Callable[[], object]] = {k: r.render for k, r in renderers.items()}
    few = options.quick or net.resolution >= 512
    timings = measure(
        calls | machine.calls,
        rounds=min(options.rounds, 3) if few else options.rounds,
        warmup=1 if few else 2,
        max_seconds=options.max_seconds,
        pause=PAUSE,
        min_span=0.0 if options.quick else SPAN,
    )
    peaks = machine.peaks(timings)
    facts = {
        "suite": "synthesis", "case": net.name, **asdict(net), "dtype": "float32",
        "copy_bandwidth": peaks.copy, "sgemm": peaks.sgemm,
        "direct_bound": direct_flops(generator, net.batch) / peaks.sgemm,
    }  # fmt: skip
    return [
        facts | _row(net, key, renderers[key], timings[key], peaks) | errors[key] for key in calls
    ]


def check(case: str, renderers: Mapping[str, Renderer], expected: Tensor) -> dict[str, Row]:
    """Compare every contender with the image in float64, and with the others.

    Returns: by contender, "error", in standard deviations, where floats come out, and "levels",
        the largest difference in bytes.
    Raises: WrongResultError, naming the contender and its error.
    """
    levels = to_bytes(expected).numpy()
    images = {name: np.array(renderer.render()) for name, renderer in renderers.items()}
    for name, image in images.items():
        _check_form(case, name, image, levels)
    found: dict[str, Row] = {}
    for name, renderer in renderers.items():
        for other, image in [("the specification", levels), *images.items()]:
            off = _distance(images[name], image)
            if off > LEVELS:
                raise WrongResultError(
                    f"synthesis {case}: {name} differs from {other} by {off} levels of 256, "
                    f"more than {LEVELS}"
                )
        found[name] = {"error": None, "levels": _distance(images[name], levels)}
        if renderer.image is not None:
            error = float(np.abs(np.asarray(renderer.image()) - expected.numpy()).max())
            found[name]["error"] = error = error / float(expected.std())
            if not error <= FLOAT_TOLERANCE:  # NaN is wrong too
                raise WrongResultError(
                    f"synthesis {case}: {name} is off by {error:.1e} standard deviations, more "
                    f"than {FLOAT_TOLERANCE:.0e}; does it compute in float32?"
                )
    return found


def _check_form(case: str, name: str, image: Array, expected: Array) -> None:
    if image.dtype != np.uint8 or image.shape != expected.shape:
        raise WrongResultError(
            f"synthesis {case}: {name} must return uint8 {expected.shape}, got {image.dtype} "
            f"{image.shape}"
        )


def _distance(image: Array, other: Array) -> int:
    return int(np.abs(image.astype(np.int16) - other.astype(np.int16)).max())


def _row(net: Net, name: str, renderer: Renderer, timing: Timing, peaks: Peaks) -> Row:
    known = net.batch == 1 and renderer.profile is not None  # layers are timed at batch 1
    layers = [layer(entry) for entry in renderer.profile()] if known and renderer.profile else []
    bounds = [peaks.seconds(entry["bytes"], entry["flops"]) for entry in layers]
    return {
        "provider": name,
        **asdict(timing),
        "roofline_bound": sum(bounds) or None,
        "layers": layers,
    }


def layer(record: Any) -> Row:
    """Return a record of `Synthesizer.profile()` as a row.

    `flops` are what the algorithm carries out, after minimal filtering, where the engine says so,
    and otherwise those of the filter by definition; `counts` says which.
    """
    counts = "filtered_flops" if hasattr(record, "filtered_flops") else "flops"
    return {
        "name": record.name,
        "algorithm": record.algorithm,
        "ms": record.milliseconds,
        "bytes": float(record.bytes),
        "flops": float(getattr(record, counts)),
        "counts": counts,
    }
