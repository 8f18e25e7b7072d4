"""Every kernel compiles for sm_80, sm_90 and gfx942, on a machine without a GPU: no spills, no
more registers than recorded, 128-bit accesses where the layout allows
them, tensor cores where a product is meant for them."""

import json
import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.require import missing

if find_spec("triton") is None:
    missing("triton", "triton is not installed", module=True)
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("an interpreted kernel cannot be compiled", allow_module_level=True)

from tests.triton.baseline import BASELINE
from tests.triton.cases import CASES
from tests.triton.compiled import TARGETS, compile_launch, record, resources

# Registers may grow by this factor before someone has to look: schedulers differ a little.
SLACK = 1.15
RECORDED = json.loads(BASELINE.read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


@pytest.mark.parametrize("name", list(CASES))
@pytest.mark.parametrize("target", list(TARGETS))
def test_kernel_compiles_within_its_resources(name: str, target: str) -> None:
    case = CASES[name]
    found = resources(compile_launch(record(case.call, target)[case.launch], target))
    assert found.spills == 0
    assert found.registers <= SLACK * RECORDED[target][name]["registers"]
    assert found.wide_loads > 0 or not case.loads
    assert found.wide_stores > 0 or not case.stores
    assert found.products > 0 or not case.products


def test_the_gate_sees_spills() -> None:
    launch = record(CASES["bias_act softplus float64"].call, "sm_80")[0]
    starved = replace(launch, options={**launch.options, "maxnreg": 24})
    assert resources(compile_launch(starved, "sm_80")).spills > 0


def test_the_baseline_names_the_cases() -> None:
    assert set(RECORDED) == set(TARGETS)
    assert all(set(cases) == set(CASES) for cases in RECORDED.values())
