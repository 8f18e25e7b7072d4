"""Labels of an image set: from dataset.json or from class folders, kept compact.

Class numbers stay integers in memory and become one-hot rows only when they are asked for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import torch
from torch import Tensor

from fastgan.data.sources import FileSource, read_text
from fastgan.errors import DataError

LABEL_FILE = "dataset.json"
MAX_CLASSES = 1 << 20
FLOAT_MAX = torch.finfo(torch.float32).max


@dataclass(frozen=True)
class LabelTable:
    """One label per image.

    Attributes:
        values: int64 [N] class numbers, or float32 [N, c_dim] vectors.
        c_dim: length of a label row; 0 for no labels.
        class_names: one name per class, or empty when unknown.
    """

    values: Tensor
    c_dim: int
    class_names: tuple[str, ...] = ()

    def rows(self, index: Tensor) -> Tensor:
        """Return float32 [len(index), c_dim]: one-hot rows for classes, else the vectors."""
        chosen = self.values.index_select(0, index)
        if chosen.ndim == 2:
            return chosen
        return torch.nn.functional.one_hot(chosen, self.c_dim).to(torch.float32)


def no_labels(count: int) -> LabelTable:
    """Return a table of `count` empty rows."""
    return LabelTable(torch.zeros(count, 0), 0)


def class_table(classes: Sequence[int], num_classes: int, names: Sequence[str] = ()) -> LabelTable:
    """Return a table of class numbers in 0..num_classes-1."""
    return LabelTable(torch.tensor(classes, dtype=torch.int64), num_classes, tuple(names))


def read_labels(source: FileSource, all_names: Sequence[str], chosen: Sequence[str]) -> LabelTable:
    """Read the labels of the `chosen` images.

    dataset.json wins over class folders. The number of classes comes from the whole set, so that
    a subset keeps the label width of its parent.

    Raises:
        DataError: there are no labels, or they are incomplete, mixed or malformed.
    """
    try:
        text = read_text(source, LABEL_FILE)
        content = None if text is None else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{LABEL_FILE} is not valid JSON: {error}") from error
    if text is None:
        return _from_folders(all_names, chosen)
    content = content if isinstance(content, dict) else {}
    entries = content.get("labels")
    if not entries:
        raise DataError(
            f'{LABEL_FILE} has no labels: expected {{"labels": [[file name, class or vector], '
            "...]}; add them, or use the set without labels"
        )
    names = content.get("classes") or []
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise DataError(f"{LABEL_FILE}: classes: expected a list of names, got {names!r:.80}")
    return _from_entries(_checked_entries(entries), chosen, tuple(str(name) for name in names))


def _checked_entries(entries: object) -> dict[str, int | list[float]]:
    table: dict[str, int | list[float]] = {}
    for entry in entries if isinstance(entries, list) else [entries]:
        if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)):
            raise DataError(f"{LABEL_FILE}: expected [file name, label], got {entry!r:.80}")
        if not _is_label(entry[1]):
            raise DataError(
                f"{LABEL_FILE}: {entry[0]}: expected a class number in 0..{MAX_CLASSES - 1} "
                f"or a list of finite numbers, got {entry[1]!r:.80}"
            )
        table[PurePosixPath(entry[0].replace("\\", "/")).as_posix()] = entry[1]
    return table


def _is_label(value: object) -> bool:
    if isinstance(value, list):
        return all(_is_number(item) for item in value) and len(value) > 0
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_CLASSES


def _is_number(value: object) -> bool:
    # A comparison, because it is False for NaN and takes integers of any length.
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return -FLOAT_MAX <= value <= FLOAT_MAX


def _from_entries(
    table: dict[str, int | list[float]], chosen: Sequence[str], class_names: tuple[str, ...]
) -> LabelTable:
    missing = [name for name in chosen if name not in table]
    if missing:
        raise DataError(
            f"{LABEL_FILE}: {len(missing)} of {len(chosen)} images have no label, "
            f"for example {', '.join(missing[:10])}; add them, or use the set without labels"
        )
    widths = {len(value) if isinstance(value, list) else None for value in table.values()}
    if len(widths) > 1:
        kinds = sorted("class number" if w is None else f"vector of {w}" for w in widths)
        raise DataError(f"{LABEL_FILE}: expected one kind of label, got {', '.join(kinds)}")
    if widths != {None}:
        values = torch.tensor([table[name] for name in chosen], dtype=torch.float32)
        return LabelTable(values, values.shape[1])
    classes = {name: value for name, value in table.items() if isinstance(value, int)}
    num_classes = max(max(classes.values()) + 1, len(class_names))
    return class_table([classes[name] for name in chosen], num_classes, class_names)


def _from_folders(all_names: Sequence[str], chosen: Sequence[str]) -> LabelTable:
    loose = [name for name in all_names if "/" not in name]
    if loose:
        raise DataError(
            f"no {LABEL_FILE}, and {len(loose)} images lie outside any class folder, "
            f"for example {', '.join(loose[:10])}; expected <class>/<image>"
        )
    classes = sorted({name.split("/", 1)[0] for name in all_names})
    if len(classes) < 2:
        raise DataError(
            f"no {LABEL_FILE}, and only one class folder ({classes[0]}): expected at least 2; "
            "point at the folder that holds the class folders, or use the set without labels"
        )
    number = {name: i for i, name in enumerate(classes)}
    return class_table([number[name.split("/", 1)[0]] for name in chosen], len(classes), classes)
