"""Who renders: fastgan, plain PyTorch eager and compiled, onnxruntime and OpenVINO, same weights.

A renderer is made from a generator and ws [N, num_ws, w_dim], and returns uint8 [N, H, W, C] from
a call without arguments. All compute in float32 with as many threads as torch has.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from benchmarks.plain_synthesis import WAYS, FoldedSynthesis
from benchmarks.timing import measure
from fastgan.networks import StyleGAN2Generator

Array: TypeAlias = Any  # numpy's, of bytes or floats


class MissingPeerError(RuntimeError):
    """A contender cannot run here; the message is one line."""


@dataclass(frozen=True)
class Renderer:
    """One contender.

    Attributes:
        way: how the network is written, for tables; "" where there is one way only.
        render: returns uint8 [N, H, W, C].
        image: returns the same as float [N, C, H, W], untimed; None where bytes alone come out.
        profile: returns the records of layers, where there are any.
    """

    way: str
    render: Callable[[], Array]
    image: Callable[[], Array] | None = None
    profile: Callable[[], list[Any]] | None = None


Maker: TypeAlias = Callable[[StyleGAN2Generator, Tensor], Renderer]


def fastgan_synthesizer(generator: StyleGAN2Generator, ws: Tensor) -> Renderer:
    """The engine behind `fastgan.Synthesizer`."""
    import fastgan

    if not hasattr(fastgan, "Synthesizer"):
        raise MissingPeerError("this fastgan has no Synthesizer")
    engine = fastgan.Synthesizer(generator, batch=len(ws))
    return Renderer("", lambda: engine.render_w(ws), profile=engine.profile)


def fastgan_ops(generator: StyleGAN2Generator, ws: Tensor) -> Renderer:
    """The generator as training has it, on fastgan's ops."""
    from fastgan.synthesis.images import to_uint8

    def image() -> Array:
        with torch.inference_mode():
            return generator.synthesis(ws, noise_mode="const").numpy()

    return Renderer("", lambda: to_uint8(torch.from_numpy(image())).numpy(), image)


def eager(generator: StyleGAN2Generator, ws: Tensor) -> Renderer:
    """Plain PyTorch, the quickest of three ways to write it."""
    found = [
        _torch_renderer(FoldedSynthesis(generator, way, channels_last=last), ws, way, last)
        for way, last in (("transposed", False), ("transposed", True), ("phases", True))
    ]
    return quickest(found)


def compiled(generator: StyleGAN2Generator, ws: Tensor) -> Renderer:
    """torch.compile of the way that is the quickest in eager mode."""
    best = eager(generator, ws).way
    way, last = best.split()[0], best.endswith("channels_last")
    torch._dynamo.reset()
    module: Any = FoldedSynthesis(generator, way, channels_last=last)
    return _torch_renderer(torch.compile(module, dynamic=False), ws, way, last)


def _torch_renderer(module: Any, ws: Tensor, way: str, channels_last: bool) -> Renderer:
    def render(as_bytes: bool = True) -> Array:
        plain: Any = getattr(module, "_orig_mod", module)
        plain.as_bytes = as_bytes
        with torch.inference_mode():
            return module(ws).numpy()

    name = f"{way} channels_last" if channels_last else way
    return Renderer(name, render, lambda: render(False))


def onnxruntime(generator: StyleGAN2Generator, ws: Tensor) -> Renderer:
    """ONNX Runtime on the CPU."""
    ort = _module("onnxruntime")

    def session(model: bytes) -> Callable[[], Array]:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
        options.log_severity_level = 3
        run = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run
        feed = {"ws": ws.numpy()}
        return lambda: run(None, feed)[0]

    return quickest([_exported(generator, ws, way, session) for way in WAYS])


def openvino(generator: StyleGAN2Generator, ws: Tensor) -> Renderer:
    """OpenVINO on the CPU, in float32: on a CPU with AMX it would take bfloat16 by itself."""
    ov = _module("openvino")

    def compile_model(model: bytes) -> Callable[[], Array]:
        core = ov.Core()
        settings = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        }
        network = core.compile_model(core.read_model(io.BytesIO(model)), "CPU", settings)
        used = network.get_property("INFERENCE_PRECISION_HINT")
        if used != ov.Type.f32:
            raise MissingPeerError(f"it computes in {used}, float32 was asked for")
        request, feed = network.create_infer_request(), ws.numpy()
        return lambda: request.infer([feed], share_inputs=True, share_outputs=True)[0]

    return quickest([_exported(generator, ws, way, compile_model) for way in WAYS])


def _exported(
    generator: StyleGAN2Generator,
    ws: Tensor,
    way: str,
    load: Callable[[bytes], Callable[[], Array]],
) -> Renderer:
    def image() -> Array:
        return load(to_onnx(FoldedSynthesis(generator, way, as_bytes=False), ws))()

    return Renderer(way, load(to_onnx(FoldedSynthesis(generator, way), ws)), image)


def to_onnx(module: FoldedSynthesis, ws: Tensor) -> bytes:
    """Export a network at one batch size."""
    _module("onnx")
    target: Any = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no further package is deprecated
        torch.onnx.export(
            module, (ws,), target, input_names=["ws"], output_names=["images"],
            dynamo=False, opset_version=17,
        )  # fmt: skip
    return target.getvalue()


def quickest(found: list[Renderer]) -> Renderer:
    """Return the renderer with the least minimum of a few calls in turn."""
    ways = {renderer.way: renderer for renderer in found}
    timings = measure(
        {way: renderer.render for way, renderer in ways.items()},
        rounds=3, warmup=1, pause=0.02,
    )  # fmt: skip
    return ways[min(timings, key=lambda way: timings[way].minimum)]


def plugged_in(name: str, made: Callable[..., Any]) -> Maker:
    """Turn a callable(generator, ws) -> callable() -> uint8 [N, H, W, C] into a maker."""

    def make(generator: StyleGAN2Generator, ws: Tensor) -> Renderer:
        render = made(generator, ws)
        if not callable(render):
            raise MissingPeerError(
                f"expected {name} to return a call without arguments, got {type(render).__name__}"
            )
        return Renderer("", lambda: np.asarray(render()), getattr(render, "image", None))

    return make


def named(renderer: Renderer, name: str) -> tuple[str, Renderer]:
    """Return the name in tables, provider/way, and the renderer."""
    if not renderer.way:
        return name, renderer
    return f"{name}/{renderer.way}", renderer


def _module(name: str) -> Any:
    try:
        return __import__(name)
    except ImportError as error:
        raise MissingPeerError(f"{error}; pip install 'fastgan[bench]' brings it") from error


FASTGAN: dict[str, Maker] = {"fastgan": fastgan_synthesizer, "fastgan-ops": fastgan_ops}
PEERS: dict[str, Maker] = {
    "eager": eager,
    "compile": compiled,
    "onnxruntime": onnxruntime,
    "openvino": openvino,
}
