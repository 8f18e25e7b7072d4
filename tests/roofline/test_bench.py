"""`fastgan bench ops`: its table, its JSON, and the times beside the bounds."""

import json
from dataclasses import replace

import pytest
import torch

from fastgan.cli import main
from fastgan.dispatch import registry
from fastgan.networks.geometry import Widths
from fastgan.roofline import calls, measured, report, table
from fastgan.roofline import rows as counted_rows
from fastgan.roofline.machines import MACHINES


def test_bench_ops_prints_every_op_and_the_bounds(capsys, tmp_path):
    out = tmp_path / "rows.json"
    arguments = "bench ops --model a100 --resolution 256 --dtype fp16".split()  # noqa: SIM905
    assert main([*arguments, "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "A100" in printed
    assert "StyleGAN2-256, fp16" in printed
    assert all(f"fp16: {op.split()[0]}" in printed for op in counted_rows.EAGER)
    assert max(map(len, printed.splitlines())) <= 100
    assert "\N{HORIZONTAL ELLIPSIS}" not in printed, "no cell is cut"
    rows = json.loads(out.read_text())["rows"]["StyleGAN2-256, fp16"]
    assert all(row["bound"] > 0 and row["limit"] in ("memory", "arithmetic") for row in rows)
    convolutions = [row for row in rows if row["op"].startswith("modulated_conv2d")]
    assert {row["limit"] for row in convolutions} == {"memory", "arithmetic"}


def test_one_op_in_one_dtype(capsys):
    arguments = "bench ops --resolution 256 --dtype tf32 --op modulated_conv2d"
    assert main(arguments.split()) == 0
    titles = [line for line in capsys.readouterr().out.splitlines() if line.startswith("StyleGAN2")]
    assert [title.rstrip() for title in titles] == ["StyleGAN2-256, tf32: modulated_conv2d"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what it says without a GPU")
def test_without_model_and_gpu_there_are_no_bounds(capsys):
    assert main(["bench", "ops", "--resolution", "256", "--dtype", "fp32"]) == 0
    out = capsys.readouterr().out
    assert "no bounds: say --model" in out
    assert "no CUDA device" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench"], "name one of ops"),
        (["bench", "nothing"], "no bench 'nothing'"),
        (["bench", "ops", "--resolution", "100"], "no preset stylegan2-100"),
    ],
)
def test_wrong_arguments_get_one_line(arguments, message, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


def test_every_kind_of_call_can_be_timed():
    if registry.why_not("cpp", measured.OpCall("bias_act", "cpu", torch.float32)) is not None:
        pytest.skip("no backend with kernels for the CPU")
    counted = {}
    for call, count in calls.stylegan2(8, 2, Widths(64, 16), "fp32").items():
        counted.setdefault((type(call), getattr(call, "backward", None)), (call, count))
    done = []
    rows = measured.measured(
        counted.values(), MACHINES["h100"], "cpu", rounds=1, progress=lambda: done.append(1)
    )
    assert len(done) == len(rows) == len(counted) == 7
    assert all(row.seconds["cpp"] > 0 for row in rows)
    assert "cpp us (of bound)" in [column.header for column in table.times("", rows).columns]


def test_a_gpu_adds_times(capsys, monkeypatch):
    """With torch.cuda replaced: the branch that a machine with a GPU takes."""
    asked = []

    def fake(counted, machine, device, progress):
        asked.append((machine.name, device))
        progress()
        rows = counted_rows.rows(counted, machine)
        return [replace(row, seconds={"triton": 2 * row.bound}) for row in rows]

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(report, "measured", fake)
    report.bench_ops(None, [256], ["fp16"], None, None)
    out = capsys.readouterr().out
    assert asked == [("H100 SXM5 80 GB", "cuda")]
    assert "(50%)" in out
    assert "measured on NVIDIA H100" in out
