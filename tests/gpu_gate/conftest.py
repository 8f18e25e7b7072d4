"""Skips the gate where its programs are missing, and fails it where FASTGAN_REQUIRE names nvcc, as
continuous integration does."""

import pytest

from tests.gpu_gate import toolchain
from tests.require import missing


@pytest.fixture(autouse=True)
def _tools() -> None:
    try:
        for program in ("nvcc", "cuobjdump"):
            toolchain.find(program)
    except toolchain.MissingToolError as error:
        missing("nvcc", str(error))
