"""The synthesis benchmark: plain networks against the specification, refusals, rows and tables."""

import json
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import fastgan
from benchmarks import bench_synthesis, nets, peers, plain_synthesis, tables
from benchmarks.nets import Net
from benchmarks.providers import WrongResultError
from benchmarks.runner import Options
from fastgan.cli import main
from fastgan.networks import StyleGAN2Generator

HERE = "tests.benchmarks.contenders"
TINY = Net(16, 256, 2, channel_max=16, w_dim=16)
RUNTIMES = [name for name in peers.PEERS if name != "compile"]


@pytest.fixture
def without_runtimes(monkeypatch):
    """Leave plain PyTorch alone as a peer, for tests of the machinery."""
    monkeypatch.setattr(peers, "PEERS", {"eager": peers.eager})


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("way", plain_synthesis.WAYS)
def test_plain_network_renders_as_the_specification(way, channels_last):
    generator, ws = TINY.build()
    plain = plain_synthesis.FoldedSynthesis(
        generator.double(), way, channels_last=channels_last, as_bytes=False
    )
    expected = nets.truth(generator, ws)
    torch.testing.assert_close(plain(ws.double()), expected, rtol=1e-9, atol=1e-9)


def test_plain_network_refuses_what_it_does_not_mirror():
    generator = StyleGAN2Generator(4, 0, 4, 16, 3, channel_base=64, architecture="resnet")
    with pytest.raises(ValueError, match="expected architecture 'skip'"):
        plain_synthesis.FoldedSynthesis(generator)


@pytest.mark.parametrize("name", RUNTIMES)
def test_each_peer_is_float32_and_right(name):
    if name in ("onnxruntime", "openvino"):
        pytest.importorskip("onnx")
        pytest.importorskip(name)
    generator, ws = TINY.build()
    renderer = peers.PEERS[name](generator, ws)
    found = bench_synthesis.check(TINY.name, {name: renderer}, nets.truth(generator, ws))
    assert found[name]["error"] < 1e-5
    assert found[name]["levels"] <= 1


def test_compiled_peer_takes_the_way_that_eager_found(monkeypatch):
    """With the graphs of torch.compile, but without its code generator: seconds."""
    compile_with = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda module, **settings: compile_with(module, backend="aot_eager")
    )
    best = peers.Renderer("phases channels_last", lambda: None)
    monkeypatch.setattr(peers, "eager", lambda generator, ws: best)
    generator, ws = TINY.build()
    renderer = peers.compiled(generator, ws)
    assert peers.named(renderer, "compile")[0] == "compile/phases channels_last"
    found = bench_synthesis.check(TINY.name, {"compile": renderer}, nets.truth(generator, ws))
    assert found["compile"]["error"] < 1e-5


def test_net_has_noise_biases_and_contrast():
    generator, ws = TINY.build()
    synthesis = generator.synthesis
    images = synthesis(ws, noise_mode="const")
    assert 0.2 < float(images.std()) < 0.8
    assert not torch.equal(images, synthesis(ws, noise_mode="none"))
    assert float(synthesis.b16.conv1.bias.std()) > 0
    again, _ = TINY.build()
    assert torch.equal(again.synthesis.b16.conv1.weight, synthesis.b16.conv1.weight)


def test_direct_operations_are_those_of_the_definition():
    generator, _ = Net(8, 32, 1, channel_max=4, w_dim=4).build()
    conv = 4 * 4 * 9 * (16 + 16 + 64)  # conv at 4, up from 4, conv at 8
    assert nets.direct_flops(generator, 3) == 3 * 2 * (conv + 3 * 4 * (16 + 64))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dark", "dark differs from the specification by .* levels"),
        ("half", r"half is off by .* standard deviations.*float32"),
        ("planar", r"planar must return uint8 \(1, 16, 16, 3\), got uint8 \(1, 3, 16, 16\)"),
    ],
)
def test_nothing_wrong_is_timed(name, message, without_runtimes, monkeypatch):
    monkeypatch.setattr(bench_synthesis, "measure", pytest.fail)
    monkeypatch.setattr(peers, "FASTGAN", {})
    monkeypatch.setattr(peers, "PEERS", {})
    options = Options(quick=True, only=("16x256 batch 1",), contender=(f"{HERE}:{name}",))
    with pytest.raises(WrongResultError, match=message):
        list(bench_synthesis.run(options))


