"""The kernels train as the specification does."""

import pytest
import torch

import fastgan
from fastgan.data import ArrayDataset, shapes
from tests.training.runs import run_steps


def loss_curve(config, dataset, backend, steps=20):
    """Everything recorded in these steps: [steps] per name, NaN where a penalty was not due."""
    with fastgan.use_backend(backend):
        _, means = run_steps(config, "stylegan2", dataset, steps)
    names = sorted({name for mean in means for name in mean if mean[name].ndim == 0})
    nothing = torch.tensor(float("nan"))
    return {name: torch.stack([mean.get(name, nothing) for mean in means]) for name in names}


@pytest.mark.parametrize(("precision", "tolerance"), [("float64", 1e-8), ("float32", 1e-2)])
def test_loss_curve_agrees_with_the_reference(kernel_backend, tiny_config, precision, tolerance):
    drawn = shapes(20, 8, torch.Generator().manual_seed(0))
    dataset = ArrayDataset(drawn.images, drawn.kind, name="shapes")
    config = tiny_config(precision=precision, r1_every=4, total_kimg=1.0)
    ours = loss_curve(config, dataset, kernel_backend)
    reference = loss_curve(config, dataset, "reference")
    assert ours.keys() == reference.keys()
    assert {"loss_d", "loss_g", "r1", "pl", "pl_length"} <= ours.keys()
    for name in ("loss_d", "loss_g", "r1", "pl", "pl_length"):
        torch.testing.assert_close(
            ours[name], reference[name], rtol=tolerance, atol=0.0, equal_nan=True, msg=name
        )
