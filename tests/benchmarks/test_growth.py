"""The growth benchmark: ratios to the roofline of one run, their table, and memory."""

import json

import pytest

from benchmarks import memory, tables
from benchmarks.nets import Net
from benchmarks.roofline import COPY, SGEMM, MachineCalls
from benchmarks.timing import Timing
from fastgan.cli import main


def test_a_quick_run_writes_times_bounds_and_memory(tmp_path, capsys):
    assert main(["bench", "growth", "--quick", "--out", str(tmp_path)]) == 0
    rows = [json.loads(line) for line in (tmp_path / "growth.jsonl").read_text().splitlines()]
    assert [row["resolution"] for row in rows] == [16, 32]
    for row in rows:
        assert row["median"] >= row["minimum"] > 0
        assert row["roofline_median"] >= row["roofline_minimum"] > 0
    assert rows[1]["roofline_minimum"] > rows[0]["roofline_minimum"]
    assert "| 32x256 batch 1 |" in capsys.readouterr().out
    assert "| 32x256 batch 1 |" in (tmp_path / "README.md").read_text()


def test_other_cases_are_refused(capsys):
    assert main(["bench", "growth", "--quick", "--only", "7x7", "--contender", "a:b"]) == 2
    error = capsys.readouterr().err
    assert "no such case in growth" in error
    assert "calls no --contender" in error


def test_rates_go_with_minima_or_medians():
    machine = MachineCalls(quick=True)
    timings = {COPY: Timing(1.0, 2.0, 1.0, 2.0, 3)}
    timings |= {SGEMM[0]: Timing(4.0, 5.0, 4.0, 5.0, 3), SGEMM[1]: Timing(3.0, 6.0, 3.0, 6.0, 3)}
    least, middle = machine.peaks(timings), machine.peaks(timings, "median")
    assert (least.copy, middle.copy) == (machine.nbytes, machine.nbytes / 2)
    assert least.sgemm * 3 == pytest.approx(middle.sgemm * 5)


def row(resolution, minimum, median, **more):
    bounds = {"roofline_minimum": 2.0, "roofline_median": 4.0, "memory": None}
    base = {"case": "channel_base 8", "channel_base": 8, "batch": 1, "provider": "fastgan"}
    times = {"resolution": resolution, "minimum": minimum, "median": median}
    return base | times | bounds | more


def test_growth_is_relative_to_the_first_size():
    sizes = {"resident": 30_000_000, "weights": 16_000_000, "two_largest_activations": 4_000_000}
    lines = tables.growth([row(8, 3.0, 4.0), row(16, 6.0, 6.0, memory=sizes)]).splitlines()
    assert lines[2].endswith("| 1.500 (1.000) | 1.000 (1.000) | - | - |")
    assert lines[3].endswith("| 3.000 (1.500) | 2.000 (1.500) | 30 | 1.50 |")


def test_without_layers_there_is_no_ratio():
    unknown = {"roofline_minimum": 0.0, "roofline_median": 0.0}
    assert "nan" in tables.growth([row(8, 3.0, 4.0, **unknown)])


def test_memory_is_that_of_a_process_of_its_own():
    net = Net(64, 4096, 1, channel_max=128, w_dim=128)
    found = memory.measure(net)
    if found is None:
        pytest.skip("needs Linux's /proc/self/clear_refs, and the CPU engine")
    least = found["weights"] + found["two_largest_activations"]
    assert found["weights"] > 4_000_000
    # No less than it says it has; beside it, what any first frame makes a process load.
    assert found["weights"] < found["resident"] < least + 40_000_000


def test_what_goes_wrong_in_it_is_said():
    if not memory.STATUS.exists():
        pytest.skip("needs Linux's /proc")
    with pytest.raises(RuntimeError, match=r"memory of 7x256 batch 1: (.|\n)*resolution"):
        memory.measure(Net(7, 256, 1, channel_max=16, w_dim=16))