def test_contenders_are_compared_with_each_other():
    generator, ws = TINY.build()
    truth = nets.truth(generator, ws)
    levels = plain_synthesis.to_bytes(truth).numpy()
    apart = {
        "low": peers.Renderer("", lambda: levels - (levels > 0).astype(np.uint8)),
        "high": peers.Renderer("", lambda: levels + (levels < 255).astype(np.uint8)),
    }
    with pytest.raises(WrongResultError, match="low differs from high by 2 levels"):
        bench_synthesis.check(TINY.name, apart, truth)


def test_a_missing_peer_is_one_line_and_left_out(monkeypatch, capsys, without_runtimes):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(peers, "PEERS", {"eager": peers.eager, "onnxruntime": peers.onnxruntime})
    rows = bench_synthesis.run_net(TINY, Options(quick=True), {})
    assert {tables.kind(row) for row in rows} >= {"eager"}
    assert "onnxruntime" not in {tables.kind(row) for row in rows}
    lines = [line for line in capsys.readouterr().err.splitlines() if "onnxruntime" in line]
    assert len(lines) == 1
    assert "left out" in lines[0]


@dataclass
class Record:
    name: str
    algorithm: str
    milliseconds: float
    flops: float
    bytes: int


class FakeSynthesizer:
    """Stands in for the engine, with two layers of known cost."""

    def __init__(self, generator, batch):
        self.generator = generator

    def render_w(self, ws):
        images = self.generator.synthesis(ws, noise_mode="const")
        return fastgan.synthesis.to_uint8(images).numpy()

    def profile(self):
        return [Record("b4.conv1", "direct", 1.0, 1e9, 10), Record("b8.conv0", "up", 2.0, 1, 10**9)]


def test_layers_bound_the_time_and_are_drawn(tmp_path, monkeypatch, without_runtimes, capsys):
    monkeypatch.setattr(fastgan, "Synthesizer", FakeSynthesizer, raising=False)
    plug_in = f"{HERE}:right"
    arguments = ["bench", "synth", "--quick", "--out", str(tmp_path), "--contender", plug_in]
    assert main(arguments) == 0
    lines = (tmp_path / "synthesis.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    one = next(row for row in rows if row["provider"] == "fastgan" and row["batch"] == 1)
    expected = 1e9 / one["sgemm"] + 1e9 / one["copy_bandwidth"]
    assert one["roofline_bound"] == pytest.approx(expected)
    assert [entry["algorithm"] for entry in one["layers"]] == ["direct", "up"]
    assert next(row for row in rows if row["batch"] == 2)["roofline_bound"] is None
    keys = "cpu cpu_flags threads torch commit minimum median levels error direct_bound peers"
    assert all(key in row for row in rows for key in keys.split())
    names = {"README.md", "synthesis.jsonl", "time_by_resolution.png", "time_by_batch.png"}
    pytest.importorskip("matplotlib")
    assert {file.name for file in tmp_path.iterdir()} == names | {"layers.png", "roofline.png"}
    page = (tmp_path / "README.md").read_text()
    printed = capsys.readouterr().out
    for text in (page, printed):
        assert f"| net | fastgan | fastgan-ops | eager | {plug_in} | of the fastest |" in text
        assert "b4.conv1 direct 1, b8.conv0 up 2" in text
    assert "![layers](layers.png)" in page


def row(provider, minimum, median, **more):
    base = {"case": "8x8 batch 1", "direct_bound": 1.0, "roofline_bound": None, "error": None}
    return base | {"provider": provider, "minimum": minimum, "median": median} | more


def test_the_ratio_is_to_the_fastest_peer_by_minimum_and_by_median():
    rows = [
        row("fastgan", 1.0, 3.0),
        row("fastgan-ops", 0.1, 0.1),
        row("eager/phases", 2.0, 9.0, error=1e-6),
        row("openvino/transposed", 4.0, 6.0),
    ]
    line = tables.synthesis(rows).splitlines()[2]
    assert "| 0.50 (0.50) |" in line
    assert "| 2e+03 (9e+03) phases |" in line
    assert line.endswith("| 1.0e-06 |")
