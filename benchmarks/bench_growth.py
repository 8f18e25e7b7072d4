"""How synthesis grows with the image: time over the roofline, all sizes in one run; and memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict

from benchmarks import memory, plugins
from benchmarks.bench_synthesis import PAUSE, SPAN, check, layer
from benchmarks.nets import Net, truth
from benchmarks.peers import Renderer, fastgan_synthesizer
from benchmarks.report import Row
from benchmarks.roofline import MachineCalls, Peaks
from benchmarks.runner import Options
from benchmarks.timing import measure


def run(options: Options) -> Iterator[Row]:
    """Check all sizes, time them in turn with the rates of the machine, and measure memory.

    A size's ratio to its roofline says something about another's only if both were measured at
    the same time: the rates of a shared machine change from one minute to the next. A contender
    of --contender is not called.
    """
    if options.contender:
        print("benchmarks: growth is of fastgan alone; calls no --contender", file=sys.stderr)
    nets = cases(options.quick)
    case = f"channel_base {nets[0].channel_base}"
    plugins.selected("growth", [case], options.only)
    renderers = {net.name: _checked(net) for net in nets}
    machine = MachineCalls(quick=options.quick)
    calls: dict[str, Callable[[], object]] = {k: r.render for k, r in renderers.items()}
    timings = measure(
        calls | machine.calls,
        rounds=min(options.rounds, 3) if options.quick else options.rounds,
        max_seconds=options.max_seconds,
        pause=PAUSE,
        min_span=0.0 if options.quick else SPAN,
    )
    peaks = {key: machine.peaks(timings, key) for key in ("minimum", "median")}
    for net in nets:
        layers = [layer(entry) for entry in _profile(renderers[net.name])]
        print(f"benchmarks: growth, memory of {net.name}", file=sys.stderr, flush=True)
        yield {
            "suite": "growth", "case": case, "provider": "fastgan", **asdict(net),
            "dtype": "float32", **asdict(timings[net.name]),
            **{f"roofline_{key}": _bound(layers, rates) for key, rates in peaks.items()},
            "copy_bandwidth": peaks["minimum"].copy, "sgemm": peaks["minimum"].sgemm,
            "memory": memory.measure(net),
        }  # fmt: skip


def cases(quick: bool) -> list[Net]:
    """Return the sizes, the smallest first; the others are compared with it."""
    if quick:
        return [Net(side, 256, 1, channel_max=16, w_dim=16) for side in (16, 32)]
    return [Net(side, 16384, 1) for side in (256, 512, 1024)]


def _checked(net: Net) -> Renderer:
    print(f"benchmarks: growth, checks {net.name}", file=sys.stderr, flush=True)
    generator, ws = net.build()
    renderer = fastgan_synthesizer(generator, ws)
    check(net.name, {"fastgan": renderer}, truth(generator, ws))
    return renderer


def _profile(renderer: Renderer) -> list[object]:
    return [] if renderer.profile is None else renderer.profile()


def _bound(layers: list[Row], rates: Peaks) -> float:
    """Seconds of all layers at these rates: each takes its arithmetic or its bytes, the larger."""
    return sum(rates.seconds(entry["bytes"], entry["flops"]) for entry in layers)
