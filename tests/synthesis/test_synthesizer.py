"""The Synthesizer renders what the generator would, from any input, and keeps no generator."""

import gc
import logging
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest
import torch

import fastgan
from fastgan.errors import ConfigError
from fastgan.synthesis import engine, synthesizer
from fastgan.synthesis.images import to_uint8
from fastgan.synthesis.sampling import latents_from_seeds, one_hot, sample
from fastgan.synthesis.synthesizer import Synthesizer, psnr
from tests.synthesis.generators import STYLES, levels, plain_generator, style_generator


@pytest.mark.parametrize("name", STYLES)
def test_bytes_are_those_of_the_float64_network(name):
    net = style_generator(**STYLES[name])
    ws = torch.randn(3, net.num_ws, net.w_dim)
    images = Synthesizer(net).render_w(ws)
    exact = to_uint8(net.double().synthesis(ws.double(), "const", force_fp32=True))
    assert images.dtype == np.uint8
    assert images.shape == (3, *net.img_resolution, net.img_channels)
    assert levels(images, exact) <= 1
    assert images.std() > 10


@pytest.mark.parametrize("name", STYLES)
def test_seeds_give_the_images_of_sample(name):
    net = style_generator(**STYLES[name])
    for noise_mode in ("const", "random", "none"):
        for psi in (1.0, 0.7, -0.5):
            images = Synthesizer(net, noise_mode=noise_mode, truncation_psi=psi).render(
                seeds=[4, 1]
            )
            wanted = sample(net, [4, 1], truncation=psi, noise_mode=noise_mode)
            assert levels(images, wanted) <= 1


def test_a_batch_changes_no_more_than_the_rounding():
    net = style_generator()
    one, many = (Synthesizer(net, batch=batch).render(seeds=range(20)) for batch in (1, 8))
    assert levels(one, many) <= 1
    with pytest.raises(ConfigError, match="batch: expected at least 1, got 0"):
        Synthesizer(net, batch=0)


@pytest.mark.parametrize("c_dim", [0, 3])
def test_networks_without_a_mapping_network_render_z_and_seeds(c_dim):
    net = plain_generator(c_dim)
    s = Synthesizer(net)
    assert (s.num_ws, s.w_dim, s.z_dim, s.c_dim) == (0, 0, 16, c_dim)
    images = s.render(seeds=range(20))
    assert levels(images, sample(net, range(20))) <= 1
    labels = one_hot([seed % 3 for seed in range(20)], 3) if c_dim else None
    assert levels(s.render(latents_from_seeds(range(20), 16), labels=labels), images) == 0
    for wrong in (lambda: s.map(torch.randn(1, 16)), lambda: s.render(w=torch.randn(1, 12))):
        with pytest.raises(ConfigError, match="no mapping network; render z or seeds"):
            wrong()
    with pytest.raises(ConfigError, match="truncation_psi: DCGANGenerator has no mapping"):
        Synthesizer(net, truncation_psi=0.5)


def test_all_kinds_of_input_mean_the_same(ready):
    z = latents_from_seeds([5, 6, 7], 8)
    images = ready.render(seeds=[5, 6, 7])
    ws = ready.map(z)
    assert ws.shape == (3, ready.num_ws, 12)
    wide = torch.zeros(3, 16)
    wide[:, ::2] = z
    for latent in (z, z.numpy(), z.double(), z.double().numpy(), wide[:, ::2], z.requires_grad_()):
        assert levels(ready.render(latent), images) == 0
    for styles in (ws, ws.numpy(), ws.double(), ws[:, 0], ws[:, 0].numpy(), ws.numpy()[::-1][::-1]):
        assert levels(ready.render(w=styles), images) == 0
        assert levels(ready.render_w(styles), images) == 0
    for seeds in (range(5, 8), np.arange(5, 8), torch.arange(5, 8), (5, 6, 7)):
        assert levels(ready.render(seeds=seeds), images) == 0
    frozen = z.detach().numpy().copy()
    frozen.setflags(write=False)
    assert levels(ready.render(frozen), images) == 0
    half = z.detach().half()
    assert levels(ready.render(half), ready.render(half.float())) == 0


