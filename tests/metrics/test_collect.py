"""Collecting features: batches, the cache of references, two processes, evaluation by name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fastgan.data import ArrayDataset, ring_mixture, shapes
from fastgan.errors import ConfigError
from fastgan.metrics import collect as module
from fastgan.metrics.collect import cache_folder, collect, collect_reference
from fastgan.metrics.evaluate import (
    Comparison,
    check_names,
    evaluate,
    keeps_features,
    parse_metrics,
)
from fastgan.metrics.extractors import Pixels, RandomConv
from fastgan.metrics.sources import RealImages, RenderedImages

ROOT = Path(__file__).parents[2]


def dataset(count=40, seed=0):
    images = shapes(count, 16, torch.Generator().manual_seed(seed)).images
    return ArrayDataset(images, name="shapes")


@pytest.fixture(autouse=True)
def _cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def calls(monkeypatch):
    """Counts the images that are extracted."""
    seen = []
    original = module.collect

    def counted(source, *arguments, **options):
        seen.append(len(source))
        return original(source, *arguments, **options)

    monkeypatch.setattr(module, "collect", counted)
    return seen


def test_reals_come_back_as_bytes_split_and_mirrored():
    data = dataset(10)
    expected = data.batch(range(10))[0].add(1).mul(127.5).round().to(torch.uint8)
    both = RealImages(data, mirror=True)
    assert torch.equal(both.images(range(10)), expected)
    assert torch.equal(both.images([13]), expected[3:4].flip(3))
    odd = RealImages(data, "odd")
    assert torch.equal(odd.images(range(5)), expected[1::2])
    assert (len(both), len(odd)) == (20, 5)
    assert (both.split, odd.split) == ("all and mirrored of shapes", "odd of shapes")
    with pytest.raises(ConfigError, match="holds points"):
        RealImages(ArrayDataset(ring_mixture(8).sample(9, torch.Generator()), name="ring"))


def test_moments_alone_are_those_of_the_features():
    real = RealImages(dataset())
    kept = collect(real, RandomConv(), batch=7)
    streamed = collect(real, RandomConv(), keep=False, batch=16)
    assert streamed.features is None
    assert streamed.moments.count == 40
    torch.testing.assert_close(
        streamed.moments.covariance, kept.moments.covariance, rtol=1e-4, atol=1e-9
    )


@pytest.mark.parametrize("keep", [True, False])
def test_references_are_kept_and_found_again(keep, calls):
    real, extractor = RealImages(dataset()), RandomConv()
    first = collect_reference(real, extractor, keep=keep)
    again = collect_reference(RealImages(dataset()), extractor, keep=keep)
    assert calls == [40]
    assert torch.equal(first.moments.outer, again.moments.outer)
    assert again.moments.count == 40
    assert (again.features is not None) == keep
    assert [path.suffix for path in cache_folder().iterdir()] == [".safetensors"]


def test_anything_that_changes_features_changes_the_file(calls):
    collect_reference(RealImages(dataset()), RandomConv())
    changed = dataset()
    changed._items[17, 0, 3, 3] = 1 - changed._items[17, 0, 3, 3]  # one value of one pixel
    collect_reference(RealImages(changed), RandomConv())
    collect_reference(RealImages(dataset(), mirror=True), RandomConv())
    collect_reference(RealImages(dataset(), "even"), RandomConv())
    collect_reference(RealImages(dataset()), RandomConv(seed=1))
    collect_reference(RealImages(dataset()), RandomConv(size=32))
    collect_reference(RealImages(dataset()), RandomConv(), cache=False)
    assert calls == [40, 40, 80, 20, 40, 40, 40]
    assert len(list(cache_folder().iterdir())) == 6


def test_a_damaged_reference_is_written_anew(calls):
    real = RealImages(dataset())
    whole = collect_reference(real, RandomConv())
    (path,) = cache_folder().iterdir()
    path.write_bytes(path.read_bytes()[:100])
    again = collect_reference(real, RandomConv())
    assert torch.equal(whole.features, again.features)
    assert calls == [40, 40]
    collect_reference(real, RandomConv())
    assert len(calls) == 2


def test_a_cache_that_cannot_be_written_costs_time_only(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert collect_reference(RealImages(dataset()), RandomConv()).count == 40


TWO_PROCESSES = """
import os
import sys
import torch
from pathlib import Path
from safetensors.torch import save_file
from torch import distributed
from fastgan.metrics.collect import collect, collect_reference
from fastgan.metrics.extractors import RandomConv
from fastgan.metrics.sources import RealImages, RenderedImages
from tests.metrics.test_collect import dataset
torch.set_num_threads(1)
rank, folder = int(sys.argv[1]), Path(sys.argv[2])
distributed.init_process_group(
    "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
)
real = RealImages(dataset(41))
seen = []
def render(numbers):
    seen.extend(numbers)
    return real.images(numbers)
