"""The regression gate: what it compares, what it keeps, and what it says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gate import LIMIT, Gate, Ratio
from fastgan.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
FACTS = {"cpu": "A", "cpu_capability": "avx2", "threads": 2, "commit": "abc", "torch": "2"}


def gate(file, **facts):
    return Gate(file, FACTS | facts)


def test_a_slower_call_fails_with_an_explanation(tmp_path):
    first = gate(tmp_path / "gate.json")
    assert first.judge("op", Ratio(1.0, 2.0)) is None
    first.store()
    later = gate(tmp_path / "gate.json", commit="def")
    assert later.judge("op", Ratio(LIMIT - 0.01, 3.0)) is None, "a busy machine moves the median"
    assert later.judge("op", Ratio(2.0, 2.0)) is None
    failure = later.judge("op", Ratio(1.3, 2.8))
    assert "op takes 1.3 times" in failure
    assert "commit abc: 1.30 (1.40) times as much, the limit is 1.15" in failure


def test_runs_are_kept_by_machine(tmp_path):
    file = tmp_path / "gate.json"
    gate(file).judge("op", Ratio(1.0, 1.0))
    one = gate(file)
    one.judge("op", Ratio(1.0, 1.0))
    one.store()
    other = gate(file, cpu="B")
    assert other.judge("op", Ratio(9.0, 9.0)) is None
    assert "nothing to compare with" in other.summary(stores=False)[0]
    assert "A, avx2, 2 threads" in other.summary(stores=False)[0]
    other.store()
    assert len(json.loads(file.read_text())) == 2
    assert gate(file).judge("op", Ratio(9.0, 9.0)) is not None


def test_a_damaged_file_is_a_clear_error(tmp_path):
    (tmp_path / "gate.json").write_text("{")
    with pytest.raises(ConfigError, match=r"no JSON .* delete it and store"):
        gate(tmp_path / "gate.json").judge("op", Ratio(1.0, 1.0))


def run(file, *arguments):
    command = [sys.executable, "-m", "pytest", "-q", "benchmarks/test_regression.py"]
    command += ["-p", "no:cacheprovider", "-k", "bias_act and not fwd_bwd", "--gate-rounds", "2"]
    # Inside of a worker of xdist, pytest-benchmark would take itself for parallel and time nothing.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return subprocess.run(
        [*command, "--gate-file", str(file), *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip


def test_the_gate_stores_compares_and_fails(tmp_path):
    pytest.importorskip("pytest_benchmark")
    file = tmp_path / "gate.json"
    result = run(file)
    assert result.returncode == 0, result.stdout
    assert "nothing to compare with" in result.stdout
    assert not file.exists()
    assert "stored in" in run(file, "--store").stdout
    runs = json.loads(file.read_text())
    (ratios,) = [kept["ratios"] for kept in runs.values()]
    ratios["bias_act fwd"] = {"minimum": 1e-6, "median": 1e-6}
    file.write_text(json.dumps(runs))
    result = run(file)
    assert result.returncode == 1
    assert "the limit is 1.15" in result.stdout
