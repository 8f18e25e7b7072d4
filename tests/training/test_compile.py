"""--compile: the same training through torch.compile, lazy penalties eager, clear refusals."""

import os
import subprocess
import sys
import warnings
from dataclasses import replace

import pytest
import torch

from fastgan import recipes
from fastgan.errors import ConfigError
from fastgan.training import Step, start_state
from tests.training.runs import everything, run_steps

COMPILED = {"compile": True, "compile_backend": "aot_eager"}


@pytest.fixture(autouse=True)
def fresh_compiler():
    """Graphs of one test do not count towards the limit of the next."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.fixture
def graphs(monkeypatch):
    """Names of the modules and functions that were handed to torch.compile."""
    seen, compiler = [], torch.compile

    def spy(model, **options):
        seen.append(type(model).__name__ if isinstance(model, torch.nn.Module) else model.__name__)
        return compiler(model, **options)

    monkeypatch.setattr(torch, "compile", spy)
    return seen


def assert_close_runs(eager, compiled):
    (first, means), (second, other_means) = eager, compiled
    for one, two in zip(means, other_means, strict=True):
        assert one.keys() == two.keys()
        for name, mean in one.items():
            torch.testing.assert_close(two[name], mean, rtol=1e-4, atol=1e-5, msg=name)
    ours, theirs = everything(first), everything(second)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        if name != "rng":
            torch.testing.assert_close(theirs[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_stylegan2_trains_as_without(tiny_config, pictures, graphs):
    """Main updates are compiled, lazy penalties are not, and one step's graphs serve all."""
    config = tiny_config(precision="float64")
    eager = run_steps(config, "stylegan2", pictures, 3)
    assert graphs == []
    state = start_state(replace(config, **COMPILED), recipes.get("stylegan2"), pictures)
    step = Step(state)
    assert graphs == ["probe", "StyleGAN2Discriminator", "MappingNetwork", "render"]
    assert {phase.name: step.is_compiled(phase) for phase in step.phases()} == {
        "d0": True, "d_r1": False, "g": True, "g_pl": False,
    }  # fmt: skip
    means = [step()]
    for player in state.players.values():
        assert all(parameter.requires_grad for parameter in player.parameters)
    with torch.compiler.set_stance("fail_on_recompile"):
        means += [step(), step()]
    assert_close_runs(eager, (state, means))


@pytest.mark.parametrize("spectral_norm", [False, True])
def test_dcgan_trains_as_without(unlabelled, spectral_norm):
    config = recipes.preset("dcgan", "dcgan-64")
    config = replace(
        config, batch=8, channels=4, z_dim=8, spectral_norm=spectral_norm, precision="float64"
    )
    eager = run_steps(config, "dcgan", unlabelled, 3)
    compiled = run_steps(replace(config, **COMPILED), "dcgan", unlabelled, 3)
    assert_close_runs(eager, compiled)


def test_a_penalty_in_the_main_update_keeps_it_eager_and_says_so(vanilla_config, ring):
    config = replace(vanilla_config(), **COMPILED)
    state = start_state(config, recipes.get("vanilla"), ring)
    with pytest.warns(UserWarning, match="update of D stays eager, because r1 is part"):
        step = Step(state)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="compile:")
        step()
        step()
    assert [step.is_compiled(phase) for phase in step.phases()] == [False, True]


def test_an_unknown_compiler_is_refused(tiny_config, unlabelled):
    config = tiny_config(compile=True, compile_backend="abacus")
    state = start_state(config, recipes.get("stylegan2"), unlabelled)
    with pytest.raises(ConfigError, match=r"backend 'abacus' does not work .* without --compile"):
        Step(state)


def test_a_missing_c_compiler_is_named(tmp_path):
    """In a process of its own, with nothing cached and no compiler to be found."""
    code = (
        "import torch; from functools import partial; "
        "from fastgan.training.compiled import check_compiler; "
        "check_compiler(torch.compile, 'inductor', torch.device('cpu'))"
    )
    missing = {"CXX": str(tmp_path / "no-compiler"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **missing}, capture_output=True, text=True
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("fastgan.errors.ConfigError: compile: torch.compile with backend")
    assert "no-compiler" in last or "C++ compiler" in last.split("inductor needs")[0]


def test_a_compiled_run_may_go_on_eager(tiny_config):
    assert {"compile", "compile_backend"} <= tiny_config().RESUMABLE
