"""`fastgan train`: a few steps, exact resume, and everything a user can get wrong."""

import json
import zipfile

import pytest
import tyro
from safetensors.torch import load_file

from fastgan.cli import main
from fastgan.commands import train
from tests.cli.conftest import TINY


def test_train_writes_what_it_promises(run_of_a_few_steps):
    names = {path.name for path in run_of_a_few_steps.iterdir()}
    assert {"metrics.jsonl", "model.safetensors", "summary.json", "run.json"} <= names
    lines = (run_of_a_few_steps / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]


def test_flags_override_the_preset(run_of_a_few_steps):
    config = json.loads((run_of_a_few_steps / "summary.json").read_text())["config"]
    assert config["batch"] == 4
    assert config["channel_max"] == 8
    assert config["style_mixing"] == 0.9  # the preset's own


def test_resume_equals_the_unbroken_run(folder, run_of_a_few_steps, tmp_path):
    start = ["train", "--data", str(folder), "--out", str(tmp_path), *TINY]
    assert main([*start, "--total-kimg", "0.008"]) == 0
    assert main(["train", "--resume", str(tmp_path), "--total-kimg", "0.012"]) == 0
    resumed = load_file(tmp_path / "model.safetensors")
    unbroken = load_file(run_of_a_few_steps / "model.safetensors")
    assert resumed.keys() == unbroken.keys()
    assert all(value.equal(unbroken[name]) for name, value in resumed.items())


def test_a_bare_resume_takes_the_newest_checkpoint_in_out(folder, tmp_path, capsys):
    start = ["train", "--data", str(folder), "--out", str(tmp_path), *TINY]
    assert main([*start, "--total-kimg", "0.004"]) == 0
    again = ["train", "--out", str(tmp_path), "--resume", "--total-kimg", "0.008"]
    assert main(again) == 0
    assert "step-000000001" in capsys.readouterr().out
    assert json.loads((tmp_path / "summary.json").read_text())["steps"] == 2


