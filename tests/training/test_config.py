import dataclasses
import json
from dataclasses import dataclass

import pytest

from fastgan import recipes
from fastgan.config import TrainConfig
from fastgan.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Sizes(TrainConfig):
    sizes: tuple[int, ...] = (4, 8)
    """Some numbers."""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 0}, "batch: expected a number at least 1, got 0"),
        ({"micro_batch": 0}, "micro_batch: expected a number at least 1"),
        ({"total_kimg": 0.0}, "total_kimg: expected a number above 0"),
        ({"lr_g": float("nan")}, "lr_g: expected a number above 0, got nan"),
        ({"lr_d": float("inf")}, "lr_d: expected a number above 0, got inf"),
        ({"beta2": 1.0}, "beta2: expected a number at least 0 and below 1"),
        ({"seed": -1}, "seed: expected a number at least 0"),
        ({"precision": "float16"}, "precision: expected one of float32, float64"),
    ],
)
def test_config_names_the_field_and_the_range(change, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**change)


@pytest.mark.parametrize("recipe", recipes.names())
def test_every_preset_survives_json(recipe):
    module = recipes.get(recipe)
    for make in module.PRESETS.values():
        config = make()
        assert isinstance(config, module.Config)
        assert module.Config.from_json(config.to_json()) == config


def test_json_keeps_tuples_and_defaults():
    assert Sizes.from_json(Sizes(sizes=(1, 2, 3)).to_json()).sizes == (1, 2, 3)
    assert Sizes.from_json('{"lr_g": 1}') == Sizes(lr_g=1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[1]", "expected a JSON object, got list"),
        ('{"bacth": 3}', "unknown setting bacth; TrainConfig has: batch, beta1"),
        ('{"batch": "3"}', "batch: expected int, got '3'"),
        ('{"batch": true}', "batch: expected int, got True"),
        ('{"mirror": 1}', "mirror: expected bool, got 1"),
        ('{"seed": null}', "seed: expected int, got None"),
        ('{"precision": "half"}', "precision: expected one of"),
    ],
)
def test_json_errors_say_what_was_expected(text, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig.from_json(text)


def test_resumable_settings_exist():
    names = {field.name for field in dataclasses.fields(TrainConfig)}
    assert names >= TrainConfig.RESUMABLE
    assert json.loads(TrainConfig().to_json()).keys() == names
