"""A small image folder, and the command line called in this process."""

import pytest
import torch
from PIL import Image

from fastgan.cli import main

SETTINGS = {
    "batch": 4,
    "z-dim": 8,
    "w-dim": 8,
    "mapping-layers": 1,
    "channel-base": 64,
    "channel-max": 8,
    "log-kimg": 0.004,
    "sample-kimg": 0,
    "checkpoint-kimg": 0.008,
}
TINY = [f"--{name}={value}" for name, value in SETTINGS.items()] + ["--no-tensorboard"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Twelve 16 x 16 images in two class folders."""
    root = tmp_path_factory.mktemp("images")
    generator = torch.Generator().manual_seed(0)
    for index in range(12):
        pixels = torch.randint(256, (16, 16, 3), generator=generator, dtype=torch.uint8)
        path = root / ("even" if index % 2 == 0 else "odd") / f"{index:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels.numpy()).save(path)
    return root


@pytest.fixture(scope="session")
def run_of_a_few_steps(folder, tmp_path_factory):
    """The folder of a finished StyleGAN2 run of three steps."""
    out = tmp_path_factory.mktemp("run")
    arguments = ["train", "--data", str(folder), "--out", str(out), "--total-kimg", "0.012", *TINY]
    assert main(arguments) == 0
    return out


@pytest.fixture
def complaint(capsys):
    """Run a command that must fail on the user's account; return its one line."""

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert status == 2, said
        assert said.err.count("\n") == 1, said.err
        assert said.err.startswith("fastgan: ")
        assert "Traceback" not in said.out + said.err
        return said.err

    return run
