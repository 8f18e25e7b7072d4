"""Inputs, options and files that the Synthesizer takes, and clear errors for those it cannot."""

import numpy as np
import pytest
import torch

from fastgan.errors import CheckpointError, ConfigError
from fastgan.networks import MLPGenerator, StyleGAN2Discriminator
from fastgan.synthesis.model_file import ModelInfo, NetworkSpec, save_model
from fastgan.synthesis.synthesizer import Synthesizer
from tests.synthesis.generators import levels

WRONG = {
    "nothing": ({}, ConfigError, "exactly one of z, seeds and w"),
    "two": ({"z": torch.zeros(1, 8), "seeds": [1]}, ConfigError, "exactly one"),
    "z shape": ({"z": torch.zeros(1, 9)}, ConfigError, r"z: expected \[N, 8\], got \[1, 9\]"),
    "z flat": ({"z": torch.zeros(8)}, ConfigError, r"z: expected \[N, 8\]"),
    "z empty": ({"z": torch.zeros(0, 8)}, ConfigError, "N >= 1"),
    "z integers": ({"z": torch.zeros(1, 8).long()}, TypeError, "z: .*int64"),
    "z array of integers": ({"z": np.zeros((1, 8), int)}, TypeError, "z: .*int64"),
    "z list": ({"z": [[0.0] * 8]}, TypeError, "z: .*tensor or numpy array, got list"),
    "z nan": ({"z": torch.full((1, 8), torch.nan)}, ConfigError, "z: holds NaN"),
    "z too large": ({"z": np.full((1, 8), 1e300)}, ConfigError, "z: holds NaN or infinity"),
    "w shape": ({"w": torch.zeros(1, 3, 12)}, ConfigError, r"w: expected \[N, 6, 12\] or"),
    "w flat": ({"w": torch.zeros(12)}, ConfigError, r"w: expected"),
    "w narrow": ({"w": torch.zeros(1, 11)}, ConfigError, r"got \[1, 11\]"),
    "w nan": ({"w": torch.full((1, 12), torch.nan)}, ConfigError, "w: holds NaN"),
    "w with labels": ({"w": torch.zeros(1, 12), "labels": torch.zeros(1, 3)}, ConfigError, "map"),
    "labels": ({"seeds": [1], "labels": torch.zeros(1, 3)}, ConfigError, "not conditional"),
    "seeds empty": ({"seeds": []}, ConfigError, "seeds: expected at least one"),
    "seeds negative": ({"seeds": [1, -1]}, ConfigError, "none below 0"),
    "seeds real": ({"seeds": [0.5]}, TypeError, "seeds: expected whole numbers"),
    "seeds one number": ({"seeds": 1}, TypeError, "seeds: expected whole numbers such as"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_inputs_are_explained(name, ready):
    arguments, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        ready.render(**arguments)


def test_wrong_labels_are_explained(conditional):
    s = Synthesizer(conditional)
    with pytest.raises(ConfigError, match="conditional; pass"):
        s.render(torch.zeros(2, 8))
    for labels in (torch.ones(1, 3), torch.ones(2, 4), torch.full((2, 3), torch.nan)):
        with pytest.raises(ConfigError, match="labels"):
            s.render(seeds=[0, 1], labels=labels)


def test_wrong_options_are_explained(style):
    for options, message in (
        ({"precision": "int8"}, "precision: expected one of"),
        ({"noise_mode": "loud"}, "noise_mode: expected one of"),
        ({"truncation_psi": 2.5}, "truncation_psi: expected a number from -2 to 2"),
        ({"truncation_psi": float("nan")}, "truncation_psi"),
        ({"device": "warp"}, "device: cannot use 'warp'"),
    ):
        with pytest.raises(ConfigError, match=message):
            Synthesizer(style, **options)
    with pytest.raises(ConfigError, match="points, not images"):
        Synthesizer(MLPGenerator(8))
    with pytest.raises(ConfigError, match="expected a generator"):
        Synthesizer(StyleGAN2Discriminator(0, 16, 3, channel_base=64))


@pytest.fixture
def run_folder(tmp_path, style):
    arguments = {
        "z_dim": 8, "c_dim": 0, "w_dim": 12, "img_resolution": 16, "img_channels": 3,
        "channel_base": 128, "channel_max": 16, "mapping_layers": 2,
    }  # fmt: skip
    spec = NetworkSpec("StyleGAN2Generator", arguments)
    info = ModelInfo(spec, "stylegan2", {}, {}, (3, 16, 16), 0, 0)
    save_model(tmp_path / "model.safetensors", style, info)
    step = tmp_path / "checkpoints" / "step-000000001"
    step.mkdir(parents=True)
    (step / "state.json").write_text("{}")
    (step / "tensors.safetensors").write_bytes(b"")
    return tmp_path


def test_a_model_file_or_its_folder_loads(run_folder, ready):
    for path in (run_folder, run_folder / "model.safetensors", str(run_folder)):
        s = Synthesizer.from_checkpoint(path, truncation_psi=1.0, precision="fp32")
        assert levels(s.render(seeds=[3]), ready.render(seeds=[3])) == 0


def test_what_is_no_model_is_explained(run_folder, tmp_path_factory):
    step = run_folder / "checkpoints" / "step-000000001"
    for path in (step, step / "tensors.safetensors"):
        with pytest.raises(CheckpointError, match=r"a checkpoint.*model\.safetensors") as caught:
            Synthesizer.from_checkpoint(path)
        assert str(run_folder / "model.safetensors") in str(caught.value)
    with pytest.raises(CheckpointError, match=r"no model.* in this folder"):
        Synthesizer.from_checkpoint(tmp_path_factory.mktemp("empty"))
    with pytest.raises(CheckpointError, match="no such file"):
        Synthesizer.from_checkpoint(run_folder / "other.safetensors")
