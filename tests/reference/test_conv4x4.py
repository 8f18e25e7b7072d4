"""The specification of conv4x4 against a scalar formula, and its operators against each other."""

import pytest
import torch
from torch import Tensor

from fastgan.reference import conv4x4, conv4x4_transposed, conv4x4_weight_grad


def by_formula(x: Tensor, weight: Tensor) -> Tensor:
    samples, _, height, width = x.shape
    y = x.new_zeros(samples, weight.shape[0], height // 2, width // 2)
    for i in range(height // 2):
        for j in range(width // 2):
            for k in range(4):
                for m in range(4):
                    row, column = 2 * i + k - 1, 2 * j + m - 1
                    if 0 <= row < height and 0 <= column < width:
                        y[:, :, i, j] += x[:, :, row, column] @ weight[:, :, k, m].T
    return y


@pytest.mark.parametrize(("height", "width"), [(6, 4), (5, 8), (7, 3), (2, 2)])
def test_formula_and_adjoints(height: int, width: int) -> None:
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    weight = torch.randn(5, 3, 4, 4, dtype=torch.float64)
    y = conv4x4(x, weight)
    torch.testing.assert_close(y, by_formula(x, weight))
    g = torch.randn_like(y)
    product = (y * g).sum()
    torch.testing.assert_close((conv4x4_transposed(g, weight, height, width) * x).sum(), product)
    torch.testing.assert_close((conv4x4_weight_grad(x, g) * weight).sum(), product)
