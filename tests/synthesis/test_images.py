"""Bytes, grids and PNG files."""

import pytest
import torch
from PIL import Image

from fastgan.synthesis.images import enlarge, make_grid, save_png, to_uint8


def test_to_uint8_maps_the_ends_and_limits_the_rest():
    x = torch.tensor([-1.0, 0.0, 1.0, -3.0, 7.0, float("nan"), float("inf"), -float("inf")])
    y = to_uint8(x.reshape(1, 1, 1, 8))
    assert y.dtype == torch.uint8
    assert y.flatten().tolist() == [0, 128, 255, 0, 255, 0, 255, 0]


def test_to_uint8_inverts_the_decoding_of_data():
    levels = torch.arange(256, dtype=torch.float32)
    y = to_uint8((levels / 127.5 - 1).reshape(1, 1, 16, 16))
    assert y.flatten().tolist() == list(range(256))


def test_to_uint8_puts_channels_last():
    x = torch.zeros(2, 3, 4, 5)
    x[1, 2, 3, 4] = 1.0
    y = to_uint8(x)
    assert y.shape == (2, 4, 5, 3)
    assert y[1, 3, 4, 2] == 255


def test_make_grid_places_images_row_by_row_between_borders():
    images = torch.arange(1, 6, dtype=torch.uint8).reshape(5, 1, 1, 1).expand(5, 2, 3, 1)
    grid = make_grid(images, columns=3, padding=1, fill=0)
    assert grid.shape == (2 * 3 + 1, 3 * 4 + 1, 1)
    row = [0, 1, 1, 1, 0, 2, 2, 2, 0, 3, 3, 3, 0]
    assert grid[1, :, 0].tolist() == row
    assert grid[2, :, 0].tolist() == row
    assert grid[3].sum() == 0
    assert grid[4, :, 0].tolist() == [0, 4, 4, 4, 0, 5, 5, 5, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(("count", "shape"), [(1, (1, 1)), (4, (2, 2)), (5, (2, 3)), (7, (3, 3))])
def test_make_grid_is_as_square_as_possible(count, shape):
    grid = make_grid(torch.zeros(count, 1, 1, 3, dtype=torch.uint8), padding=0)
    assert grid.shape[:2] == shape


def test_make_grid_refuses_nothing_and_bad_layouts():
    images = torch.zeros(2, 4, 4, 3, dtype=torch.uint8)
    for bad in ((images[:0], 1, 1), (images, 0, 1), (images, 1, -1)):
        with pytest.raises(ValueError, match="make_grid"):
            make_grid(*bad)


def test_enlarge_repeats_pixels():
    image = torch.tensor([[[1], [2]]], dtype=torch.uint8)
    assert enlarge(image, 2)[:, :, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2]]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_save_png_keeps_pixels_and_metadata(tmp_path, channels):
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(256, (5, 7, channels), generator=generator, dtype=torch.uint8)
    path = save_png(tmp_path / "new" / "a.png", image, {"synthetic": True, "seed": 3, "note": "x"})
    with Image.open(path) as picture:
        assert picture.text == {"synthetic": "true", "seed": "3", "note": "x"}
        pixels = torch.tensor(list(picture.tobytes()), dtype=torch.uint8)
    assert torch.equal(pixels.reshape(5, 7, channels), image)


def test_save_png_leaves_nothing_behind_when_it_fails(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(b"old")

    def fail(self, path, **options):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save_png(tmp_path / "a.png", torch.zeros(2, 2, 3, dtype=torch.uint8))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"old"
