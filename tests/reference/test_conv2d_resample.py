"""conv2d_resample's specification against a dense scatter written from the definition."""

import numpy as np
import pytest
import scipy.signal
import torch

from fastgan import ops, reference


def by_scipy(
    x: np.ndarray, weight: np.ndarray, taps: np.ndarray, up: int, down: int, pad: int
) -> np.ndarray:
    """Zero insertion, full convolutions on an infinite plane, then the window of the op."""
    height, width = x.shape[2:]
    size, k = taps.shape[0], weight.shape[2]
    before = pad + ((size + up - 1) // 2 if up > 1 else 0) + (
        (size - down + 1) // 2 if down > 1 else 0
    )  # fmt: skip
    after = pad + ((size - up) // 2 if up > 1 else 0) + ((size - down) // 2 if down > 1 else 0)
    planes = []
    for sample in x:
        outputs = []
        for kernel in weight:
            total = 0.0
            for channel, taps_w in zip(sample, kernel, strict=True):
                wide = np.zeros((height * up, width * up))
                wide[::up, ::up] = channel
                wide = np.pad(wide, ((before, after), (before, after)))
                if up > 1:
                    wide = scipy.signal.convolve2d(wide, taps, mode="valid") * up**2
                total = total + scipy.signal.correlate2d(wide, taps_w, mode="valid")
            if down > 1:
                total = scipy.signal.convolve2d(total, taps, mode="valid")
            outputs.append(total[::down, ::down])
        planes.append(outputs)
    assert k == weight.shape[3]
    return np.array(planes)


@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2), (2, 2), (3, 1), (1, 3)])
@pytest.mark.parametrize("size", [1, 3])
def test_matches_scipy(up: int, down: int, size: int) -> None:
    x, weight = torch.randn(2, 3, 7, 6).double(), torch.randn(4, 3, size, size).double()
    taps = ops.setup_filter([1, 2, 4, 1])
    y = reference.conv2d_resample(x, weight, taps, up=up, down=down, padding=(size // 2,) * 4)
    expected = by_scipy(x.numpy(), weight.numpy(), taps.double().numpy(), up, down, size // 2)
    np.testing.assert_allclose(y.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize(("up", "down", "expected"), [(1, 1, 8), (2, 1, 16), (1, 2, 4)])
def test_same_padding_scales_the_size(up: int, down: int, expected: int) -> None:
    y = reference.conv2d_resample(
        torch.randn(1, 2, 8, 8), torch.randn(2, 2, 3, 3), ops.setup_filter([1, 3, 3, 1]),
        up=up, down=down, padding=(1, 1, 1, 1),
    )  # fmt: skip
    assert y.shape == (1, 2, expected, expected)
