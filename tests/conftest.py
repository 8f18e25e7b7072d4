"""Seeds and the fixtures of the backends for CPU tensors. One that is missing here skips its tests,
and fails them where FASTGAN_REQUIRE names it, as continuous integration does. Those for GPUs have
tests of their own (tests/triton, tests/emulation)."""

from collections.abc import Iterator

import pytest
import torch

from fastgan.dispatch import registry
from fastgan.dispatch.spec import OpCall
from tests.require import KNOWN, REQUIRED, missing

CPU_BACKENDS = [name for name in registry.BACKENDS if name in registry.AUTO_ORDER["cpu"]]
KERNEL_BACKENDS = [name for name in CPU_BACKENDS if name != "reference"]


def pytest_configure() -> None:
    if unknown := REQUIRED - KNOWN:
        raise pytest.UsageError(f"FASTGAN_REQUIRE names {unknown}; known are {sorted(KNOWN)}")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def _available(name: str) -> str:
    reason = registry.why_not(name, OpCall("bias_act", "cpu", torch.float32))
    if reason is not None:
        missing(name, f"backend {name}: {reason}")
    return name


@pytest.fixture(params=CPU_BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Every backend for the CPU, the reference included."""
    return _available(request.param)


@pytest.fixture(params=KERNEL_BACKENDS)
def kernel_backend(request: pytest.FixtureRequest) -> str:
    """Every backend for the CPU that has kernels of its own."""
    return _available(request.param)


@pytest.fixture(params=["default", "avx2", "avx512"])
def cpu_capability(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set of the C++ kernels that this CPU has, forced for one test."""
    _available("cpp")
    force = torch.ops.fastgan_cpp.set_cpu_capability
    before = torch.ops.fastgan_cpp.cpu_capability()
    try:
        force(request.param)
    except RuntimeError as error:
        pytest.skip(f"CPU capability {request.param}: {error}")
    yield request.param
    force(before)


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Run with two threads, whatever the test runner set."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)
