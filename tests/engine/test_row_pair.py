"""An upsampling convolution and the next one row by row: the same bits as one after the other."""

import itertools

import numpy as np
import pytest
import torch

from tests.engine.test_layers import W_DIM, Net

NEVER = 2**40  # bytes; 0 pairs every level


def choice(tile, split="rows", batch=5):
    return {"tile": tile, "split": split, "batch": batch, "columns": 1}


@pytest.mark.parametrize("size", [(4, 4), (5, 7), (9, 13), (23, 6), (32, 8)], ids=str)
@pytest.mark.parametrize("tiles", list(itertools.product((2, 4), (2, 4))), ids=str)
def test_pairs_give_the_same_bits(engine, isa, size, tiles):
    net = Net(size, (24, 40))
    choices = [choice(1), choice(tiles[0]), choice(tiles[1])]
    apart = net.build(engine, choices, isa, pair_bytes=NEVER)
    paired = net.build(engine, choices, isa, pair_bytes=0)
    ws = torch.randn(3, 5, W_DIM).numpy()
    for samples, threads in ((1, 1), (1, 2), (3, 2), (2, 3), (1, 7)):
        expected = apart.render_pixels(ws[:samples], None, threads)
        found = paired.render_pixels(ws[:samples], None, threads)
        assert np.array_equal(found, expected), (samples, threads)
    assert paired.memory()["total"] != apart.memory()["total"]  # it was a pair


def test_a_pair_saves_the_image_between(engine):
    net, choices = Net((64, 64), (16, 16)), [choice(2), choice(4), choice(4)]
    apart, paired = (net.build(engine, choices, pair_bytes=b) for b in (NEVER, 0))
    for each in (apart, paired):
        each.render(np.zeros((4, 5, W_DIM), np.float32), None, 2)
    image, rings = 4 * 128 * 128 * 16 * 4, 2 * 16 * 131 * 16 * 4
    saved = apart.memory()["total"] - paired.memory()["total"]
    assert saved > 0.8 * image - 2 * rings


@pytest.mark.parametrize("choices", [
    [choice(4), choice(1), choice(4)],  # rows of two: too few for a step
    [choice(4), choice(4), choice(1)],  # a direct convolution reads whole rows of tiles of one
    [choice(4), choice(4, "team"), choice(4)],
    [choice(4), choice(4), choice(4, "channels")],
], ids=["up direct", "conv direct", "up team", "conv channels"])  # fmt: skip
def test_what_does_not_fit_runs_apart(engine, choices):
    net = Net((8, 8), (32, 32))
    ws = torch.randn(2, 5, W_DIM).numpy()
    apart, paired = (net.build(engine, choices, pair_bytes=b) for b in (NEVER, 0))
    expected = apart.render_pixels(ws, None, 2)
    assert np.array_equal(paired.render_pixels(ws, None, 2), expected)
    assert paired.memory()["total"] == apart.memory()["total"]


def test_the_profile_shares_out_the_time_of_a_pair(engine):
    net = Net((16, 16), (16, 16)).build(engine, choice(4), pair_bytes=0)
    rows = net.profile(np.zeros((1, 5, W_DIM), np.float32), 2)
    assert len(rows) == 4
    assert all(row["seconds"] > 0 for row in rows)
    assert all(stage["product"] > 0 for stage in rows[2]["stages"] + rows[3]["stages"])
