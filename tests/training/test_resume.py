"""Same seed, same run; stopped and resumed, same run; and what is refused."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from fastgan import files, recipes
from fastgan.data import ArrayDataset
from fastgan.errors import CheckpointError, ConfigError
from fastgan.training import checkpoint as module
from fastgan.training import start_state, train
from fastgan.training.checkpoint import checkpoints, find_checkpoint, load_checkpoint
from fastgan.training.report import Checkpoints
from tests.training.runs import assert_same_run, everything, run_steps

VANILLA = recipes.get("vanilla")


def train_in_two(config, recipe, dataset, folder, cut):
    """Train to `cut` kimg, then resume from disk to the end, in a process whose global random
    numbers have gone elsewhere meanwhile."""
    hooks = [Checkpoints(folder, kimg=1.0)]
    train(replace(config, total_kimg=cut), recipe, dataset, folder, hooks=hooks)
    torch.manual_seed(999)
    return train(config, recipe, dataset, folder, resume=folder, hooks=())


def test_same_seed_gives_the_same_networks(vanilla_config, ring):
    first, _ = run_steps(vanilla_config(), "vanilla", ring, 5)
    again, _ = run_steps(vanilla_config(), "vanilla", ring, 5)
    other, _ = run_steps(vanilla_config(seed=1), "vanilla", ring, 5)
    assert_same_run(first, again)
    name = "g/net/G/main.0.weight"
    assert not torch.equal(everything(first)[name], everything(other)[name])


def test_resumed_vanilla_equals_the_unbroken_run(vanilla_config, ring, tmp_path):
    config = vanilla_config()
    unbroken = train(config, VANILLA, ring, tmp_path, hooks=())
    global_numbers = torch.get_rng_state()
    resumed = train_in_two(config, VANILLA, ring, tmp_path, cut=0.128)
    assert unbroken.step == 10
    assert torch.equal(global_numbers, torch.get_rng_state())
    assert_same_run(unbroken, resumed)


@pytest.mark.parametrize("cut", [0.008, 0.012])  # before an even step and before an odd one
def test_resumed_stylegan2_equals_the_unbroken_run(tiny_config, pictures, tmp_path, cut):
    config, recipe = tiny_config(mirror=True), recipes.get("stylegan2")
    unbroken = train(config, recipe, pictures, tmp_path, hooks=())
    resumed = train_in_two(config, recipe, pictures, tmp_path, cut)
    assert unbroken.step == 6
    assert unbroken.recipe.regularizers[1].mean_length > 0
    assert_same_run(unbroken, resumed)


def test_resumed_burn_in_equals_the_unbroken_run(tiny_config, unlabelled, tmp_path):
    """Rates, penalties and the average move with the images seen, whatever the length."""
    config = tiny_config(
        objective="rpgan", r1_every=1, r2_gamma=None, pl_weight=0.0, burn_in_kimg=0.02,
        burn_in_lr=0.25, burn_in_gamma=0.1, burn_in_beta2=0.9, burn_in_ema=True, ema_ramp=None,
    )  # fmt: skip
    recipe = recipes.get("stylegan2")
    unbroken = train(config, recipe, unlabelled, tmp_path, hooks=())
    assert_same_run(unbroken, train_in_two(config, recipe, unlabelled, tmp_path, cut=0.012))


def test_resumed_dcgan_with_batch_statistics(unlabelled, tmp_path):
    base = recipes.preset("dcgan", "dcgan-64")
    config = replace(base, batch=4, channels=4, z_dim=8, total_kimg=0.016)
    recipe = recipes.get("dcgan")
    unbroken = train(config, recipe, unlabelled, tmp_path, hooks=())
    assert_same_run(unbroken, train_in_two(config, recipe, unlabelled, tmp_path, cut=0.008))


@pytest.fixture
def saved(vanilla_config, ring, tmp_path):
    """A finished run with checkpoints at every step, of which two are kept."""
    config = vanilla_config(total_kimg=0.128)
    hooks = [Checkpoints(tmp_path, kimg=0.032)]
    return config, train(config, VANILLA, ring, tmp_path, hooks=hooks), tmp_path


def test_only_the_newest_checkpoints_are_kept(saved):
    _, _, folder = saved
    assert [path.name for path in checkpoints(folder)] == ["step-000000003", "step-000000004"]
    assert find_checkpoint(folder).name == "step-000000004"
    assert find_checkpoint(folder / "checkpoints" / "step-000000003").name == "step-000000003"


def test_checkpoint_holds_tensors_and_json_only(saved):
    path = find_checkpoint(saved[2])
    assert sorted(file.name for file in path.iterdir()) == ["state.json", "tensors.safetensors"]
    about = json.loads((path / "state.json").read_text())
    assert (about["step"], about["images_seen"], about["recipe"]) == (4, 128, "vanilla")
    names = load_file(path / "tensors.safetensors").keys()
    assert {name.split("/")[0] for name in names} == {"player", "rng"}


def resume(config, ring, path):
    state = start_state(config, VANILLA, ring)
    load_checkpoint(state, path)
    return state


def test_damaged_tensors_are_refused(saved, ring):
    config, _, folder = saved
    path = find_checkpoint(folder) / "tensors.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1  # one bit of one weight
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged"):
        resume(config, ring, folder)
    path.write_bytes(data[:100])
    with pytest.raises(CheckpointError, match="damaged"):
        resume(config, ring, folder)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format": 99}'])
def test_damaged_state_is_refused(saved, ring, text):
    config, _, folder = saved
    (find_checkpoint(folder) / "state.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"state\.json"):
        resume(config, ring, folder)


def test_missing_checkpoint_is_refused(saved, ring, tmp_path):
    config, _, folder = saved
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        resume(config, ring, tmp_path / "elsewhere")
    (find_checkpoint(folder) / "tensors.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"tensors\.safetensors is missing"):
        resume(config, ring, folder)


def test_other_settings_are_refused_by_name(saved, ring):
    config, _, folder = saved
    with pytest.raises(CheckpointError, match=r"lr_g 0\.001 -> 0\.5; seed 0 -> 3"):
        resume(replace(config, lr_g=0.5, seed=3), ring, folder)
    other = ArrayDataset(torch.zeros(10, 2), name="zeros")
    with pytest.raises(CheckpointError, match="dataset ring8 -> zeros"):
        resume(config, other, folder)


def test_length_and_intervals_may_change(saved, ring):
    config, _, folder = saved
    state = resume(replace(config, total_kimg=1.0, log_kimg=0.5), ring, folder)
    assert state.step == 4


def test_weights_of_another_shape_are_refused(saved, ring):
    config, _, folder = saved
    path = find_checkpoint(folder)
    tensors = load_file(path / "tensors.safetensors")
    tensors["player/g/net/G/main.0.weight"] = torch.zeros(3, 3)
    save_file(tensors, path / "tensors.safetensors")
    about = json.loads((path / "state.json").read_text())
    about["sha256"] = files.sha256(path / "tensors.safetensors")
    (path / "state.json").write_text(json.dumps(about))
    with pytest.raises(CheckpointError, match="does not fit the network"):
        resume(config, ring, folder)


@pytest.mark.parametrize("broken", ["save_tensors", "write_json", "sha256"])
def test_interrupted_write_leaves_the_previous_checkpoint(saved, ring, monkeypatch, broken):
    config, state, folder = saved

    def fail(*arguments):
        raise OSError("no space left on device")

    before = checkpoints(folder)
    (folder / "checkpoints" / ".writing-000000001").mkdir()  # by a process that was killed
    monkeypatch.setattr(module, broken, fail)
    state.step += 1
    with pytest.raises(OSError, match="no space left"):
        module.save_checkpoint(state, folder)
    monkeypatch.undo()
    assert sorted((folder / "checkpoints").iterdir()) == before  # the disk may be full
    assert resume(config, ring, folder).step == 4
    module.save_checkpoint(state, folder)  # the leftovers are not in the way
    assert resume(config, ring, folder).step == 5


def test_a_new_run_does_not_mix_with_one_in_its_folder(saved, ring):
    config, _, folder = saved
    before = checkpoints(folder)
    with pytest.raises(ConfigError, match="holds a run with checkpoints"):
        train(config, VANILLA, ring, folder, hooks=[Checkpoints(folder, kimg=0.032)])
    assert checkpoints(folder) == before


def test_a_resume_from_an_earlier_checkpoint_sets_later_ones_aside(saved, ring, capsys):
    config, _, folder = saved
    config = replace(config, keep_checkpoints=1)
    third = folder / "checkpoints" / "step-000000003"
    hooks = [Checkpoints(folder, kimg=0.032)]
    state = start_state(config, VANILLA, ring)
    load_checkpoint(state, third)
    hooks[0].on_start(state)
    assert checkpoints(folder) == [third]
    aside = folder / "checkpoints" / "abandoned-000000004"
    assert (aside / "tensors.safetensors").is_file()
    assert str(aside) in capsys.readouterr().err
    state.step = 5
    module.save_checkpoint(state, folder)
    assert find_checkpoint(folder).name == "step-000000005"


def test_what_an_earlier_resume_set_aside_is_kept(saved, ring):
    config, _, folder = saved
    third = folder / "checkpoints" / "step-000000003"
    kept = folder / "checkpoints" / "abandoned-000000004"
    kept.mkdir()
    (kept / "note.txt").write_text("of an earlier resume", encoding="utf-8")
    state = start_state(config, VANILLA, ring)
    load_checkpoint(state, third)
    module.take_folder(state, folder)
    assert (kept / "note.txt").is_file()
    assert (kept.with_name("abandoned-000000004-2") / "tensors.safetensors").is_file()