def test_labels_may_be_any_numbers(conditional):
    s = Synthesizer(conditional)
    rows = one_hot([2, 0], 3)
    images = s.render(seeds=[0, 1], labels=rows)
    assert levels(images, sample(conditional, [0, 1], labels=rows)) <= 1
    for labels in (rows.numpy(), rows.long(), rows.bool().numpy(), rows.numpy().astype(np.int8)):
        assert levels(s.render(seeds=[0, 1], labels=labels), images) == 0
    assert levels(s.render_w(s.map(latents_from_seeds([0, 1], 8), rows)), images) == 0
    assert levels(s.render(seeds=[0, 1]), images) > 0  # class = seed modulo 3


def test_map_truncates_towards_the_mean(style):
    z = torch.randn(4, 8)
    for psi in (0.0, 0.5):
        ws = Synthesizer(style, truncation_psi=psi).map(z)
        torch.testing.assert_close(ws, style.mapping(z, truncation_psi=psi))
    average = style.mapping.w_avg.expand(4, style.num_ws, -1)
    torch.testing.assert_close(Synthesizer(style, truncation_psi=0.0).map(z), average)


def test_large_batches_are_split(ready, monkeypatch):
    seeds = range(2 * synthesizer.MAX_BATCH + 3)
    images = ready.render(seeds=seeds)
    assert len(images) == len(seeds)
    sizes, render = [], ready._engine.render_w

    def counted(ws, noise):
        sizes.append(len(ws))
        return render(ws, noise)

    monkeypatch.setattr(ready._engine, "render_w", counted)
    assert levels(ready.render(seeds=seeds), images) == 0
    assert sizes == [synthesizer.MAX_BATCH] * 2 + [3]


def test_random_noise_without_seeds_comes_from_the_global_generator(style):
    s, w = Synthesizer(style, noise_mode="random"), torch.randn(1, 12)
    torch.manual_seed(3)
    first, second = s.render_w(w), s.render_w(w)
    assert levels(first, second) > 0
    torch.manual_seed(3)
    assert levels(s.render_w(w), first) == 0


def test_results_are_the_callers_own(ready):
    first = ready.render(seeds=[1])
    kept = first.copy()
    first[:] = 0
    assert levels(ready.render(seeds=[1]), kept) == 0
    second = ready.render(seeds=[1])
    ready.render(seeds=[2])
    assert levels(second, kept) == 0


@pytest.mark.parametrize("make", [style_generator, plain_generator])
def test_the_generator_is_not_kept_and_not_changed(make):
    net = make().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    s = Synthesizer(net, precision="fp16")
    images = s.render(seeds=[1, 2])
    assert net.training
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    assert levels(s.render(seeds=[1, 2]), images) == 0
    watched = [weakref.ref(net), *(weakref.ref(parameter) for parameter in net.parameters())]
    del net, parameter
    gc.collect()
    assert not [reference for reference in watched if reference() is not None]


@pytest.mark.parametrize("engine", ["cpp", "torch"])
def test_gradients_and_hooks_of_training_do_not_come_along(engine, monkeypatch):
    if engine == "torch":
        monkeypatch.setattr("fastgan.synthesis.engine._cpu_engine", lambda *_: None)
    net = style_generator().train()
    net(torch.randn(2, 8)).mean().backward()
    s = Synthesizer(net.double())
    images = s.render(torch.randn(2, 8, requires_grad=True))
    assert levels(images, s.render_w(torch.zeros(1, 12))) > 0
    parts = (s._mapping, getattr(s._engine, "program", None))
    held = [p for part in parts if isinstance(part, torch.nn.Module) for p in part.parameters()]
    assert held or engine == "cpp"
    assert all(p.grad is None and not p.requires_grad and p.dtype == torch.float32 for p in held)


def test_half_precision_reports_its_error(style, caplog):
    with caplog.at_level(logging.WARNING, "fastgan"):
        s = Synthesizer(style, precision="fp16")
    lines = [r.message for r in caplog.records if "fp16" in r.message]
    assert lines == [f"precision fp16: {s.psnr_db:.1f} dB PSNR against fp32 on 4 seeds"]
    seeds = range(4)
    exact = Synthesizer(style).render(seeds=seeds)
    assert s.psnr_db == psnr(s.render(seeds=seeds), exact)
    assert s.psnr_db > 40
    assert f"fp16 ({s.psnr_db:.1f} dB)" in repr(s)
    assert Synthesizer(style).psnr_db is None


