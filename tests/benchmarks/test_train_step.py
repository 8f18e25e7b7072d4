"""The training benchmark: plain networks against fastgan's, refusals, rows and tables."""

import json

import pytest
import torch

from benchmarks import bench_train_step, tables
from benchmarks.plain_stylegan2 import PlainDiscriminator, PlainGenerator
from benchmarks.providers import WrongResultError
from benchmarks.runner import Options
from benchmarks.timing import Timing
from benchmarks.trainers import Trainer, plain_networks
from fastgan import use_backend
from fastgan.cli import main
from fastgan.networks import StyleGAN2Discriminator, StyleGAN2Generator

HERE = "tests.benchmarks.contenders"


@pytest.mark.parametrize("channels_last", [False, True])
def test_plain_generator_is_the_specification_with_gradients(channels_last):
    net = StyleGAN2Generator(8, 0, 8, 16, 3, channel_base=64, channel_max=8, mapping_layers=2)
    net = net.double()
    for name, parameter in net.named_parameters():
        if name.endswith("noise_strength"):
            torch.nn.init.constant_(parameter, 0.3)
    plain = PlainGenerator(net, channels_last=channels_last)
    z = torch.randn(3, 8, dtype=torch.float64)
    noise = torch.Generator()

    def draw(index, height, width):
        noise.manual_seed(index)
        return torch.randn(3, 1, height, width, dtype=torch.float64, generator=noise)

    with use_backend("reference"):
        expected = net(z, noise=draw)
        images = plain.synthesis(plain.mapping(z), noise=draw)
        torch.testing.assert_close(images, expected)
        found, truths = gradients(plain, images), gradients(net, expected)
        assert found.keys() == truths.keys()
        for name, truth in truths.items():
            torch.testing.assert_close(found[name], truth, msg=name)


@pytest.mark.parametrize("batch", [3, 8])
def test_plain_discriminator_is_the_specification_with_gradients(batch):
    net = StyleGAN2Discriminator(0, 16, 3, channel_base=64, channel_max=8).double()
    plain = PlainDiscriminator(net)
    x = torch.randn(batch, 3, 16, 16, dtype=torch.float64)
    with use_backend("reference"):
        expected, found = net(x).logits, plain(x).logits
        torch.testing.assert_close(found, expected)
        ours, truths = gradients(plain, found), gradients(net, expected)
        assert ours.keys() == truths.keys()
        for name, truth in truths.items():
            torch.testing.assert_close(ours[name], truth, msg=name)


def gradients(net, output):
    named = dict(net.named_parameters())
    found = torch.autograd.grad(output.square().sum(), list(named.values()))
    return dict(zip(named, found, strict=True))


@pytest.mark.parametrize("model", bench_train_step.cases(True), ids=lambda model: model.name)
def test_every_update_changes_the_networks(model):
    """All contenders carry out the same updates, so after one of each they still agree."""
    plain = Trainer(model.recipe, model.config, model.dataset(), change=plain_networks(True))
    ours = Trainer(model.recipe, model.config, model.dataset())
    before = {k: v.clone() for k, v in plain.step.state.nets["D"].state_dict().items()}
    for phase in model.phases(plain):
        plain.update(phase)
        ours.update(phase)
    after = plain.step.state.nets["D"].state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    for player in ("g", "d"):
        found = plain.step.state.players[player].named_parameters
        for name, truth in ours.step.state.players[player].named_parameters.items():
            close = (found[name] - truth).abs() <= 1e-4 * (1 + truth.abs())
            assert close.float().mean() > 0.9, name  # Adam doubts the sign of what is all but zero


@pytest.mark.parametrize(
    ("name", "message"),
    [("steep", "the gradient of .*:steep is off by"), ("nothing", "two modules, got NoneType")],
)
def test_nothing_wrong_is_timed(name, message, monkeypatch):
    monkeypatch.setattr(bench_train_step, "measure", pytest.fail)
    options = Options(quick=True, only=("stylegan2",), contender=(f"{HERE}:{name}",))
    with pytest.raises((WrongResultError, ValueError), match=message):
        list(bench_train_step.run(options))


def test_quick_run_writes_rows_page_and_plot(tmp_path, capsys):
    plug_in = f"{HERE}:same_networks"
    assert main(["bench", "train", "--quick", "--out", str(tmp_path), "--contender", plug_in]) == 0
    lines = (tmp_path / "train_step.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    first = [row for row in rows if row["model"] == "stylegan2"]
    wanted = ["fastgan", "eager/plain", "eager/channels_last", f"plugin/{plug_in}"]
    assert [row["provider"] for row in first] == wanted
    for row in first:
        assert list(row["phases"]) == ["d0", "d_r1", "g", "g_pl", "ema"]
        assert row["due"] == {"d0": 1, "d_r1": 1 / 16, "g": 1, "g_pl": 1 / 4, "ema": 1}
        seconds = sum(row["phases"][p]["minimum"] * row["due"][p] for p in row["phases"])
        assert row["images_per_second"] == pytest.approx(row["batch"] / seconds)
    assert {row["model"] for row in rows} == {"stylegan2", "dcgan"}
    page = (tmp_path / "README.md").read_text()
    assert "| stylegan2-lite 16x16 batch 4 | eager/plain |" in page
    assert "| dcgan 16x16 batch 4 | fastgan |" in capsys.readouterr().out
    pytest.importorskip("matplotlib")
    assert (tmp_path / "training.png").stat().st_size > 1000


def test_lazy_phases_count_as_often_as_they_are_due():
    model = bench_train_step.cases(True)[0]
    timings = {"d0": Timing(1, 2, 1, 3, 9), "d_r1": Timing(16, 32, 1, 3, 8)}
    row = bench_train_step.combined(timings, {"d0": 1.0, "d_r1": 1 / 16}, model)
    assert (row["minimum"], row["median"], row["rounds"]) == (2, 4, 8)
    assert row["images_per_second"] == model.config.batch / 2


def test_table_says_how_much_faster_fastgan_is():
    timing = {"minimum": 1.0, "median": 1.0}
    rows = [
        {"case": "m", "provider": name, "minimum": seconds, "median": seconds,
         "images_per_second": 1 / seconds, "images_per_second_median": 2 / seconds,
         "phases": {"d0": timing}}
        for name, seconds in (("fastgan", 1.0), ("eager/plain", 3.0))
    ]  # fmt: skip
    assert tables.train(rows).splitlines()[-1].endswith("| 0.333 (0.667) | 3.00 (3.00) |")


def test_compiled_contender_computes_the_same_in_every_phase(monkeypatch):
    """With the graphs and gradients of torch.compile, but without its code generator: seconds."""
    compile_with = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda call, **settings: compile_with(call, backend="aot_eager")
    )
    model = bench_train_step.cases(True)[0]
    trainers = bench_train_step._trainers(model, Options(compile=True), {})
    name = list(trainers)[-1]
    assert name in ("compile/plain", "compile/channels_last")
    bench_train_step.check(model.name, trainers)
    compiled = trainers[name]
    nets = compiled.step.state.nets
    for phase, is_compiled in (("g", True), ("g_pl", False), ("d_r1", False), ("d0", True)):
        compiled.update(phase)
        assert (nets["D"].compiled is not None) == is_compiled
