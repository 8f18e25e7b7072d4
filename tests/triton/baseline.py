"""Measure the kernels and write tests/triton/baseline.json: `python -m tests.triton.baseline`.

The file records registers, which the test then lets grow by a little only. What must always hold,
no spills and 128-bit accesses where the layout allows them, is in the test and in the cases.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

BASELINE = Path(__file__).with_name("baseline.json")


def measure() -> dict[str, dict[str, dict[str, int]]]:
    """{target: {case: resources}} of every case."""
    from dataclasses import asdict

    from tests.triton.cases import CASES
    from tests.triton.compiled import TARGETS, compile_launch, record, resources

    return {
        target: {
            name: asdict(resources(compile_launch(record(case.call, target)[case.launch], target)))
            for name, case in CASES.items()
        }
        for target in TARGETS
    }


def main() -> int:
    """Measure, print and write."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TRITON_CACHE_DIR"] = cache
        found = measure()
    BASELINE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for target, cases in found.items():
        for name, row in cases.items():
            print(f"{target:8s} {name:50s}", *(f"{key} {value}" for key, value in row.items()))
    print(f"{time.perf_counter() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
