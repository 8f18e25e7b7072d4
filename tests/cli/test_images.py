"""Images of every aspect and kind, from a folder through training to the pictures of the model."""

import json

import pytest
import torch
from PIL import Image

from fastgan.cli import main
from tests.cli.conftest import TINY

MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def folder_of(path, channels, height, width, count=6):
    """Images of noise; those with transparency have all of its values."""
    generator = torch.Generator().manual_seed(0)
    path.mkdir()
    for index in range(count):
        shape = (height, width, channels)
        pixels = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.squeeze(2).numpy()).save(path / f"{index}.png")
    return path


@pytest.mark.parametrize(
    ("channels", "height", "width", "options"),
    [
        (4, 16, 32, ["--image-channels", "4"]),  # from a base of 4 x 8
        (1, 24, 40, []),  # 3 x 5 doubled: a base of 6 x 10
        (3, 18, 18, []),
    ],
    ids=["rgba-wide", "grey-3x5", "rgb-odd-base"],
)
def test_training_and_generating_keep_size_and_channels(
    tmp_path, capsys, channels, height, width, options
):
    data = folder_of(tmp_path / "data", channels, height, width)
    start = ["train", "--data", str(data), "--out", str(tmp_path / "run"), *options, *TINY]
    assert main([*start, "--total-kimg", "0.004", "--sample-kimg", "0.004"]) == 0
    gamma = 0.0002 * height * width / 4
    said = f"r1_gamma {gamma:.4g} = 0.0002 * {height} * {width} / 4, the heuristic"
    assert said in capsys.readouterr().out
    with Image.open(tmp_path / "run" / "samples" / "000000004.png") as grid:
        assert grid.mode == MODES[channels]
        assert grid.size == (8 * (width + 2) + 2, 8 * (height + 2) + 2)
    model, out = str(tmp_path / "run" / "model.safetensors"), tmp_path / "pictures"
    assert main(["generate", "--model", model, "--seeds", "0-1", "--out", str(out)]) == 0
    for name, size in (("seed0001", (width, height)), ("grid", (2 * width + 6, height + 4))):
        with Image.open(out / f"{name}.png") as picture:
            assert (picture.mode, picture.size) == (MODES[channels], size)


def test_sizes_that_cannot_be_reached_name_the_nearest(complaint, tmp_path):
    data = folder_of(tmp_path / "data", 3, 25, 30, count=2)
    line = complaint("train", "--data", data, "--out", tmp_path / "x", *TINY)
    assert "img_resolution 25 x 30" in line
    assert "24 x 30 or 26 x 30" in line


def test_both_sides_can_be_asked_for_and_are_remembered(tmp_path):
    data = folder_of(tmp_path / "data", 3, 25, 30, count=6)
    start = [
        "train",
        "--data",
        str(data),
        "--out",
        str(tmp_path / "run"),
        "--resolution",
        "8",
        "16",
    ]
    assert main([*start, *TINY, "--total-kimg", "0.004"]) == 0
    assert main(["train", "--resume", str(tmp_path / "run"), "--total-kimg", "0.008"]) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["steps"] == 2


def test_the_automatic_preset_looks_at_the_data(tmp_path, capsys):
    data = folder_of(tmp_path / "data", 3, 512, 512, count=1)
    for options, batch, base in (
        (["--data", str(data)], 8, 32768),
        (["--data", str(data), "--resolution", "1024"], 4, 32768),
        (["--data", "shipped"], 32, 16384),
        ([], 16, 16384),  # no data, no size: as at 256
    ):
        assert main(["train", "--preset", "auto", *options, "--help"]) == 0
        text = " ".join(capsys.readouterr().out.replace("│", " ").split())
        assert f"Images per step over all processes. (default: {batch})" in text
        assert f"at a resolution. (default: {base})" in text


def test_help_explains_gamma_and_accumulation(capsys):
    assert main(["train", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "the heuristic 0.0002 * height * width / batch" in text
    assert "gradients are accumulated" in text


def test_a_run_starts_from_the_weights_of_another(folder, run_of_a_few_steps, tmp_path, capsys):
    start = ["train", "--data", str(folder), "--init-from", str(run_of_a_few_steps), *TINY]
    assert main([*start, "--labels", "--out", str(tmp_path / "run"), "--total-kimg", "0.004"]) == 0
    said = capsys.readouterr().out
    assert "G: " in said
    assert "starts new, other shape: mapping.fc0.weight 8x8 -> 8x16" in said
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    assert about["init_from"] == str(run_of_a_few_steps)
    assert main(["train", "--resume", str(tmp_path / "run"), "--total-kimg", "0.008"]) == 0


def test_bad_starts_get_one_line(complaint, folder, run_of_a_few_steps, tmp_path):
    data = ("--data", folder, "--out", tmp_path / "x", *TINY)
    assert "no such file" in complaint("train", *data, "--init-from", tmp_path / "nowhere")
    line = complaint("train", "--resume", run_of_a_few_steps, "--init-from", run_of_a_few_steps)
    assert "has its weights already" in line
