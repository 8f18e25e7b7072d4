"""`fastgan plan`: the arguments of `fastgan train`, a table or JSON, nothing written."""

import json

from fastgan.cli import main
from tests.cli.conftest import TINY


def test_plan_prints_a_table_and_writes_nothing(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    options = ["--data", str(folder), "--total-kimg", "3", "--out", str(tmp_path / "x"), *TINY]
    assert main(["plan", *options]) == 0
    said = capsys.readouterr().out
    words = ("during D", "during r1", "during G", "during pl", "images/s", "--micro-batch 4")
    assert all(word in said for word in (*words, "3 kimg in", "estimate", "optimiser"))
    assert list(tmp_path.iterdir()) == []


def test_plan_prints_json_and_says_when_it_does_not_fit(folder, capsys):
    options = ["--data", str(folder), "--json", "--memory", "0.001", "--probe-seconds", "0", *TINY]
    assert main(["plan", *options]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["fits"], found["micro_batch"], found["accumulation"]) == (False, 1, 4)
    assert found["available"] == round(0.001 * 2**30)
    assert {"held", "phases", "peak", "images_per_second", "seconds"} <= found.keys()


def test_plan_complains_as_train_does(complaint, folder):
    assert "batch" in complaint("plan", "--data", folder, "--batch", "-3")
    assert "missing --data" in complaint("plan")
    assert "memory" in complaint("plan", "--data", folder, "--memory", "-1", *TINY)