kept = collect(RenderedImages(41, render), RandomConv(), batch=8)
streamed = collect(real, RandomConv(), keep=False, batch=8)
collect_reference(real, RandomConv())
cached = collect_reference(real, RandomConv())
save_file(
    {"features": kept.features, "outer": streamed.moments.outer, "cached": cached.features,
     "count": torch.tensor(streamed.moments.count), "seen": torch.tensor(seen)},
    folder / f"rank{rank}.safetensors",
)
os._exit(0)  # threads of gloo may abort a process that ends as usual
"""


def test_two_processes_find_what_one_does(tmp_path):
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", TWO_PROCESSES]
    processes = [
        subprocess.Popen([*command, str(rank), str(tmp_path)], env=environment) for rank in (0, 1)
    ]
    assert [process.wait(timeout=240) for process in processes] == [0, 0]
    real = RealImages(dataset(41))
    alone = collect(real, RandomConv(), batch=8)
    found = [load_file(tmp_path / f"rank{rank}.safetensors") for rank in (0, 1)]
    for one in found:
        torch.testing.assert_close(one["features"], alone.features, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(one["outer"], alone.moments.outer, rtol=1e-5, atol=1e-6)
        assert torch.equal(one["cached"], one["features"])
        assert int(one["count"]) == 41
    assert torch.equal(found[0]["features"], found[1]["features"])
    assert sorted(torch.cat([one["seen"] for one in found]).tolist()) == list(range(41))


def comparison(extractor, **options):
    real, fake = RealImages(dataset(60)), RealImages(dataset(50, seed=1))
    fakes = RenderedImages(50, fake.images)
    found = collect(real, extractor), collect(fakes, extractor)
    return Comparison(*found, extractor, real.split, 3, kid_subset=20, **options)


def test_scores_of_names_come_in_order_and_are_complete():
    found = evaluate(parse_metrics("dc, kid,fd,pr,nn,swd,kid"), comparison(RandomConv()))
    stems = ["Density", "Coverage", "KID", "FD", "Precision", "Recall", "NN-ratio", "NN-copies"]
    assert [score.name for score in found] == [f"{stem}-RandomConv" for stem in [*stems, "SWD"]]
    for score in found:
        for part in ("extractor random-conv", "resize bilinear antialiased 64x64", "60 real"):
            assert part in str(score)
        assert ", 50 fake, split all of shapes, seed 3" in str(score)


def test_copies_are_told_even_where_the_distance_is_small():
    real = RealImages(dataset(60))
    same = collect(real, Pixels())
    found = evaluate(["fd", "nn"], Comparison(same, same, Pixels(), "all", 0))
    assert found[0].value == pytest.approx(0, abs=1e-6)
    assert found[2].value == 1.0


def test_metrics_that_cannot_be_had_get_one_line():
    with pytest.raises(ConfigError, match=r"expected some of kid, fd, .* got 'kd'"):
        parse_metrics("fd,kd")
    with pytest.raises(ConfigError, match="got none"):
        parse_metrics(" ,")
    with pytest.raises(ConfigError, match="is needs a classifier, pixels is none"):
        check_names(["is"], Pixels())
    with pytest.raises(ConfigError, match="ask for fd, which on pixels is called FD-pixels"):
        check_names(["fid"], Pixels())
    small = collect(RealImages(dataset(10)), Pixels())
    with pytest.raises(ConfigError, match="kid needs at least 20 real and 20 fake images"):
        evaluate(["kid"], Comparison(small, small, Pixels(), "all", 0, kid_subset=20))


def test_large_sets_keep_moments_only_where_they_do():
    assert keeps_features(["fd"], 1000)
    assert not keeps_features(["fd", "is", "ppl"], 50_000)
    assert keeps_features(["fd", "kid"], 50_000)
