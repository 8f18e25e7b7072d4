"""What is compared: every op in its modes, odd and empty shapes, and memory layouts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fastgan import ops
from fastgan.reference.bias_act import ACTIVATIONS

Function = Callable[..., Tensor]  # of the inputs, and `backend` by keyword

SHAPES = {
    "small": (2, 3, 5, 7),
    "one pixel": (1, 1, 1, 1),
    "many channels": (2, 37, 3, 3),
    "vectors": (2, 16, 8, 8),
    "wide": (1, 2, 9, 131),
    "empty batch": (0, 3, 4, 4),
}
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x.contiguous(),
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "strided": lambda x: x.repeat_interleave(2, dim=-1)[..., ::2],
    "transposed": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
}
RESAMPLINGS: dict[str, dict[str, Any]] = {
    "same": {"padding": (1, 2, 2, 1)},
    "up 2": {"up": 2, "padding": (2, 1, 2, 1), "gain": 4},
    "down 2": {"down": 2, "padding": (1, 1, 1, 1)},
    "up 4": {"up": 4, "padding": (5, 6, 4, 3)},
    "up 3 down 2, cropped": {"up": 3, "down": 2, "padding": (-1, 9, 9, -2)},
}


@dataclass(frozen=True)
class Case:
    """One call of an op.

    Attributes:
        op: name in `fastgan.ops`.
        name: mode, shape and layout.
        function: the call.
        sizes: shapes of its inputs, all of which are differentiated.
        layout: of the first input, in LAYOUTS.
        quick: whether quick runs have it.
        rounds_freely: False where half precision may round across an edge of the function, so that
            a gradient jumps: of those dtypes the values alone are compared.
        kind: of the cases that differ in it, one each is run again for bits and memory.
    """

    op: str
    name: str
    function: Function
    sizes: tuple[tuple[int, ...], ...]
    layout: str = "contiguous"
    quick: bool = False
    rounds_freely: bool = True
    kind: str = ""

    def inputs(self, dtype: torch.dtype, place: str) -> list[Tensor]:
        """Normal values, the same for every backend, rounded to `dtype`."""
        found = [normal(i, *size).to(place, dtype) for i, size in enumerate(self.sizes)]
        return [LAYOUTS[self.layout](found[0]), *found[1:]]


def normal(seed: int, *size: int) -> Tensor:
    """float64 normal numbers, the same every time."""
    generator = torch.Generator().manual_seed(1 + seed)
    return torch.randn(size, generator=generator, dtype=torch.float64)


def cases(*, quick: bool) -> list[Case]:
    """Every case, or the quick ones."""
    found = [*_bias_act(), *_upfirdn2d(), *_convolutions(), *_layers(), *_spectral_norm()]
    found += _gpu_ops()
    return [case for case in found if case.quick or not quick]


def _bias_act() -> Iterator[Case]:
    def case(name: str, size: tuple[int, ...], layout: str, **settings: Any) -> Case:
        sizes, call = (size, (size[1],)), partial(ops.bias_act, **settings)
        quick = name in ("lrelu small", "swish small", "lrelu empty batch")
        return Case(
            "bias_act", f"{name} {layout}", call, sizes, layout, quick, "clamp" not in settings
        )

    for act in ACTIVATIONS:
        yield case(f"{act} small", SHAPES["small"], "contiguous", act=act)
    for shape, size in SHAPES.items():
        for layout in LAYOUTS:
            if (shape, layout) != ("small", "contiguous"):
                yield case(f"lrelu {shape}", size, layout, act="lrelu")
    yield case("lrelu clamped", SHAPES["small"], "contiguous", act="lrelu", clamp=0.9, gain=0.7)
    yield case("tanh clamped", SHAPES["vectors"], "channels_last", act="tanh", clamp=0.6)


def _upfirdn2d() -> Iterator[Case]:
    filters = {"4x4": (4, 4), "3x5": (3, 5), "12 taps": (12,)}
    for number, (filter_name, size) in enumerate(filters.items()):
        taps = normal(100 + number, *size).float()
        for name, settings in RESAMPLINGS.items():
            for layout in ("contiguous", "channels_last"):
                yield _resample(f"{filter_name} {name}", taps, settings, "wide", layout)
    taps = ops.setup_filter([1, 3, 3, 1])
    for shape in SHAPES:
        for layout in LAYOUTS:
            yield _resample("up 2", taps, RESAMPLINGS["up 2"], shape, layout)


def _resample(name: str, taps: Tensor, settings: dict[str, Any], shape: str, layout: str) -> Case:
    settings = dict(settings)
    if taps.shape[-1] > 4:
        room = settings["padding"]
        settings["padding"] = (room[0] + 12, room[1], room[2] + 12, room[3])

    def function(x: Tensor, *, backend: str) -> Tensor:
        return ops.upfirdn2d(x, taps.to(x.device), backend=backend, **settings)

    quick = name in ("4x4 down 2", "3x5 same", "12 taps up 2") or shape in ("small", "empty batch")
    name = f"{name} {shape} {layout}"
    return Case("upfirdn2d", name, function, (SHAPES[shape],), layout, quick)


def _convolutions() -> Iterator[Case]:
    taps = ops.setup_filter([1, 3, 3, 1])
    modes: dict[str, tuple[int, dict[str, Any]]] = {
        "plain": (3, {"padding": 1}),
        "up 2": (3, {"padding": 1, "up": 2}),
        "down 2": (3, {"padding": 1, "down": 2}),
        "1x1": (1, {}),
    }
    for mode, (size, settings) in modes.items():
        for shape in ("small", "vectors", "empty batch"):
            for layout in ("contiguous", "channels_last", "strided"):
                n, c, h, w = SHAPES[shape]
                name, weight = f"{mode} {shape} {layout}", (4, c, size, size)
                up, down = settings.get("up", 1), settings.get("down", 1)
                out = h * up // down, w * up // down
                quick = shape == "small" and layout != "strided"
                call = partial(_modulated, taps, settings | {"demodulate": size == 3})
                sizes = ((n, c, h, w), weight, (n, c), (n, 1, *out))
                yield Case("modulated_conv2d", name, call, sizes, layout, quick)
                call = partial(_convolved, taps, settings)
                yield Case("conv2d_resample", name, call, sizes[:2], layout, quick)


def _layers() -> Iterator[Case]:
    """Modulated convolutions with all that follows them, as a generator has them: one kernel where
    the backend has it. More than a tile of channels and pixels, and no size that fits a tile."""
    taps = ops.setup_filter([1, 3, 3, 1])
    finish = {"act": "lrelu", "gain": 1.2, "clamp": 1.5}
    modes: dict[str, tuple[int, dict[str, Any]]] = {
        "3x3": (3, {"padding": 1, **finish}),
        "up 2": (3, {"padding": 1, "up": 2, "flip_weight": False, **finish}),
        "rgb": (1, {"demodulate": False, "clamp": 0.9}),
        "3x3 smooth": (3, {"padding": 1, "demodulate": False, "act": "swish"}),
        "up 2 smooth": (3, {"padding": 1, "up": 2, "flip_weight": False, "act": "swish"}),
        "up 2 not normalised": (3, {"padding": 1, "up": 2, "demodulate": False}),
    }
    shapes = {"small": (SHAPES["small"], 5), "ragged": ((2, 12, 9, 21), 66)}
    for mode, (size, settings) in modes.items():
        for shape, ((n, c, h, w), channels) in shapes.items():
            for layout in ("contiguous", "channels_last"):
                up, out = settings.get("up", 1), 3 if mode == "rgb" else channels
                sizes = [(n, c, h, w), (out, c, size, size), (n, c), (out,)]
                if mode != "rgb":
                    sizes.append((n, 1, h * up, w * up))
                smooth = "clamp" not in settings
                quick = shape == "small" and (layout, smooth) == ("channels_last", False)
                quick |= (mode, shape, layout) == ("up 2 smooth", "small", "contiguous")
                name = f"layer, {mode} {shape} {layout}"
                yield Case(
                    "modulated_conv2d", name, partial(_layer, taps, settings), tuple(sizes), layout,
                    quick, rounds_freely=smooth, kind=mode.partition(" ")[0],
                )  # fmt: skip


def _layer(
    taps: Tensor, settings: dict[str, Any], x: Tensor, w: Tensor, s: Tensor, bias: Tensor,
    noise: Tensor | None = None, *, backend: str,
) -> Tensor:  # fmt: skip
    w = w / w[0].numel() ** 0.5  # so that results are of the size of the clamp
    return ops.modulated_conv2d(
        x, w, s, bias=bias, noise=noise, resample_filter=taps.to(x.device), backend=backend,
        **settings,
    )  # fmt: skip


def _modulated(
    taps: Tensor, settings: dict[str, Any], x: Tensor, w: Tensor, s: Tensor, noise: Tensor,
    *, backend: str,
) -> Tensor:  # fmt: skip
    return ops.modulated_conv2d(
        x, w, s, noise=noise, resample_filter=taps.to(x.device), backend=backend, **settings
    )


def _convolved(
    taps: Tensor, settings: dict[str, Any], x: Tensor, w: Tensor, *, backend: str
) -> Tensor:
    return ops.conv2d_resample(x, w, taps.to(x.device), backend=backend, **settings)


def _spectral_norm() -> Iterator[Case]:
    weights = [((12, 9, 3, 3), 0), ((12, 9, 3, 3), 1), ((33, 260), 0), ((1, 70), 0), ((64, 64), 0)]
    for size, dim in weights:

        def function(w: Tensor, *, backend: str, dim: int = dim) -> Tensor:
            u = normal(7, w.shape[dim]).to(w.device, w.dtype)
            return ops.spectral_norm(
                w, torch.nn.functional.normalize(u, dim=0), dim=dim, backend=backend
            )[0]

        name = "x".join(map(str, size)) + f" dim {dim}"
        yield Case("spectral_norm", name, function, (size,), quick=len(size) == 4)
    sizes, dims = zip(*weights, strict=True)
    for layout in ("contiguous", "channels_last"):  # of the first weight
        yield Case(
            "spectral_norm", f"group {layout}", partial(_group, dims), sizes, layout, quick=True
        )


def _gpu_ops() -> Iterator[Case]:
    """The ops that have kernels for GPUs alone; on a CPU no backend but the reference has them."""
    for shape in ("small", "vectors", "empty batch"):
        for layout in ("contiguous", "channels_last"):
            n, c, h, w = size = SHAPES[shape]
            name, quick = f"{shape} {layout}", shape == "small"
            noisy = partial(ops.noise_bias_act, act="lrelu")
            yield Case("noise_bias_act", name, noisy, (size, (n, 1, h, w), (c,)), layout, quick)
            for stats in ("instance", "batch", "layer") if n > 0 else ():
                function = partial(ops.normalize_act, stats=stats, act="swish")
                sizes = (size, (n, c), (c,)) if stats == "instance" else (size, (c,), (c,))
                yield Case("normalize_act", f"by {stats} {name}", function, sizes, layout, quick)
    for layout in ("contiguous", "channels_last"):
        deviations = partial(ops.minibatch_std, group_size=2, num_channels=2)
        yield Case("minibatch_std", layout, deviations, ((4, 6, 3, 5),), layout, quick=True)


def _group(dims: tuple[int, ...], *weights: Tensor, backend: str) -> Tensor:
    """Weights in one call; their results in one row."""
    unit = [normal(7, w.shape[dim]) for w, dim in zip(weights, dims, strict=True)]
    us = [torch.nn.functional.normalize(u, dim=0).to(weights[0]) for u in unit]
    results = ops.spectral_norm_group(weights, us, dims=dims, backend=backend)
    return torch.cat([torch.cat([w.flatten(), sigma[None]]) for w, sigma, _ in results])
