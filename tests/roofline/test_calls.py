"""The list of calls is what the networks do: the ops of real ones are recorded."""

from collections import Counter
from importlib import import_module

import pytest
import torch

from fastgan.networks import StyleGAN2Discriminator, StyleGAN2Generator, layers
from fastgan.networks import stylegan2_synthesis as synthesis
from fastgan.networks.geometry import Widths
from fastgan.roofline.calls import (
    BiasAct,
    Images,
    ModulatedConv2d,
    NoiseBiasAct,
    SpectralNorm,
    Upfirdn2d,
    stylegan2,
)

RESOLUTION, BATCH, WIDTHS = 16, 2, Widths(128, 24)


@pytest.fixture
def recorded(monkeypatch):
    """Shapes of the calls of one forward pass through both networks."""
    seen, inside = Counter(), []

    def note(module, name, describe):
        original = getattr(module, name)

        def wrapped(x, *args, **kwargs):
            if not inside:  # what composes a modulated convolution is part of it
                seen[(name, *describe(x, *args, **kwargs))] += 1
            if name != "modulated_conv2d":
                return original(x, *args, **kwargs)
            inside.append(name)
            y = original(x, *args, **kwargs)
            inside.pop()
            return y

        monkeypatch.setattr(module, name, wrapped)

    note(layers, "bias_act", lambda x, *_, **__: tuple(x.shape))
    note(
        synthesis, "modulated_conv2d",
        lambda x, w, *_, up=1, demodulate=True, noise=None, act="linear", **__: (
            *x.shape, w.shape[0], w.shape[2], up, demodulate, noise is not None, act
        ),
    )  # fmt: skip
    note(
        import_module("fastgan.ops.conv2d_resample"), "upfirdn2d",
        lambda x, f, *_, up=1, down=1, padding=(), **__: (*x.shape, up, down, tuple(padding)),
    )  # fmt: skip
    note(synthesis, "upsample2d", lambda x, *_, **__: tuple(x.shape))
    sizes = {"channel_base": WIDTHS.channel_base, "channel_max": WIDTHS.channel_max}
    g = StyleGAN2Generator(8, 0, 8, RESOLUTION, 3, mapping_layers=1, **sizes)
    d = StyleGAN2Discriminator(0, RESOLUTION, 3, mapping_layers=1, **sizes)
    monkeypatch.setenv("FASTGAN_BACKEND", "cpp")  # the fused composition, not the specification
    d(g(torch.randn(BATCH, 8)))
    return seen


def forward():
    calls = stylegan2(RESOLUTION, BATCH, WIDTHS, "fp32")
    return {c: n for c, n in calls.items() if not getattr(c, "backward", False)}


def size(x: Images):
    return (x.batch, x.channels, x.height, x.width)


def test_calls_are_those_of_the_networks(recorded):
    found = Counter()
    for call, count in forward().items():
        if isinstance(call, BiasAct):
            found[("bias_act", *size(call.x))] += count
        elif isinstance(call, ModulatedConv2d):
            what = (True, True, "lrelu") if call.is_layer else (False, False, "linear")
            key = (*size(call.x), call.out_channels, call.size, call.up, *what)
            found[("modulated_conv2d", *key)] += count
        elif isinstance(call, NoiseBiasAct):
            assert count == 1  # what a layer would add, were it not fused
        elif isinstance(call, Upfirdn2d) and call.up == 2:
            found[("upsample2d", *size(call.x))] += count
        elif isinstance(call, Upfirdn2d):
            key = (*size(call.x), call.up, call.down, (*call.padding, *call.padding))
            found[("upfirdn2d", *key)] += count
    # fully connected layers call bias_act on matrices
    recorded = Counter({k: n for k, n in recorded.items() if k[0] != "bias_act" or len(k) == 5})
    assert found == recorded


def test_adjoint_of_the_adjoint_is_the_call():
    for call in forward():
        if isinstance(call, Upfirdn2d):
            back = call.adjoint()
            assert back.y == call.x
            again = back.adjoint()
            assert (again.x, again.up, again.down) == (call.x, call.up, call.down)
            assert again.padding[0] == call.padding[0]


def test_spectral_norm_rows_are_the_discriminator_s_convolutions():
    d = StyleGAN2Discriminator(
        0, RESOLUTION, 3, mapping_layers=1, channel_base=WIDTHS.channel_base,
        channel_max=WIDTHS.channel_max,
    )  # fmt: skip
    names = [f"b{level}.conv{i}.weight" for level in (8, 16) for i in (0, 1)]
    weights = Counter((w.shape[0], w[0].numel()) for w in map(d.get_parameter, names))
    calls = {c: n for c, n in forward().items() if isinstance(c, SpectralNorm)}
    assert weights == Counter({(c.rows, c.cols): n for c, n in calls.items()})
