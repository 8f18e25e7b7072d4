"""The tests of this folder run kernels in Triton's interpreter, in a process of their own, which
`tests/triton/test_interpreted.py` starts: the decorators of the kernels read the environment."""

import os
from collections.abc import Iterator

import pytest

from tests.triton import interpreter

if os.environ.get("TRITON_INTERPRET") != "1":
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[interpreter.GuardedMemory]:
    """Guarded results for every kernel of the test, checked at its end."""
    from fastgan.kernels import tensors

    interpreter.round_bfloat16_as_gpus_do(monkeypatch)
    interpreter.widen_bfloat16_products(monkeypatch)
    guarded = interpreter.GuardedMemory()
    monkeypatch.setattr(tensors, "allocate", guarded.allocate)
    yield guarded
    guarded.check()


@pytest.fixture(autouse=True)
def _large_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """One program per plane: interpretation costs time per program, not per element."""
    from fastgan.kernels import config

    monkeypatch.setattr(config, "TILE_ELEMENTS", 65536)
    monkeypatch.setattr(config, "UPFIRDN_PLANAR", (128, 256, 1))
    monkeypatch.setattr(config, "UPFIRDN_CHANNELS_LAST", (64, 64, 64))


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch, _large_tiles: None) -> None:
    """Several ragged programs for small tensors."""
    from fastgan.kernels import config

    monkeypatch.setattr(config, "TILE_ELEMENTS", 32)
    monkeypatch.setattr(config, "TILE_COLUMNS", 16)
    monkeypatch.setattr(config, "SUM_TILES", 3)
    monkeypatch.setattr(config, "REDUCE_TILE", (2, 4))
    monkeypatch.setattr(config, "UPFIRDN_PLANAR", (2, 8, 1))
    monkeypatch.setattr(config, "UPFIRDN_CHANNELS_LAST", (2, 4, 2))
    monkeypatch.setattr(config, "UPFIRDN_ROWS", {"planar": 4, "channels_last": 4})
    monkeypatch.setattr(config, "VECTOR_STEP", 16)
    monkeypatch.setattr(config, "CONV_TILES", dict.fromkeys(config.CONV_TILES, (16, 16, 16)))
    monkeypatch.setattr(config, "POINTWISE_PLANAR", (8, 4))
    monkeypatch.setattr(config, "POINTWISE_CHANNELS_LAST", (8, 4))
    monkeypatch.setattr(config, "FIR_ROWS", 4)
    monkeypatch.setattr(config, "FIR_PLANAR", (4, 8))
    monkeypatch.setattr(config, "FIR_CHANNELS_LAST", (4, 4))