def test_a_run_goes_on_from_any_folder_in_any_folder(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(folder.parent)
    first, second = tmp_path / "first", tmp_path / "second"
    start = ["train", "--data", folder.name, "--out", str(first), *TINY]
    assert main([*start, "--total-kimg", "0.004"]) == 0
    monkeypatch.chdir(first / "checkpoints" / "step-000000001")
    moved = ["train", "--resume", ".", "--out", str(second), "--total-kimg", "0.008"]
    assert main(moved) == 0
    assert main(["train", "--resume", str(second), "--total-kimg", "0.012"]) == 0
    assert json.loads((second / "summary.json").read_text())["steps"] == 3


def test_labels_make_a_conditional_model(folder, tmp_path):
    arguments = ["train", "--data", folder, "--labels", "--out", tmp_path / "run"]
    assert main([*map(str, arguments), "--total-kimg", "0.004", *TINY]) == 0
    for classes in ("0", "1"):
        options = ["--seeds", "3", "--classes", classes, "--out", tmp_path / classes]
        model = tmp_path / "run" / "model.safetensors"
        assert main([*map(str, ["generate", "--model", model, *options])]) == 0
    first, second = ((tmp_path / c / "seed0003.png").read_bytes() for c in ("0", "1"))
    assert first != second


@pytest.mark.parametrize(
    ("words", "ada_kimg"),
    [([], 500), (["--init-from", "m"], 100), (["--init-from", "m", "--ada-kimg", "50"], 50)],
)
def test_augmentation_adapts_faster_from_trained_weights(words, ada_kimg):
    argv = ["--data", "shipped", "--augment", "ada", *words]
    options, argv = train.prepare(argv)
    assert tyro.cli(options, args=argv).config.ada_kimg == ada_kimg


def test_points_train_the_vanilla_recipe(tmp_path, capsys):
    start = ["train", "--recipe", "vanilla", "--data", "ring8", "--no-tensorboard"]
    assert main([*start, "--total-kimg", "0.5", "--out", str(tmp_path)]) == 0
    assert "preset vanilla" in capsys.readouterr().out


def test_wrong_values_get_one_line(complaint, folder, tmp_path):
    data = ("--data", folder, "--out", tmp_path / "x")
    assert "expected one of dcgan" in complaint("train", *data, "--recipe", "biggan3")
    assert "stylegan2-lite" in complaint("train", *data, "--preset", "huge")
    assert "batch" in complaint("train", *data, "--batch", "-3")
    assert "batch" in complaint("train", *data, "--batch", "three")
    assert "lr_g" in complaint("train", *data, "--lr-g", "nan")
    assert "no-such-device" in complaint("train", *data, "--device", "no-such-device", *TINY)
    assert "resolution" in complaint("train", *data, "--resolution", "3")
    assert "--preset" in complaint("train", *data, "--preset")
    assert "missing --data" in complaint("train")
    assert not (tmp_path / "x" / "checkpoints").exists()


def test_bad_data_gets_one_line(complaint, tmp_path):
    empty, text, broken = tmp_path / "empty", tmp_path / "a.txt", tmp_path / "broken.zip"
    empty.mkdir()
    text.write_text("no zip")
    with zipfile.ZipFile(broken, "w") as archive:
        archive.writestr("a.png", b"not an image")
    truncated = tmp_path / "truncated.zip"
    truncated.write_bytes(broken.read_bytes()[:40])
    for path in (empty, text, broken, truncated, tmp_path / "missing"):
        line = complaint("train", "--data", path, "--out", tmp_path / "x")
        assert path.name in line


def test_a_recipe_refuses_data_of_another_kind(complaint, folder, tmp_path):
    out = ("--out", tmp_path / "x")
    assert "points" in complaint("train", "--recipe", "vanilla", "--data", folder, *out)
    assert "images" in complaint("train", "--recipe", "stylegan2", "--data", "ring8", *out)


def test_bad_resumes_get_one_line(complaint, folder, run_of_a_few_steps, tmp_path):
    assert "no checkpoint" in complaint("train", "--resume", tmp_path / "nowhere")
    assert "--resume" in complaint("train", "--data", folder, "--out", run_of_a_few_steps, *TINY)
    assert "--preset" in complaint(
        "train", "--resume", run_of_a_few_steps, "--preset", "stylegan2-lite"
    )
    line = complaint("train", "--resume", run_of_a_few_steps, "--batch", "2")
    assert "batch 4 -> 2" in line


def test_an_unwritable_out_gets_one_line(complaint, folder, tmp_path):
    (tmp_path / "file").write_text("")
    assert "file" in complaint("train", "--data", folder, "--out", tmp_path / "file" / "x", *TINY)


@pytest.mark.parametrize("backend", ["abacus", "bias_act=abacus"])
def test_an_unknown_backend_gets_one_line(backend, complaint, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("FASTGAN_BACKEND", backend)
    assert "abacus" in complaint("train", "--data", folder, "--out", tmp_path / "x", *TINY)


def test_profile_steps_alone_are_refused(complaint, folder, tmp_path):
    start = ["train", "--data", folder, "--out", tmp_path / "run", *TINY]
    assert "--profile" in complaint(*start, "--profile-steps", "2")


def test_relativistic_pairing_without_its_penalties_is_remarked(folder, tmp_path, capsys):
    start = ["train", "--data", str(folder), "--out", str(tmp_path), *TINY, "--total-kimg", "0.004"]
    assert main([*start, "--objective", "rpgan"]) == 0
    assert "R1 and R2 in each step; here r1_every is 16" in capsys.readouterr().out


def test_a_wrong_instruction_set_is_one_line(complaint, monkeypatch):
    monkeypatch.setenv("FASTGAN_CPU_CAPABILITY", "sse")
    assert "FASTGAN_CPU_CAPABILITY: expected default, avx2 or avx512" in complaint("doctor")
