"""Run by test_distributed: train a few steps as one process of several and save the state."""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import distributed

from fastgan import recipes
from fastgan.data import ArrayDataset
from fastgan.training import train
from tests.training.runs import everything


def run(rank: int, world: int, folder: Path, config_json: str) -> None:
    torch.set_num_threads(1)
    if world > 1:
        distributed.init_process_group(
            "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world
        )
    recipe = recipes.get("stylegan2")
    images = torch.load(folder / "images.pt", weights_only=True)
    config = recipe.Config.from_json(config_json)
    state = train(config, recipe, ArrayDataset(images, name="shapes"), folder, hooks=())
    tensors = {name: value.clone() for name, value in everything(state).items()}
    save_file(tensors, folder / f"state-{rank}.safetensors")


if __name__ == "__main__":
    run(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
