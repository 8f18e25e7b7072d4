"""Two processes train as one does."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.training.runs import everything, run_steps

ROOT = Path(__file__).parents[2]


def test_two_processes_equal_one(tiny_config, unlabelled, tmp_path):
    """StyleGAN2 in float64 with both penalties and ADA, a batch that does not divide evenly.

    Statistics over the images of a forward pass (mbstd) are turned off, as they do depend on it.
    """
    ada = {"augment": "ada", "ada_target": -0.9, "ada_kimg": 0.04}  # p is 0.5 in the last step
    config = tiny_config(precision="float64", mbstd_group=1, batch=5, total_kimg=0.025, **ada)
    torch.save(torch.stack([unlabelled.image(i) for i in range(40)]), tmp_path / "images.pt")
    command = [sys.executable, str(ROOT / "tests/training/two_processes.py")]
    arguments = ["2", str(tmp_path), config.to_json()]
    # Nothing but this machine's own socket is needed, whatever its host name resolves to.
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    processes = [
        subprocess.Popen([*command, str(rank), *arguments], env=environment) for rank in (0, 1)
    ]
    assert [process.wait(timeout=240) for process in processes] == [0, 0]

    alone, _ = run_steps(config, "stylegan2", unlabelled, 5)
    assert alone.recipe.augment.p == 0.5
    expected = everything(alone)
    for rank in (0, 1):
        found = load_file(tmp_path / f"state-{rank}.safetensors")
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            if name != "rng":
                assert torch.allclose(found[name], value, rtol=1e-7, atol=1e-9), name
