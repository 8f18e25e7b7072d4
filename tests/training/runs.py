"""Short runs with nothing written, and their comparison."""

import torch

from fastgan import recipes
from fastgan.training import Step, start_state


def run_steps(config, recipe, dataset, steps):
    """Return the state after so many steps, with nothing written, and the recorded means."""
    state = start_state(config, recipes.get(recipe) if isinstance(recipe, str) else recipe, dataset)
    step = Step(state)
    return state, [step() for _ in range(steps)]


def everything(state):
    """All tensors of a run, by name."""
    tensors = {"rng": torch.get_rng_state()}
    parts = {**state.players, **{reg.name: reg for reg in state.recipe.regularizers}}
    for prefix, part in parts.items():
        tensors |= {f"{prefix}/{name}": value for name, value in part.state_dict().items()}
    if state.recipe.augment is not None:
        augment = state.recipe.augment.state_dict()
        tensors |= {f"augment/{name}": value for name, value in augment.items()}
    return tensors


def assert_same_run(first, second):
    """Both runs hold the same tensors, bit for bit."""
    assert (first.step, first.images_seen) == (second.step, second.images_seen)
    ours, theirs = everything(first), everything(second)
    assert ours.keys() == theirs.keys()
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert different == []
