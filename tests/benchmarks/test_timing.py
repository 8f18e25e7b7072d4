"""The machinery of the benchmarks: the clock, the check before it, and the table."""

import json
from itertools import pairwise

import pytest
import torch

from benchmarks import __main__, providers, report, suites
from benchmarks.bench_bias_act import case
from benchmarks.cases import Goal
from benchmarks.roofline import Peaks
from benchmarks.runner import Options, run_cases
from benchmarks.timing import Timing, measure

PEAKS = Peaks(copy=1e9, sgemm=1e9)


class Ticks:
    """A clock that a contender moves by hand, and a record of who ran."""

    def __init__(self):
        self.now, self.calls = 0.0, []

    def contender(self, name, *seconds):
        """Return a call that takes each of `seconds` in turn."""

        def run():
            self.now += seconds[self.calls.count(name) % len(seconds)]
            self.calls.append(name)

        return run


def test_measure_interleaves_in_a_changing_order():
    ticks = Ticks()
    contenders = {name: ticks.contender(name, 1.0) for name in "abc"}
    measure(contenders, rounds=12, warmup=1, clock=lambda: ticks.now)
    order = "".join(ticks.calls)
    rounds = [order[i : i + 3] for i in range(3, len(order), 3)]
    assert order[:3] == "abc"
    assert len(rounds) == 12
    assert all(sorted(found) == list("abc") for found in rounds)
    pairs = {first + second for found in rounds for first, second in pairwise(found)}
    assert len(pairs) == 6, "some contender never follows another"


def test_measure_leaves_the_warmup_out_and_keeps_contenders_apart():
    ticks = Ticks()
    contenders = {"slow": ticks.contender("slow", 90, 5, 1, 3, 2, 4), "fast": lambda: None}
    found = measure(contenders, rounds=5, warmup=1, clock=lambda: ticks.now)
    assert found["slow"] == Timing(minimum=1, median=3, p20=2, p80=4, rounds=5)
    assert found["fast"].p80 == 0


def test_measure_repeats_short_calls_and_takes_their_mean():
    ticks = Ticks()
    contenders = {"long": ticks.contender("long", 9.0), "short": ticks.contender("short", 3, 2, 4)}
    found = measure(contenders, rounds=2, warmup=2, clock=lambda: ticks.now, min_span=4)
    # The last warm-up call took 2: two calls a reading, of 4 + 3 and 2 + 4.
    assert (ticks.calls.count("long"), ticks.calls.count("short")) == (4, 6)
    assert (found["short"].minimum, found["short"].p80) == (3.0, 3.5)
    assert found["long"].minimum == 9.0


def test_measure_stops_at_the_time_limit_but_runs_one_round():
    ticks = Ticks()
    contenders = {"a": ticks.contender("a", 2.0), "b": ticks.contender("b", 2.0)}
    found = measure(contenders, rounds=100, warmup=0, max_seconds=5, clock=lambda: ticks.now)
    assert found["a"].rounds == found["b"].rounds == 2
    found = measure(contenders, rounds=100, warmup=0, max_seconds=0, clock=lambda: ticks.now)
    assert found["a"].rounds == 1


def test_measure_waits_for_the_device_before_each_reading():
    ticks, pending = Ticks(), []

    def wait():
        ticks.now += sum(pending)
        pending.clear()

    contenders = {"queued": lambda: pending.append(7.0)}
    found = measure(contenders, rounds=2, warmup=1, synchronize=wait, clock=lambda: ticks.now)
    assert found["queued"].minimum == 7.0


def test_measure_sleeps_before_timed_calls_alone(monkeypatch):
    slept = []
    monkeypatch.setattr("fastgan.timing.time.sleep", slept.append)
    measure({"a": lambda: None, "b": lambda: None}, rounds=3, warmup=2, pause=0.02)
    assert slept == [0.02] * 6


@pytest.mark.parametrize("which", ["fwd", "fwd_bwd", "double_bwd"])
def test_check_accepts_the_plain_way(which):
    small = case((2, 3, 4, 5), "swish", channels_last=False)
    plain = small.plain["reference"]
    providers.check(small, which, {"plain": providers.contender(plain, small.inputs, which)})


def double_slope(x, bias):
    """Right in value, wrong in gradient."""
    y = torch.nn.functional.leaky_relu(x + bias[:, None, None], 0.2) * 2**0.5
    return y.detach() + 2 * (y - y.detach())


@pytest.mark.parametrize(
    ("wrong", "which"),
    [
        (lambda x, bias: x, "fwd"),
        (lambda x, bias: x[..., :1], "fwd"),
        (lambda x, bias: x * float("nan"), "fwd"),
        (double_slope, "fwd_bwd"),
    ],
)
def test_nothing_wrong_is_timed(wrong, which):
    small = case((2, 3, 4, 5), "lrelu", channels_last=False)
    small.plain["wrong"] = wrong
    with pytest.raises(providers.WrongResultError, match=f"{which}: result 0 of eager/wrong"):
        run_cases([small], Options(quick=True), PEAKS)


def timing(milliseconds):
    seconds = milliseconds / 1e3
    return Timing(seconds, 2 * seconds, seconds, 3 * seconds, 9)


