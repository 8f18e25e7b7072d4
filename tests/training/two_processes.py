"""Run by test_distributed: train a few steps as one process of several and save the state."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import distributed

from fastgan import recipes
from fastgan.data import ArrayDataset
from fastgan.training import Hook, Step, train
from fastgan.training.report import Checkpoints
from tests.training.runs import everything


class Short(Step):
    """A step that finds no memory for more than one image in path length, in the last process."""

    def loss(self, phase, ctx):
        last = distributed.is_initialized() and distributed.get_rank() > 0
        if last and phase.part == "pl" and self.state.config.micro_batch is None:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return super().loss(phase, ctx)


class Poison(Hook):
    """A recipe's own hook, so that it runs in all processes: ruins a weight once."""

    is_done = False

    def on_step(self, state, means):
        if state.step == 3 and not self.is_done:
            self.is_done = True
            state.players["d"].parameters[0].data.view(-1)[0] = float("nan")


def run(rank: int, world: int, folder: Path, config_json: str, trouble: str) -> None:
    torch.set_num_threads(1)
    if world > 1:
        distributed.init_process_group(
            "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world
        )
    recipe = recipes.get("stylegan2")
    images = torch.load(folder / "images.pt", weights_only=True)
    config = recipe.Config.from_json(config_json)
    module, hooks = recipe, ()
    if trouble == "trouble":
        module, hooks = Troubled(recipe), [Checkpoints(folder, kimg=config.checkpoint_kimg)]
    state = train(config, module, ArrayDataset(images, name="shapes"), folder, hooks=hooks)
    tensors = {name: value.clone() for name, value in everything(state).items()}
    tensors["rollbacks"] = torch.tensor(state.rollbacks)
    tensors["micro_batch"] = torch.tensor(state.config.micro_batch or 0)
    save_file(tensors, folder / f"state-{rank}.safetensors")


class Troubled:
    """A recipe that runs short of memory and is poisoned."""

    def __init__(self, recipe):
        self.NAME, self.recipe = recipe.NAME, recipe

    def build(self, config, dataset):
        return replace(self.recipe.build(config, dataset), step_type=Short, hooks=(Poison(),))


if __name__ == "__main__":
    run(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], sys.argv[5])
    os._exit(0)  # threads of gloo may abort a process that ends as usual
