"""The engine behind the Synthesizer: which generators it takes, errors, profile, memory, fork."""

import os

import numpy as np
import pytest
import torch

from fastgan.synthesis.cpu_engine import CpuEngine, conv_shapes, why_not
from fastgan.synthesis.synthesizer import Synthesizer
from tests.engine.test_layers import MAX_ERROR, W_DIM, Net, error
from tests.synthesis.generators import STYLES, plain_generator, style_generator

SERVED = {
    name: options
    for name, options in STYLES.items()
    if name not in ("resnet", "orig", "three taps")
}


@pytest.mark.parametrize("name", sorted(SERVED))
def test_pixels_are_those_of_the_float64_network(engine, isa, name):
    net = style_generator(**SERVED[name])
    ws = torch.randn(3, net.num_ws, net.w_dim)
    pixels = CpuEngine(net, isa=isa)._network.render_pixels(ws.numpy(), None, 2)
    exact = net.double().synthesis(ws.double(), "const", force_fp32=True)
    assert error(pixels, exact) <= MAX_ERROR


@pytest.mark.parametrize("name", ["skip", "wide"])
def test_layers_laid_out_for_many_images_are_exact_for_any_number(engine, isa, name):
    net = style_generator(**SERVED[name])
    ws = torch.randn(9, net.num_ws, net.w_dim)
    exact = net.double().synthesis(ws.double(), "const", force_fp32=True)
    for batch in (2, 8, 100):
        many = CpuEngine(net.float(), isa=isa, batch=batch)._network
        for count in (1, 9):
            pixels = many.render_pixels(ws[:count].numpy(), None, 2)
            assert error(pixels, exact[:count]) <= MAX_ERROR, (batch, count)
    single = [row.algorithm for row in CpuEngine(net, isa=isa).profile()]
    assert single[1].startswith("direct")  # 4 x 4: the weights of tiles would take longer to read
    rows = CpuEngine(net, isa=isa, batch=8).profile()
    assert rows[1].algorithm.startswith("F(")
    assert rows[-1].algorithm == single[-1]  # 16 x 16, where products decide anyway


def test_what_it_does_not_serve_is_named(engine):
    assert why_not(style_generator()) is None
    assert "skip architecture, not resnet" in why_not(style_generator(architecture="resnet"))
    assert "filters of 4 taps, not [1, 2, 1]" in why_not(style_generator(resample_filter=(1, 2, 1)))
    assert "DCGANGenerator" in why_not(plain_generator())
    assert "1 to 4 channels, not 5" in why_not(style_generator(img_channels=5))
    assert "fp32, fp16, not int8" in why_not(style_generator(), "int8")
    with pytest.raises(ValueError, match="cannot run this generator"):
        CpuEngine(plain_generator())


def test_the_synthesizer_uses_it(engine):
    assert Synthesizer(style_generator()).engine == "cpu"


def test_the_profile_has_every_layer(engine):
    rows = CpuEngine(style_generator()).profile()
    layers = ["b4.conv1+torgb", "b8.conv0", "b8.conv1+torgb", "b16.conv0", "b16.conv1+torgb"]
    assert [row.name for row in rows] == ["styles", *layers]
    for row in rows:
        assert row.milliseconds > 0
        assert row.bytes >= row.weight_bytes > 0
        assert row.gflops_per_second == pytest.approx(row.flops / row.milliseconds / 1e6)


def test_the_profile_counts_the_products_that_are_left(engine):
    net = Net((8, 8), (16, 16)).build(
        engine, {"tile": 4, "split": "team", "batch": 4, "columns": 1}
    )
    rows = net.profile(np.zeros((1, 5, W_DIM), np.float32), 2)
    if engine.lanes() == 16:
        assert rows[2]["flops"] == 2 * 81 * 16 * 16 * 4  # up: 9 x 9 products for a tile of 4 x 4
    assert len(rows[1]["stages"]) == 2
    assert all(sum(stage["product"] for stage in row["stages"]) > 0 for row in rows[1:])


def test_one_thread_reads_the_weights_of_small_upsampling_layers_once(engine, isa):
    torch.set_num_threads(1)
    net = style_generator(img_resolution=128, channel_base=1024, channel_max=16)
    one = CpuEngine(net, isa=isa)
    split = {row.name: row.algorithm for row in one.profile()}
    assert "channels" in split["b64.conv0"]  # all tiles in a batch, whichever row they lie in
    assert "rows" in split["b128.conv0"]
    assert "rows" in split["b64.conv1+torgb"]
    ws = torch.randn(2, net.num_ws, net.w_dim)
    exact = net.double().synthesis(ws.double(), "const", force_fp32=True)
    assert error(one._network.render_pixels(ws.numpy(), None, 1), exact) <= MAX_ERROR


def test_memory_is_what_it_says(engine):
    net = style_generator(img_resolution=64, channel_base=2048, channel_max=64)
    found = CpuEngine(net).memory()
    shapes = conv_shapes(net)
    activations = sorted(
        4 * s.out_channels * s.height * s.width * (4 if s.up else 1) for s in shapes
    )
    assert found["two_largest_activations"] == sum(activations[-2:])
    assert 0 < found["weights"] <= found["total"]


def test_a_forked_process_renders_too(engine):
    net = CpuEngine(style_generator())
    ws = torch.zeros(1, 6, 12)
    expected = net.render_w(ws)
    child = os.fork()
    if child == 0:  # only the calling thread lives on in here
        same = np.array_equal(net._network.render(ws.numpy(), None, 2), expected)
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


WRONG = {
    "ws": (
        lambda n: n.render(np.zeros((1, 4, W_DIM), np.float32), None, 1),
        r"ws: expected \[1, 5",
    ),
    "threads": (lambda n: n.render(np.zeros((1, 5, W_DIM), np.float32), None, 0), "threads"),
    "noise count": (
        lambda n: n.render(np.zeros((1, 5, W_DIM), np.float32), [], 1),
        "one array per",
    ),
    "noise shape": (
        lambda n: n.render(
            np.zeros((1, 5, W_DIM), np.float32), [np.zeros((1, 4, 5), np.float32)] * 3, 1
        ),
        r"noise: expected \[1, 4, 4\], got \[1, 4, 5\]",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls_are_explained(engine, name):
    call, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        call(Net((4, 4), (16, 16)).build(engine))


def test_wrong_networks_are_explained(engine):
    net = Net((4, 4), (16, 16))
    with pytest.raises(ValueError, match="cannot be computed as"):
        net.build(engine, {"tile": 3, "split": "rows", "batch": 4, "columns": 1})
    with pytest.raises(ValueError, match="cannot be computed as"):
        net.build(engine, {"tile": 4, "split": "rows", "batch": 0, "columns": 1})
    with pytest.raises(ValueError, match="expected default, avx2 or avx512, got sse9"):
        net.build(engine, isa="sse9")
    net.convs = net.convs[1:]
    with pytest.raises(ValueError, match="in the order conv, up, conv"):
        net.build(engine)
    unfinished = engine.Network(
        W_DIM, 5, 3, np.zeros((16, 4, 4), np.float32), slope=0.2, gain=1.0, clamp=-1.0,
        filter_ratio=3.0,
    )  # fmt: skip
    with pytest.raises(ValueError, match="not complete"):
        unfinished.render(np.zeros((1, 5, W_DIM), np.float32), None, 1)
