"""What the kernels used when somebody last looked: one JSON file per .cu file, in `baselines`.

`python -m tests.gpu_gate.baseline` measures them again and writes the files; the difference is to
be read before it is committed.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.gpu_gate import measure, toolchain

FOLDER = Path(__file__).parent / "baselines"


def path_of(source: Path) -> Path:
    return FOLDER / f"{source.stem}.json"


def read(source: Path) -> dict:
    return json.loads(path_of(source).read_text(encoding="utf-8"))


def write(source: Path) -> None:
    record = {"nvcc": toolchain.version()}
    record |= {arch: measure.usage(source, arch) for arch in measure.ARCHITECTURES}
    FOLDER.mkdir(exist_ok=True)
    path_of(source).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path_of(source).name}: {len(record[measure.ARCHITECTURES[0]])} kernels")


if __name__ == "__main__":
    for file in measure.SOURCES:
        write(file)
