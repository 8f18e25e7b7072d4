"""Which cases run (--only) and who else takes part (--contender module:callable)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fastgan.errors import ConfigError


class NoCaseError(ConfigError):
    """--only names no case of a benchmark."""


def selected(benchmark: str, cases: Iterable[str], only: tuple[str, ...]) -> list[str]:
    """Return the cases in which some entry of `only` begins a word; all when there is no entry.

    Raises: NoCaseError when none is left.
    """
    names = list(cases)
    if not only:
        return names
    kept = [name for name in names if any(f" {wish}" in f" {name}" for wish in only)]
    if not kept:
        raise NoCaseError(
            f"--only {' '.join(only)}: no such case in {benchmark}; there are {', '.join(names)}"
        )
    return kept


def load(name: str) -> Callable[..., Any]:
    """Import what `module:callable` names; the current folder is searched, too.

    Raises: ConfigError, saying what is wrong with the name.
    """
    module_name, colon, attribute = name.partition(":")
    if not (module_name and colon and attribute):
        raise ConfigError(f"--contender: expected module:callable, got {name!r}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(
            f"--contender {name}: cannot import {module_name} ({error}); it must be installed or "
            "lie in the current folder"
        ) from error
    found = getattr(module, attribute, None)
    if not callable(found):
        what = "has no such name" if found is None else f"has {type(found).__name__} there"
        raise ConfigError(f"--contender {name}: expected a callable, {module_name} {what}")
    return found
