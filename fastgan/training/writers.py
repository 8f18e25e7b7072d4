"""Where lines of metrics go: a file of JSON, TensorBoard's event files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from fastgan.files import replacing


class Writer(Protocol):
    """Takes lines of metrics somewhere."""

    def start(self, step: int, images: int) -> None:
        """Begin, or go on after `step` and so many images; what is there of later ones goes."""

    def write(self, line: Mapping[str, Any]) -> None:
        """Take one line."""

    def close(self) -> None:
        """Finish."""


class JsonLines:
    """One JSON object per line; a resumed run drops the lines after its checkpoint."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def start(self, step: int, images: int) -> None:
        kept = []
        if step > 0 and self.path.is_file():
            lines = self.path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if _step_of(line) <= step]
        with replacing(self.path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def write(self, line: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(line)) + "\n")

    def close(self) -> None:
        pass


class TensorBoard:
    """The same numbers as event files, against images seen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: Any = None

    def start(self, step: int, images: int) -> None:
        # Imported here: it takes seconds, and only training needs it.
        from torch.utils.tensorboard import SummaryWriter

        if self._writer is not None:
            self._writer.close()
        purge = images + 1 if images > 0 else None
        self._writer = SummaryWriter(str(self.folder), purge_step=purge)

    def write(self, line: Mapping[str, Any]) -> None:
        for name, value in line.items():
            if name not in ("step", "kimg") and isinstance(value, (int, float)):
                self._writer.add_scalar(name, value, round(line["kimg"] * 1000))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # a line that was cut off goes, too
