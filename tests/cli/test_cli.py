"""The command line itself: help, version, errors in one line, interrupts."""

import os
import re
import subprocess
import sys

import pytest

from fastgan import __version__, cli, commands, recipes
from fastgan.commands import doctor


def fastgan(*arguments, **environment):
    """Run `python -m fastgan` as a user would."""
    return subprocess.run(
        [sys.executable, "-m", "fastgan", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_without_a_command_it_prints_help(capsys):
    assert cli.main([]) == 0
    out = capsys.readouterr().out
    assert all(command in out for command in commands.COMMANDS)


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"fastgan {__version__}\n"


@pytest.mark.parametrize(
    "command", [*commands.COMMANDS, *(f"train --recipe {name}" for name in recipes.names())]
)
def test_help_documents_every_option(command, capsys):
    assert cli.main([*command.split(), "--help"]) == 0
    out = capsys.readouterr().out.partition("options")[2]
    entries = re.split(r"\n\W+?(?=--?[a-z])", out)[1:]
    assert entries
    for entry in entries:
        flags, _, text = entry.partition("  ")
        words = text.partition("(default")[0].split()
        assert len([word for word in words if word.isalpha()]) > 1, f"{flags} says nothing: {entry}"


def test_train_help_shows_the_settings_of_the_recipe(capsys):
    assert cli.main(["train", "--recipe", "dcgan", "--help"]) == 0
    assert "--spectral-norm" in capsys.readouterr().out
    assert cli.main(["train", "--help"]) == 0
    out = capsys.readouterr().out
    assert "--style-mixing" in out
    assert "--spectral-norm" not in out


def test_train_help_shows_the_values_of_the_preset(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.main(["train", "--preset", "stylegan2-paper512", "--help"]) == 0
    text = capsys.readouterr().out.partition("--r1-gamma")[2].partition("--r1-every")[0]
    assert "default: 0.5" in text


BOXES = {
    "drawn": """\
╭─ Unrecognized options ────────────────────╮
│ Unrecognized options: --jsno              │
│ ───────────────────────────────────────── │
│ Perhaps you meant:                        │
│     --json, --no-json                     │
│         Print one object. (default: False)│
╰───────────────────────────────────────────╯
""",
    "plain": """\
 Unrecognized options
 ----------------------------------
  Unrecognized options: --jsno
  ---------------------------------
  Perhaps you meant:
      --json, --no-json
          Print one object. (default: False)
""",
}


@pytest.mark.parametrize("kind", BOXES)
def test_boxes_of_either_kind_are_folded(kind):
    folded = cli.fold_error(BOXES[kind])
    assert folded == "Unrecognized options: --jsno; perhaps you meant --json"


def test_unknown_commands_and_options_get_one_line(complaint):
    assert "frobnicate" in complaint("frobnicate")
    assert "--jsno" in complaint("doctor", "--jsno")
    assert "perhaps you meant --json" in complaint("doctor", "--jsno")
    assert "three" in complaint("demo", "--minutes", "three")
    assert "--model" in complaint("metrics")


def test_a_real_process_says_one_line_and_exits_with_2():
    result = fastgan("doctor", FASTGAN_BACKEND="abacus")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "abacus" in result.stderr
    assert result.stdout == ""


def test_interrupt_is_one_line_and_130(capsys, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor.Options, "run", interrupted)
    assert cli.main(["doctor"]) == 130
    assert capsys.readouterr().err == "fastgan: interrupted\n"


def test_a_bug_keeps_its_traceback(monkeypatch):
    def bug(self):
        raise RuntimeError("ours")

    monkeypatch.setattr(doctor.Options, "run", bug)
    with pytest.raises(RuntimeError, match="ours"):
        cli.main(["doctor"])


def test_help_does_not_load_training():
    code = (
        "import sys; from fastgan.cli import main; main([]); "
        "print([m for m in sys.modules if m.startswith(('fastgan.tr', 'fastgan.rec', 'triton'))])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.splitlines()[-1] == "[]", result.stderr


def test_recipes_lists_every_recipe_and_preset(capsys):
    assert cli.main(["recipes"]) == 0
    out = capsys.readouterr().out
    for name in recipes.names():
        assert name in out
        assert all(preset in out for preset in recipes.get(name).PRESETS)
