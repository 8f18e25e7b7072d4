"""What the kernels used when somebody last looked: one JSON file per .cu file, in `baselines`.

`python -m tests.gpu_gate.baseline` measures every kernel again, for one architecture more than
continuous integration does, and writes the files; the difference is to be read before it is
committed. It fails when a kernel spills. Names of files, such as `upfirdn2d`, choose among them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.gpu_gate import measure, toolchain

FOLDER = Path(__file__).parent / "baselines"


def path_of(source: Path) -> Path:
    return FOLDER / f"{source.stem}.json"


def read(source: Path) -> dict:
    return json.loads(path_of(source).read_text(encoding="utf-8"))


def write(source: Path) -> None:
    record = {"nvcc": toolchain.version()}
    for arch in measure.ALL_ARCHITECTURES:
        record[arch] = measure.usage(source, arch, every=True)
        local = ("stack", "local_loads", "local_stores")
        wrong = [name for name, used in record[arch].items() if any(used[key] for key in local)]
        if wrong:
            raise SystemExit(f"{source.name} for {arch}: these use local memory: {wrong}")
    FOLDER.mkdir(exist_ok=True)
    path_of(source).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path_of(source).name}: {len(record[measure.ARCHITECTURES[0]])} kernels")


if __name__ == "__main__":
    for file in measure.SOURCES:
        if not sys.argv[1:] or file.stem in sys.argv[1:]:
            write(file)
