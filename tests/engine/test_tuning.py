"""What `fastgan tune` measures is kept, used, and never in the way."""

import json

import numpy as np
import pytest
import torch

from fastgan.cli import main
from fastgan.synthesis import tuning
from fastgan.synthesis.cpu_engine import CpuEngine, conv_shapes
from fastgan.synthesis.tuning import Shape
from tests.synthesis.generators import style_generator

SHAPE = Shape(16, 32, 8, 8, True)


def test_results_are_kept_and_used(engine):
    net = style_generator()
    (first, *_) = shapes = conv_shapes(net)
    results = tuning.tune(shapes[:2], rounds=1)
    assert [r.shape for r in results] == list(dict.fromkeys(shapes[:2]))
    assert all(0 < r.seconds <= r.default_seconds for r in results)
    kept = tuning.tuned_choices(shapes, half=False)
    assert kept[0] == results[0].choice
    assert kept[-1] is None  # not measured
    assert tuning.tuned_choices([first], half=True) == [None]
    torch.set_num_threads(1)
    assert tuning.tuned_choices([first], half=False) == [None]  # measured for two threads
    torch.set_num_threads(2)

    path = tuning.cache_file()
    content = json.loads(path.read_text())
    (key,) = [key for key in content["choices"] if key.endswith("conv 16-16 4x4")]
    content["choices"][key] = {"tile": 2, "split": "team", "batch": 3, "columns": 1}
    path.write_text(json.dumps(content))
    rows = CpuEngine(net)._network.profile(np.zeros((1, 6, 12), np.float32), 2)
    assert rows[1]["algorithm"] == "F(2x2,3x3) team, batch 3, columns 1"


THIS = f'"version": {tuning.VERSION}'


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", f"{{{THIS}}}", f'{{{THIS}, "choices": {{"a": {{"tile": 9}}}}}}']
)
def test_a_damaged_file_is_ignored_with_a_word(engine, text, caplog):
    path = tuning.cache_file()
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert tuning.tuned_choices([SHAPE], half=False) == [None]
    assert "may be deleted" in caplog.text


def test_a_file_of_another_version_is_ignored(engine, caplog):
    path = tuning.cache_file()
    path.parent.mkdir(parents=True)
    path.write_text('{"version": 0, "choices": 3}')
    assert tuning.tuned_choices([SHAPE], half=False) == [None]
    assert not caplog.text


def test_every_candidate_can_be_computed(engine):
    for shape in (SHAPE, Shape(3, 5, 4, 7, False), Shape(64, 48, 16, 16, False)):
        found = engine.candidates(*shape, 2)
        assert len(found) > 3
        assert all(s > 0 for s in engine.time_choices(*shape, found[:8], False, 2, 1))


def test_bad_arguments_are_explained(engine):
    with pytest.raises(ValueError, match="rounds: expected at least 1"):
        tuning.tune([SHAPE], rounds=0)


def test_the_command_complains_in_one_line(tmp_path, capsys):
    assert main(["tune", "--model", str(tmp_path / "none.safetensors")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_doctor_can_say_what_is_there(engine, monkeypatch):
    assert tuning.engine_status() == f"built, {engine.isa()}, not tuned"
    tuning.tune([Shape(4, 4, 4, 4, False)], rounds=1)
    assert tuning.engine_status().endswith(", tuned")
    monkeypatch.setenv("FASTGAN_CPU_CAPABILITY", "sse9")
    assert "expected default, avx2 or avx512, got sse9" in tuning.engine_status()
    monkeypatch.setattr(tuning, "engine_module", lambda: None)
    assert tuning.engine_status() == "not built; torch renders, slower"
