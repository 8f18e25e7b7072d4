"""`fastgan generate`: pictures that belong to their seeds, and everything a user can get wrong."""

import hashlib

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from fastgan.cli import main
from fastgan.synthesis.model_file import load_model, save_model, shipped_model


@pytest.fixture(scope="session")
def model(run_of_a_few_steps):
    return run_of_a_few_steps / "model.safetensors"


def generate(model, out, *options):
    assert main(["generate", "--model", str(model), "--out", str(out), *options]) == 0
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_it_writes_one_picture_per_seed_and_a_grid(model, tmp_path):
    files = generate(model, tmp_path, "--seeds", "0-3,12345", "--columns", "5")
    singles = {"seed0000.png", "seed0001.png", "seed0002.png", "seed0003.png", "seed12345.png"}
    assert files.keys() == singles | {"grid.png"}
    with Image.open(tmp_path / "seed0002.png") as single, Image.open(tmp_path / "grid.png") as grid:
        assert single.size == (16, 16)
        assert grid.size == (5 * 18 + 2, 18 + 2)
        left = 2 + 2 * 18
        assert grid.crop((left, 2, left + 16, 18)).tobytes() == single.tobytes()


def test_without_a_model_it_takes_the_shipped_one(tmp_path):
    assert main(["generate", "--seeds", "0-1", "--out", str(tmp_path)]) == 0
    with Image.open(tmp_path / "seed0001.png") as picture:
        assert (picture.size, picture.mode) == ((64, 64), "RGB")
        shipped = hashlib.sha256(shipped_model().read_bytes()).hexdigest()
        assert picture.text["model_sha256"] == shipped


def test_the_folder_of_a_run_is_a_model_too(model, tmp_path):
    assert generate(model.parent, tmp_path / "a") == generate(model, tmp_path / "b")


def test_pictures_say_where_they_came_from(model, tmp_path):
    generate(model, tmp_path, "--seeds", "7", "--truncation", "0.5")
    with Image.open(tmp_path / "seed0007.png") as picture:
        text = picture.text
    assert text["synthetic"] == "true"
    assert text["model_sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert (text["seed"], text["truncation"], text["noise_mode"]) == ("7", "0.5", "const")


def test_the_same_command_writes_the_same_bytes(model, tmp_path):
    first = generate(model, tmp_path / "a", "--seeds", "0-3")
    assert generate(model, tmp_path / "b", "--seeds", "0-3") == first


@pytest.mark.parametrize("noise_mode", ["const", "random"])
def test_a_picture_does_not_depend_on_its_batch(model, tmp_path, noise_mode):
    options = ["--noise-mode", noise_mode, "--seeds"]
    generate(model, tmp_path / "a", *options, "0-4", "--batch", "5")
    generate(model, tmp_path / "b", *options, "3,1", "--batch", "1")
    for name in ("seed0001.png", "seed0003.png"):
        a, b = (torch.tensor(list(Image.open(tmp_path / d / name).tobytes())) for d in "ab")
        assert (a - b).abs().max() <= 1  # sums may round differently in another batch size


def test_half_precision_is_close_and_says_how_close(model, tmp_path, caplog):
    generate(model, tmp_path / "a", "--seeds", "3")
    generate(model, tmp_path / "b", "--seeds", "3", "--precision", "fp16")
    assert any("dB PSNR against fp32" in record.message for record in caplog.records)
    a, b = (Image.open(tmp_path / d / "seed0003.png") for d in "ab")
    assert (a.text["precision"], b.text["precision"]) == ("fp32", "fp16")
    difference = torch.tensor(list(a.tobytes())) - torch.tensor(list(b.tobytes()))
    assert difference.abs().max() <= 4


@pytest.mark.parametrize("seeds", ["", "x", "5-1", "-3", "1;2", "0-99999999"])
def test_bad_seeds_get_one_line(seeds, complaint, model, tmp_path):
    line = complaint("generate", "--model", model, f"--seeds={seeds}", "--out", tmp_path / "x")
    assert "seeds" in line
    assert not (tmp_path / "x").exists()


def test_bad_models_get_one_line(complaint, tmp_path):
    png, tensors = tmp_path / "a.png", tmp_path / "b.safetensors"
    Image.new("RGB", (4, 4)).save(png)
    save_file({"weight": torch.zeros(3)}, tensors)
    out = ("--out", tmp_path / "x")
    assert "a.png" in complaint("generate", "--model", png, *out)
    assert "not a fastgan model" in complaint("generate", "--model", tensors, *out)
    assert "no such file" in complaint("generate", "--model", tmp_path / "c", *out)
    assert str(tmp_path) in complaint("generate", "--model", tmp_path, *out)
    assert not (tmp_path / "x").exists()


def test_wrong_values_get_one_line(complaint, model, tmp_path):
    base = ("generate", "--model", model, "--out", tmp_path / "x")
    assert "batch" in complaint(*base, "--batch", "0")
    assert "truncation" in complaint(*base, "--truncation", "inf")
    assert "columns" in complaint(*base, "--columns", "0")
    assert "noise-mode" in complaint(*base, "--noise-mode", "loud")
    assert "not conditional" in complaint(*base, "--classes", "1")
    assert "warp" in complaint(*base, "--device", "warp")
    (tmp_path / "file").write_text("")
    assert "file" in complaint("generate", "--model", model, "--out", tmp_path / "file")


def test_a_model_of_nan_is_refused(complaint, model, tmp_path):
    generator, info = load_model(model)
    next(generator.parameters()).data.view(-1)[0] = float("nan")
    spoilt = save_model(tmp_path / "nan.safetensors", generator, info)
    assert "NaN" in complaint("generate", "--model", spoilt, "--out", tmp_path / "x")