@pytest.mark.parametrize(("milliseconds", "verdict"), [(1.0, "met"), (1.5, "missed")])
def test_table_compares_with_the_fastest_plain_way(milliseconds, verdict):
    small = case((2, 3, 4, 5), "lrelu", channels_last=True, goal=Goal(3.0, 2.0))
    timings = {
        "eager/slow": timing(9.0),
        "eager/good": timing(4.0),
        "compile/good": timing(2.5),
        "cpp": timing(milliseconds),
    }
    table = report.table(report.rows(small, "fwd", timings, PEAKS))
    (line,) = table.splitlines()[2:]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:5] == ["bias_act", "2x3x4x5 lrelu, channels_last", "fwd", "4 (8) good",
                         "2.5 (5) good"]  # fmt: skip
    assert cells[6] == f"{4 / milliseconds:.2f} ({4 / milliseconds:.2f})"
    assert cells[7] == f"{2.5 / milliseconds:.2f} ({2.5 / milliseconds:.2f})"
    assert cells[9] == f"3x, 2x: {verdict}"


def test_rows_that_lose_are_listed_with_their_best_backend():
    small = case((2, 3, 4, 5), "lrelu", channels_last=False)
    for milliseconds, listed in [(1.04, False), (1.2, True)]:
        timings = {
            "eager/a": timing(2.0),
            "scipy/b": timing(1.0),
            "slow": timing(9.0),
            "cpp": timing(milliseconds),
        }
        page = report.page({"bias_act": with_facts(report.rows(small, "fwd", timings, PEAKS))})
        lost = page.partition("## Rows that lose")[2]
        line = "bias_act 2x3x4x5 lrelu, fwd: cpp takes 1.20 (1.20) times as long as scipy/b"
        assert (line in lost) == listed
        assert ("- none" in lost) != listed


def with_facts(rows):
    return [row | report.machine() for row in rows]


def test_a_run_of_some_cases_keeps_the_stored_rows_of_the_others(tmp_path):
    rows = [{"case": c, "provider": p, "minimum": 1.0} for c in "ab" for p in ("x", "y")]
    report.write("synthesis", rows, tmp_path)
    report.write("synthesis", [{"case": "b", "provider": "x", "minimum": 2.0}], tmp_path)
    found = report.read(tmp_path / "synthesis.jsonl")
    assert [(row["case"], row["minimum"]) for row in found] == [("a", 1), ("a", 1), ("b", 2)]
    assert [path.name for path in tmp_path.iterdir()] == ["synthesis.jsonl"]


def test_facts_of_several_runs_are_all_named():
    small = case((2, 3, 4, 5), "lrelu", channels_last=False)
    (row,) = with_facts(report.rows(small, "fwd", {"cpp": timing(1.0)}, PEAKS))
    other = row | {"commit": "fedcba9", "copy_bandwidth": 2e9, "case": "other"}
    page = report.page({"bias_act": [row | {"copy_bandwidth": 1e9}, other]})
    assert f"commit {row['commit']} and fedcba9; copy 1 to 2 GB/s" in page


def test_fraction_of_the_copy_bandwidth_is_a_column():
    small = case((2, 3, 4, 5), "lrelu", channels_last=False)
    (row,) = report.rows(small, "fwd", {"cpp": timing(1.0)}, PEAKS)
    assert row["copy_fraction"] == pytest.approx(2 * 2 * 3 * 4 * 5 * 4 / 1e-3 / PEAKS.copy)
    assert report.table([row]).splitlines()[2].endswith("| 0% |")


def test_roofline_is_the_least_time_over_the_minimum():
    small = case((2, 3, 4, 5), "lrelu", channels_last=False)
    (row,) = report.rows(small, "fwd", {"cpp": timing(1.0)}, PEAKS)
    assert row["roofline"] == pytest.approx(2 * 2 * 3 * 4 * 5 * 4 / 1e9 / 1e-3)


def test_quick_run_writes_rows_and_a_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmarks", "bias_act", "--quick", "--out", str(tmp_path)])
    assert __main__.main() == 0
    lines = (tmp_path / "bias_act.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert {row["pass"] for row in found} == {"fwd", "fwd_bwd", "double_bwd"}
    assert {row["provider"] for row in found} >= {"eager/reference"}
    keys = [
        "op",
        "case",
        "provider",
        "dtype",
        "pass",
        "threads",
        "torch",
        "commit",
        "cpu",
        "minimum",
        "median",
    ]
    assert all(key in row for row in found for key in keys)
    assert "| bias_act | 2x8x16x16 lrelu | fwd_bwd |" in (tmp_path / "README.md").read_text()
    assert "| bias_act |" in capsys.readouterr().out


def test_every_benchmark_has_cases_that_pass_their_check():
    for name in suites.OPS:
        module = __import__(f"benchmarks.bench_{name}", fromlist=["cases"])
        for small in module.cases(True):
            functions = providers.functions(small, compiled=False)
            for which in small.passes:
                providers.check(small, which, providers.contenders(small, which, functions))


def test_unknown_name_is_one_line_and_status_2(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmarks", "nothing"])
    assert __main__.main() == 2
    assert "no benchmark 'nothing'; there are bias_act," in capsys.readouterr().err
