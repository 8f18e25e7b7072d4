"""Skips the gate where its programs are missing, and fails it where FASTGAN_REQUIRE names nvcc, as
continuous integration does."""

import os

import pytest

from tests.gpu_gate import toolchain


@pytest.fixture(autouse=True)
def _tools() -> None:
    try:
        for program in ("nvcc", "cuobjdump"):
            toolchain.find(program)
    except toolchain.MissingToolError as error:
        if "nvcc" in os.environ.get("FASTGAN_REQUIRE", "").split(","):
            pytest.fail(f"FASTGAN_REQUIRE names nvcc, but: {error}")
        pytest.skip(str(error))
