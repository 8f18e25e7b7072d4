"""The specification of upfirdn2d against oracles that share no code with it."""

import itertools

import numpy as np
import pytest
import scipy.signal
import torch

from fastgan import reference
from tests.cases_upfirdn2d import RESAMPLINGS

Array = np.ndarray


def literal(
    x: Array, f: Array, up: tuple[int, int], down: tuple[int, int], padding: tuple[int, ...]
) -> Array:
    """The four steps of the definition on one image, one pixel at a time."""
    height, width = x.shape
    big = np.zeros((height * up[1], width * up[0]))
    for i, j in itertools.product(range(height), range(width)):
        big[i * up[1], j * up[0]] = x[i, j]
    x0, x1, y0, y1 = padding
    rows, columns = big.shape[0] + y0 + y1, big.shape[1] + x0 + x1
    padded = np.zeros((rows, columns))
    for i, j in itertools.product(range(rows), range(columns)):
        if 0 <= i - y0 < big.shape[0] and 0 <= j - x0 < big.shape[1]:
            padded[i, j] = big[i - y0, j - x0]
    fh, fw = f.shape
    result = np.zeros((rows - fh + 1, columns - fw + 1))
    for i, j, k, m in itertools.product(*map(range, (*result.shape, fh, fw))):
        result[i, j] += f[fh - 1 - k, fw - 1 - m] * padded[i + k, j + m]
    return result[:: down[1], :: down[0]]


def matrix(size: int, taps: int, f: Array, up: int, down: int, before: int, after: int) -> Array:
    """The linear map of one axis, written from the index arithmetic of the adjoint."""
    out = (size * up + before + after - taps + down) // down
    result = np.zeros((out, size))
    for o, i in itertools.product(range(out), range(size)):
        tap = taps - 1 - (i * up + before - o * down)  # a convolution reverses the filter
        if 0 <= tap < taps:
            result[o, i] = f[tap]
    return result


def scipy_axis(x: Array, f: Array, up: int, down: int, before: int, after: int, axis: int) -> Array:
    """scipy's full convolution, shifted by the padding and decimated."""
    out = (x.shape[axis] * up + before + after - len(f) + down) // down
    full = scipy.signal.upfirdn(f, x, up=up, axis=axis)
    index = np.arange(out) * down + len(f) - 1 - before
    inside = (index >= 0) & (index < full.shape[axis])
    taken = np.take(full, np.where(inside, index, 0), axis=axis)
    shape = [1] * x.ndim
    shape[axis] = out
    return np.where(inside.reshape(shape), taken, 0.0)


def run(x: Array, f: Array, name: str, **options: object) -> Array:
    up, down, padding = RESAMPLINGS[name]
    image = torch.from_numpy(x)
    while image.ndim < 4:
        image = image[None]
    taps = torch.from_numpy(f).float()
    y = reference.upfirdn2d(image, taps, up=up, down=down, padding=padding, **options)
    return y.numpy().reshape(y.shape[4 - x.ndim :])


def random(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32).astype(float)


NEAR = [name for name in RESAMPLINGS if name != "far_padding"]


@pytest.mark.parametrize("name", NEAR)
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (3, 4)])
def test_matches_the_definition_pixel_by_pixel(name: str, shape: tuple[int, int]) -> None:
    x, f = random(5, 6), random(*shape)
    np.testing.assert_allclose(run(x, f, name), literal(x, f, *RESAMPLINGS[name]), atol=1e-12)


@pytest.mark.parametrize("name", list(RESAMPLINGS))
@pytest.mark.parametrize("taps", [1, 2, 5, 6])
def test_separable_filter_matches_scipy(name: str, taps: int) -> None:
    x, f = random(2, 3, 7, 9), random(taps)
    up, down, (x0, x1, y0, y1) = RESAMPLINGS[name]
    expected = scipy_axis(x, f, up[0], down[0], x0, x1, axis=3)
    expected = scipy_axis(expected, f, up[1], down[1], y0, y1, axis=2)
    np.testing.assert_allclose(run(x, f, name), expected, atol=1e-12)


@pytest.mark.parametrize("name", list(RESAMPLINGS))
def test_two_dimensional_filter_matches_dense_matrices(name: str) -> None:
    x, f = random(7, 9), random(4, 3)
    up, down, (x0, x1, y0, y1) = RESAMPLINGS[name]
    left, values, right = np.linalg.svd(f)
    expected = np.zeros(())
    for rank, value in enumerate(values):  # a filter is a sum of separable ones
        rows = matrix(7, 4, left[:, rank], up[1], down[1], y0, y1)
        columns = matrix(9, 3, right[rank], up[0], down[0], x0, x1)
        expected = expected + value * rows @ x @ columns.T
    np.testing.assert_allclose(run(x, f, name), expected, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 4), (5,)])
def test_flip_filter_correlates(shape: tuple[int, ...]) -> None:
    x, f = random(6, 7), random(*shape)
    flipped = np.ascontiguousarray(np.flip(f))
    actual = run(x, f, "up2", flip_filter=True)
    np.testing.assert_allclose(actual, run(x, flipped, "up2"), atol=1e-12)
    assert not np.allclose(actual, run(x, f, "up2"))


def test_gain_scales_and_no_filter_is_identity() -> None:
    x = torch.from_numpy(random(1, 2, 3, 4))
    y = reference.upfirdn2d(x, None, up=(2, 1), gain=-3.0)
    assert torch.equal(y[..., ::2], -3 * x)
    assert torch.count_nonzero(y[..., 1::2]) == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_rounds_once(dtype: torch.dtype) -> None:
    x = torch.from_numpy(random(1, 2, 8, 8)).to(dtype)
    f = torch.from_numpy(random(4, 4)).float()
    expected = reference.upfirdn2d(x.float(), f, up=(2, 2)).to(dtype)
    assert torch.equal(reference.upfirdn2d(x, f, up=(2, 2)), expected)


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4), (2, 3, 0, 4)])
def test_empty_images(shape: tuple[int, ...]) -> None:
    x = torch.zeros(shape, requires_grad=True)
    y = reference.upfirdn2d(x, torch.ones(3, 2), up=(2, 2), padding=(1, 1, 2, 2))
    assert y.shape == (shape[0], shape[1], shape[2] * 2 + 2, shape[3] * 2 + 1)
    y.sum().backward()
    assert x.grad is not None
