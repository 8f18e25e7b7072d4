"""--only and --contender: what they select, and what they say about a wrong name."""

import pytest

from benchmarks import plugins, suites
from benchmarks.providers import WrongResultError
from benchmarks.runner import Options
from fastgan.cli import main
from fastgan.errors import ConfigError

HERE = "tests.benchmarks.contenders"
CASES = ["64x4096 batch 1", "64x4096 batch 8", "256x4096 batch 1"]


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        ((), CASES),
        (("64x4096",), CASES[:2]),
        (("64x4096 batch 8", "256"), CASES[1:]),
    ],
)
def test_only_takes_cases_in_which_a_word_begins_so(only, expected):
    assert plugins.selected("synthesis", CASES, only) == expected


@pytest.mark.parametrize("only", ["4x4096", "512x4096"])
def test_a_case_that_is_not_there_names_those_that_are(only):
    with pytest.raises(ConfigError, match=f"--only {only}: no such case in synthesis; .*64x4096"):
        plugins.selected("synthesis", CASES, (only,))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("somewhere", "expected module:callable, got 'somewhere'"),
        (f"{HERE}:", "expected module:callable"),
        ("no_such_module_here:f", "cannot import no_such_module_here .*current folder"),
        (f"{HERE}:missing", "expected a callable, .* has no such name"),
        (f"{HERE}:NUMBER", "expected a callable, .* has int there"),
    ],
)
def test_a_wrong_contender_is_a_clear_error(name, message):
    with pytest.raises(ConfigError, match=message):
        plugins.load(name)


def test_a_contender_may_lie_in_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "my_contender_of_this_test.py").write_text("def f():\n    return 3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert plugins.load("my_contender_of_this_test:f")() == 3


def test_an_op_takes_further_contenders_and_refuses_wrong_ones():
    options = Options(quick=True, contender=(f"{HERE}:doubled",))
    with pytest.raises(WrongResultError, match=r"result 0 of plugin/.*:doubled"):
        suites._results(["bias_act"], options)
    rows = suites._results(["spectral_norm"], options)["spectral_norm"]
    assert not [row for row in rows if row["provider"].startswith("plugin")]


def test_only_passes_over_benchmarks_without_the_case():
    options = Options(quick=True, only=("16x8x3x3",))
    assert list(suites._results(["bias_act", "spectral_norm"], options)) == ["spectral_norm"]
    with pytest.raises(ConfigError, match="no such case"):
        suites._results(["bias_act"], options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("bench synth --quick --only 7x7", "--only 7x7: no such case in synthesis"),
        ("bench train --quick --contender nothing", "expected module:callable"),
        ("bench train --rounds many", "many"),
    ],
)
def test_wrong_options_get_one_line(arguments, message, capsys):
    assert main(arguments.split()) == 2
    lines = capsys.readouterr().err.splitlines()
    assert message in lines[-1]
    assert lines[-1].startswith("fastgan: ")


def test_without_the_repository_the_command_says_where_the_benchmarks_are(
    tmp_path, monkeypatch, capsys
):
    place = tmp_path / "fastgan" / "commands" / "bench.py"
    monkeypatch.setattr("fastgan.commands.bench.__file__", str(place))
    assert main(["bench", "synth"]) == 2
    assert "part of the repository, not of the installed package" in capsys.readouterr().err
