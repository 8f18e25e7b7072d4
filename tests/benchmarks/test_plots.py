"""Plots of a folder of results take what each row has."""

import json

import pytest

from benchmarks import plots


def test_rows_without_rates_of_the_machine_are_left_alone(tmp_path):
    pytest.importorskip("matplotlib")
    op = {
        "suite": "ops", "op": "bias_act", "case": "1x2", "provider": "cpp", "pass": "fwd",
        "flops": 10.0, "traffic": 4.0, "minimum": 1e-3, "median": 2e-3,
        "copy_bandwidth": 2e10, "sgemm": 2e11,
    }  # fmt: skip
    metric = {"suite": "metrics", "case": "d 8", "provider": "scipy", "minimum": 1.0, "median": 1.0}
    (tmp_path / "bias_act.jsonl").write_text(json.dumps(op) + "\n")
    (tmp_path / "metrics.jsonl").write_text(json.dumps(metric) + "\n")
    assert tmp_path / "roofline.png" in plots.write(tmp_path)
