"""Recipes: one file per GAN. A new one is a file here and its name in the list below.

A recipe module has NAME, Config, PRESETS and build; `fastgan.training.RecipeModule` says what
they are.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

from fastgan.errors import ConfigError
from fastgan.training.recipe import RecipeModule

_NAMES = ("dcgan", "stylegan2", "vanilla")


def names() -> tuple[str, ...]:
    """Return the names of all recipes."""
    return _NAMES


def get(name: str) -> RecipeModule:
    """Return the module of a recipe.

    Raises: ConfigError when there is none of that name.
    """
    if name not in _NAMES:
        raise ConfigError(f"recipe: expected one of {', '.join(_NAMES)}, got {name!r}")
    return cast(RecipeModule, import_module(f"fastgan.recipes.{name}"))


def preset(recipe: str, name: str) -> Any:
    """Return the settings of a recipe's preset.

    Raises: ConfigError when there is no such recipe or preset.
    """
    presets = get(recipe).PRESETS
    if name not in presets:
        raise ConfigError(f"preset of {recipe}: expected one of {', '.join(presets)}, got {name!r}")
    return presets[name]()
