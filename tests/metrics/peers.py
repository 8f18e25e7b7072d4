"""Other implementations, for their functions of features alone.

Their modules import torchvision and tqdm for images and progress bars, which is not needed here;
where those are not installed, empty stand-ins let the import pass. They are taken away again.
"""

import importlib
import sys
import types

import pytest

OPTIONAL = (
    "torchvision", "torchvision.datasets", "torchvision.transforms",
    "torchvision.transforms.functional", "torchvision.models",
    "torchvision.models.inception", "tqdm", "requests",
)  # fmt: skip


class StandIn(types.ModuleType):
    """A module that has every name; all of them are empty classes."""

    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        full = f"{self.__name__}.{name}"
        return sys.modules.get(full) or type(name, (), {})


def _progress(items, **options):
    return items


def peer(name, package):
    """Import a module of another package, or skip the test and say what to install."""
    stands = []
    for optional in OPTIONAL:
        try:
            importlib.import_module(optional)
        except (ImportError, RuntimeError):
            sys.modules[optional] = StandIn(optional)
            stands.append(optional)
    if "tqdm" in stands:
        sys.modules["tqdm"].tqdm = _progress
    try:
        return importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"no comparison with {package}: {error}; pip install --no-deps {package}")
    finally:
        for stand in stands:
            del sys.modules[stand]
