"""The README's examples run as they stand, and its links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.S)


def test_training_and_sampling_examples_run(tmp_path: Path) -> None:
    train, sample, synthesise, _ = python_blocks()
    assert len(train.strip().splitlines()) <= 11  # ten lines, and a blank one between
    assert len(sample.strip().splitlines()) <= 5
    for code in (train, sample, synthesise):
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=300)
    assert (tmp_path / "out" / "readme" / "grid.png").stat().st_size > 1000


def test_operator_example_runs() -> None:
    setup = (
        "import torch\n"
        "x, bias = torch.randn(2, 3, 8, 8), torch.randn(3)\n"
        "weight, styles = torch.randn(4, 3, 3, 3), torch.randn(2, 3)\n"
    )
    names: dict[str, object] = {}
    exec(setup + python_blocks()[3], names)
    assert tuple(names["y"].shape) == (2, 4, 16, 16)  # type: ignore[attr-defined]


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README.read_text("utf-8")))
def test_links_lead_to_files(target: str) -> None:
    assert target.startswith("http") or (ROOT / target).exists()
