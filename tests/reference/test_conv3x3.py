"""conv3x3's specification against scipy's correlation and dense matrices."""

import numpy as np
import pytest
import scipy.signal
import torch

from fastgan import reference

SHAPES = [(1, 1, 1, 1, 1), (2, 3, 2, 4, 5), (1, 2, 4, 1, 6)]  # N, C_in, C_out, H, W


def random(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("samples", "inputs", "outputs", "height", "width"), SHAPES)
def test_forward_is_a_correlation(
    samples: int, inputs: int, outputs: int, height: int, width: int
) -> None:
    x, weight = random(samples, inputs, height, width), random(outputs, inputs, 3, 3)
    y = reference.conv3x3(x, weight)
    for n in range(samples):
        for o in range(outputs):
            expected = sum(
                scipy.signal.correlate2d(x[n, c].numpy(), weight[o, c].numpy(), mode="same")
                for c in range(inputs)
            )
            np.testing.assert_allclose(y[n, o].numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("samples", "inputs", "outputs", "height", "width"), SHAPES)
def test_transpose_and_weight_gradient_are_adjoint(
    samples: int, inputs: int, outputs: int, height: int, width: int
) -> None:
    """<conv(x, w), g> = <x, transposed(g, w)> = <w, weight_grad(x, g)> for independent tensors."""
    x, weight = random(samples, inputs, height, width), random(outputs, inputs, 3, 3)
    grad_y = random(samples, outputs, height, width)
    product = (reference.conv3x3(x, weight) * grad_y).sum()
    on_x = (x * reference.conv3x3(grad_y, weight, transposed=True)).sum()
    on_weight = (weight * reference.conv3x3_weight_grad(x, grad_y)).sum()
    torch.testing.assert_close(on_x, product)
    torch.testing.assert_close(on_weight, product)
