"""Skips the tests of the emulator where it cannot be built, and sets the order of threads."""

import pytest

from tests.emulation import build
from tests.require import missing


@pytest.fixture(autouse=True)
def _emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = build.why_unavailable()
    if reason is not None:
        missing("nvcc", f"CUDA emulator: {reason}")
    monkeypatch.delenv("CUDA_SHIM_ORDER", raising=False)


@pytest.fixture(params=["fwd", "rev"])
def thread_order(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The order in which the emulator runs the threads of a block."""
    monkeypatch.setenv("CUDA_SHIM_ORDER", request.param)
    return request.param
