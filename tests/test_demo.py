"""The demo in seconds: every file, and a report of finite numbers; five minutes meet the bars."""

import json
import math
from dataclasses import replace

import pytest
import torch
from PIL import Image

from fastgan import data, demo
from fastgan.errors import ConfigError


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder and report of a demo of three seconds at 16 x 16."""
    out = tmp_path_factory.mktemp("demo")
    images = data.shapes(32, 16, torch.Generator().manual_seed(0)).images
    settings = demo.DemoSettings(
        minutes=0.05, count=16, grid=4, walks=2, stops=2, frames=3, frames_timed=3
    )
    config = replace(demo.demo_config(), batch=4, channel_base=64, channel_max=8, z_dim=8, w_dim=8)
    return out, demo.run_demo(out, settings, config, data.ArrayDataset(images, name="shapes"))


def numbers(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, float) else []


def test_demo_writes_every_file(finished):
    out, report = finished
    wanted = {
        "reals.png",
        "fakes_init.png",
        "fakes.png",
        "pretrained.png",
        "metrics.jsonl",
        "model.safetensors",
    }
    wanted |= {"report.json", report["video"]}
    assert wanted <= {path.name for path in out.iterdir()}
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]
    assert report["video"] in ("interpolation.mp4", "interpolation.gif")


def test_demo_report_is_what_was_returned_and_finite(finished):
    out, report = finished
    assert json.loads((out / "report.json").read_text()) == json.loads(json.dumps(report))
    found = numbers(report)
    assert len(found) > 10
    assert all(math.isfinite(number) for number in found)


def test_demo_report_answers_the_questions(finished):
    _, report = finished
    assert set(report["backends"].values()) <= {"reference", "cpp"}
    assert report["training"]["images"] == 4 * report["training"]["steps"] > 0
    assert report["training"]["images_per_second"] > 0
    assert report["synthesis"]["frames_per_second"] > 0
    assert report["wall_seconds"] >= report["training"]["seconds"] > 0
    assert set(report["quality"]["met"]) == {"swd_to_init", "swd_to_mean_image", "diversity"}
    assert report["versions"]["torch"] == torch.__version__


def test_demo_stops_in_time(finished):
    _, report = finished
    assert report["training"]["seconds"] < 30


def test_demo_draws_the_losses_where_matplotlib_is(finished):
    pytest.importorskip("matplotlib", reason="needs fastgan[demo]")
    with Image.open(finished[0] / "losses.png") as picture:
        assert picture.size[0] > 200


def test_quality_is_zero_for_the_reals_themselves():
    images = data.shapes(40, 16, torch.Generator().manual_seed(0)).images.permute(0, 2, 3, 1)
    noise = torch.randint(256, images.shape, dtype=torch.uint8)
    perfect = demo.quality(images, noise, images)
    assert perfect["ratios"] == {"swd_to_init": 0, "swd_to_mean_image": 0, "diversity": 1}
    assert all(perfect["met"].values())
    untrained = demo.quality(images, noise, noise)
    assert untrained["ratios"]["swd_to_init"] == 1
    assert not untrained["met"]["swd_to_init"]
    collapsed = demo.quality(images, noise, images[:1].expand_as(images))
    assert collapsed["ratios"]["diversity"] == 0
    assert not collapsed["met"]["diversity"]


def test_demo_refuses_no_time():
    for minutes in (0.0, -1.0, float("nan")):
        with pytest.raises(ConfigError, match="minutes"):
            demo.DemoSettings(minutes=minutes)
