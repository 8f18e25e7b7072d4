import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from fastgan.errors import CheckpointError, ConfigError
from fastgan.synthesis.model_file import (
    ModelInfo,
    NetworkSpec,
    load_generator,
    load_model,
    save_model,
)

SPEC = NetworkSpec(
    "StyleGAN2Generator",
    {
        "z_dim": 8, "c_dim": 0, "w_dim": 8, "img_resolution": [8, 16], "img_channels": 3,
        "channel_base": 64, "channel_max": 8, "mapping_layers": 2,
    },
)  # fmt: skip


def info(spec=SPEC):
    dataset = {"name": "shapes", "fingerprint": "ab12"}
    return ModelInfo(spec, "stylegan2", {"seed": 1}, dataset, (3, 8, 16), 0, images_seen=1234)


def test_half_precision_files_become_float32(tmp_path):
    generator = SPEC.build().eval()
    path = save_model(tmp_path / "half.safetensors", generator.half(), info())
    weights = load_file(path)
    assert weights["synthesis.b4.conv1.weight"].dtype == torch.float16
    loaded = load_generator(path).state_dict()
    assert loaded["synthesis.b4.conv1.weight"].dtype == torch.float32
    for name, value in weights.items():
        torch.testing.assert_close(loaded[name], value.to(loaded[name].dtype), rtol=0, atol=0)


def test_a_model_may_be_read_by_those_who_may_read_other_files(tmp_path):
    (tmp_path / "plain").touch()
    path = save_model(tmp_path / "model.safetensors", SPEC.build(), info())
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.fixture
def saved(tmp_path):
    generator = SPEC.build().eval()
    path = save_model(tmp_path / "model.safetensors", generator, info())
    return generator, path


def test_model_file_gives_the_same_images(saved):
    generator, path = saved
    z = torch.randn(2, 8)
    with torch.no_grad():
        expected = generator(z, noise_mode="const")
    loaded = load_generator(path)
    assert torch.equal(loaded(z, noise_mode="const"), expected)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_model_file_says_what_it_is(saved):
    _, found = load_model(saved[1])
    assert found == info()
    assert found.value_range == (-1.0, 1.0)
    assert set(found.versions) == {"fastgan", "torch"}


def test_model_file_keeps_float64(tmp_path):
    path = save_model(tmp_path / "m.safetensors", SPEC.build().double(), info())
    assert next(load_generator(path).parameters()).dtype == torch.float64


def rewritten(path, **changes):
    """The file at `path` with entries of its header replaced."""
    header = {**json.loads(info().to_json()), **changes}
    tensors = load_file(path)
    save_file(tensors, path, metadata={"fastgan": json.dumps(header)})
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "expected format 1"),
        ({"network": {"type": "Linear", "arguments": {}}}, "unknown network 'Linear'; there are"),
        ({"network": {"type": "SynthesisNetwork", "arguments": {}}}, "unknown network"),
        ({"network": {"type": "MLPGenerator", "arguments": {"bogus": 1}}}, "bogus"),
        ({"network": {"type": "MLPGenerator", "arguments": {"z_dim": 2}}}, "cannot rebuild"),
        ({"colour": "red"}, "cannot rebuild"),
    ],
)
def test_model_file_builds_listed_networks_only(saved, changes, message):
    with pytest.raises(CheckpointError, match=message):
        load_model(rewritten(saved[1], **changes))


def test_model_file_refuses_what_is_no_model(tmp_path, saved):
    with pytest.raises(CheckpointError, match="no such file"):
        load_model(tmp_path / "missing.safetensors")
    other = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(2)}, other)
    with pytest.raises(CheckpointError, match="not a fastgan model"):
        load_model(other)
    saved[1].write_bytes(saved[1].read_bytes()[:200])
    with pytest.raises(CheckpointError, match="damaged"):
        load_model(saved[1])


def test_network_spec_errors():
    with pytest.raises(ConfigError, match="unknown network 'os'"):
        NetworkSpec("os", {}).build()
    with pytest.raises(ConfigError, match="MLPGenerator"):
        NetworkSpec("MLPGenerator", {"width": 3}).build()
