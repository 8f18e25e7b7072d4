"""The engine as it was built, and small networks to run on it."""

import pytest
import torch

from fastgan.synthesis import tuning
from tests import require

ISAS = ("default", "avx2", "avx512")


@pytest.fixture(scope="session")
def engine():
    module = tuning.engine_module()
    if module is None:
        require.missing("cpp", "fastgan._engine is not built")
    return module


@pytest.fixture(params=ISAS)
def isa(request, engine):
    """Each instruction set that this CPU has."""
    try:
        return engine.isa(request.param)
    except ValueError as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def no_tuning_file(tmp_path, monkeypatch):
    """Choices that somebody measured on this machine must not decide what is tested."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def threads():
    """Two threads, whatever the machine has; tests may set another number."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)
