"""Runs `tests/triton/interpreted` in a process of its own, where Triton interprets its kernels."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.require import missing

ROOT = Path(__file__).resolve().parents[2]


FILES = sorted(path.stem for path in (ROOT / "tests/triton/interpreted").glob("test_*.py"))


@pytest.mark.parametrize("name", FILES)
def test_kernels_agree_with_the_specification_when_interpreted(name: str) -> None:
    if find_spec("triton") is None:
        missing("triton", "triton is not installed")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
         f"tests/triton/interpreted/{name}.py"],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
    assert " passed" in result.stdout
    assert " skipped" not in result.stdout