def test_psnr_is_the_textbooks():
    black, grey = np.zeros((1, 2, 2, 3), np.uint8), np.full((1, 2, 2, 3), 51, np.uint8)
    assert psnr(black, grey) == pytest.approx(20 * np.log10(5))
    assert psnr(grey, black) == psnr(black, grey)
    assert psnr(grey, grey) == np.inf


def test_threads_take_turns(ready):
    wanted = {seed: ready.render(seeds=[seed]) for seed in range(6)}
    wrong = []

    def work(seed):
        for _ in range(5):
            if levels(ready.render(seeds=[seed]), wanted[seed]) > 0:
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_inference_mode_and_autocast_change_nothing(style, ready):
    images = ready.render(seeds=[1, 2])
    with torch.inference_mode():
        assert levels(ready.render(seeds=[1, 2]), images) == 0
        made_inside = Synthesizer(style)
        born_inside = Synthesizer(style_generator())
    with torch.autocast("cpu", torch.bfloat16):
        assert levels(ready.render(seeds=[1, 2]), images) == 0
    assert levels(made_inside.render(seeds=[1, 2]), images) == 0
    assert levels(born_inside.render(seeds=[1, 2]), images) == 0


def test_profile_lists_the_layers(ready):
    rows = ready.warmup().profile()
    names = [
        row.name.split(".")[0] + "." + layer
        for row in rows
        for layer in row.name.split(".")[-1].split("+")
    ]
    assert [n for n in names if "rgb" in n] == ["b4.torgb", "b8.torgb", "b16.torgb"]
    assert {"b4.conv1", "b8.conv0", "b8.conv1", "b16.conv0", "b16.conv1"} < set(names)
    for row in rows:
        assert row.algorithm
        assert row.gflops_per_second == pytest.approx(row.flops / row.milliseconds / 1e6)
        assert row.bytes >= row.weight_bytes > 0


def test_plain_networks_have_a_profile():
    rows = Synthesizer(plain_generator(3)).warmup().profile()
    assert [row.name for row in rows] == ["main.0", "main.3", "main.6"]
    assert rows[1].flops == 2 * 4 * 4 * 4 * 4 * 8 * 4  # pixels of the input, taps, channels


def test_the_name_is_public_and_import_stays_light(style):
    assert fastgan.Synthesizer is Synthesizer
    assert "16 x 16 x 3" in repr(Synthesizer(style))
    code = "import sys, fastgan; print([m for m in ('PIL', 'safetensors') if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="no attribute 'Synthesiser'"):
        _ = fastgan.Synthesiser


class FakeCpuEngine:
    """Stands in for the C++ engine's module and class."""

    name = "cpu"

    def __init__(self, generator, *, precision, noise_mode, batch):
        device = next(generator.parameters()).device.type
        self.made_with = (device, precision, noise_mode, batch)


@pytest.mark.parametrize("reason", [None, "no such instructions"])
def test_the_cpp_engine_comes_first_where_it_serves(reason, style, monkeypatch, caplog):
    engine.log_once.cache_clear()
    module = type("module", (), {"CpuEngine": FakeCpuEngine})
    module.why_not = staticmethod(lambda generator, precision: reason)
    monkeypatch.setattr(engine.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(engine.importlib, "import_module", lambda name: module)
    with caplog.at_level(logging.WARNING, "fastgan"):
        cpu = torch.device("cpu")
        made = [engine.build_engine(style, cpu, "fp32", "none", 5) for _ in range(2)]
        plain = engine.build_engine(plain_generator(), torch.device("cpu"), "fp32", "const")
    assert plain.name == "torch"
    if reason is None:
        assert made[0].made_with == ("cpu", "fp32", "none", 5)
        assert not caplog.records
    else:
        assert made[0].name == "torch"
        assert [reason in record.message for record in caplog.records] == [True]  # once
