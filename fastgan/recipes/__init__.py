"""Recipes: one file per GAN. A new one is a file here and its name in the list below.

A recipe module has NAME, Config, PRESETS and build; `fastgan.training.RecipeModule` says what
they are. It may have FITTED, presets that follow from the data, and remarks, lines to print.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, cast

from fastgan.data import Dataset
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


def preset(
    recipe: str, name: str, image_size: tuple[int, int] | None = None, processes: int = 1
) -> Any:
    """Return the settings of a recipe's preset.

    Args:
        recipe: name of the recipe.
        name: name of the preset; the recipe's own name may be left out before a dash.
        image_size: height and width of the data, for presets that follow from it; None takes what
            the preset assumes.
        processes: over which the batch is divided, for such presets.

    Raises: ConfigError when there is no such recipe or preset.
    """
    name = full_name(recipe, name)
    if image_size is not None and name in fitted_presets(recipe):
        return fitted_presets(recipe)[name](*image_size, processes)
    return get(recipe).PRESETS[name]()


def full_name(recipe: str, preset: str) -> str:
    """Return the name of a preset in full, such as stylegan2-auto for auto.

    Raises: ConfigError when there is no such recipe or preset.
    """
    presets = get(recipe).PRESETS
    for name in (preset, f"{recipe}-{preset}"):
        if name in presets:
            return name
    known = ", ".join(presets)
    raise ConfigError(f"preset of {recipe}: expected one of {known}, got {preset!r}")


def fitted_presets(recipe: str) -> Mapping[str, Callable[[int, int, int], Any]]:
    """Presets that follow from the data: functions of height, width and processes, by name."""
    return getattr(get(recipe), "FITTED", {})


def remarks(recipe: str, config: Any, dataset: Dataset) -> list[str]:
    """What a recipe says at the start of a run about settings it chose for the data."""
    module = get(recipe)
    return module.remarks(config, dataset) if hasattr(module, "remarks") else []
