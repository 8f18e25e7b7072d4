"""The pool of large results: reuse, independence of live results, layouts, giving memory back."""

import threading

import pytest
import torch

from fastgan import ops
from fastgan.backends import cpp
from fastgan.dispatch import registry

pytestmark = pytest.mark.skipif(
    registry.backend("cpp").why_unavailable() is not None, reason="the cpp backend is missing"
)
LARGE = (2, 16, 128, 128)  # 2 MiB of float32


def double(x):
    """y = 2 x, by a kernel."""
    return ops.bias_act(x, act="linear", gain=2.0, backend="cpp")


@pytest.fixture(autouse=True)
def _empty_pool():
    cpp.release_memory()
    yield
    cpp.release_memory()


def test_freed_memory_serves_the_next_result():
    x = torch.randn(LARGE)
    first = double(x)
    address = first.data_ptr()
    if address % (2 << 20):
        pytest.skip("this torch or system has no pool: results come from torch")
    del first
    assert cpp.release_memory() == 2 << 20
    assert cpp.release_memory() == 0
    del x
    second = double(torch.randn(LARGE))
    address = second.data_ptr()
    del second
    assert double(torch.randn(LARGE)).data_ptr() == address


def test_live_results_do_not_share_memory():
    x = torch.randn(LARGE)
    results = [double(x + i) for i in range(4)]
    assert len({result.data_ptr() for result in results}) == 4
    for i, result in enumerate(results):
        torch.testing.assert_close(result, 2 * (x + i))


def test_views_keep_the_memory():
    x = torch.randn(LARGE)
    row = double(x)[1, 3]
    others = [double(-x) for _ in range(3)]
    torch.testing.assert_close(row, 2 * x[1, 3])
    assert len(others) == 3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_layouts_and_dtypes(dtype):
    x = torch.randn(LARGE).to(dtype)
    for image in (x, x.contiguous(memory_format=torch.channels_last), x.permute(2, 0, 3, 1)):
        result = double(image)
        assert (result.stride(), result.dtype) == (image.stride(), dtype)
        torch.testing.assert_close(result, 2 * image)
    small = ops.upfirdn2d(
        x.contiguous(memory_format=torch.channels_last), ops.setup_filter([1.0]), up=2, gain=4,
        backend="cpp",
    )  # fmt: skip
    assert small.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(small[:, :, ::2, ::2], 4 * x)


def test_results_can_be_saved_shared_and_set(tmp_path):
    result = double(torch.randn(LARGE))
    expected = result.clone()
    torch.save(result, tmp_path / "result.pt")
    torch.testing.assert_close(torch.load(tmp_path / "result.pt", weights_only=True), expected)
    torch.testing.assert_close(result.share_memory_(), expected)
    other = double(torch.randn(LARGE))
    assert torch.empty(0).set_(other).shape == other.shape


def test_threads_use_the_pool_together():
    x, wrong = torch.randn(LARGE), []

    def work(i):
        for _ in range(20):
            if not torch.equal(double(x + i), 2 * (x + i)):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
