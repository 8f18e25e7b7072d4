"""Pixels: colour modes, transparency, orientation, cropping and resizing."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from fastgan.data import ImageDataset
from fastgan.errors import DataError


@pytest.mark.parametrize("name", ["i.jpg", "i.jpeg", "i.webp"])
def test_lossy_formats_are_read_closely(tmp_path, save, name):
    ramp = np.linspace(0, 255, 32).astype(np.uint8)
    pixels = save(tmp_path / name, np.stack([np.tile(ramp, (32, 1))] * 3, axis=2), quality=95)
    image = ImageDataset(tmp_path).image(0).permute(1, 2, 0).numpy().astype(int)
    assert np.abs(image - pixels).mean() < 4


def test_batch_maps_bytes_to_the_signed_unit_interval(tmp_path, save):
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    save(tmp_path / "ramp.png", ramp)
    images, labels = ImageDataset(tmp_path).batch(torch.tensor([0]))
    expected = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    assert images.dtype == torch.float32
    assert images.flatten()[[0, 255]].tolist() == [-1.0, 1.0]
    assert torch.allclose(images.flatten().double(), expected, atol=1e-7)
    assert labels.shape == (1, 0)


def test_transparency_is_composited_over_white(tmp_path, save):
    pixels = np.zeros((1, 3, 4), dtype=np.uint8)
    pixels[0, :, 0] = 200
    pixels[0, :, 3] = [0, 128, 255]
    save(tmp_path / "a.png", pixels)
    image = ImageDataset(tmp_path).image(0)
    assert image.shape == (3, 1, 3)
    assert image[:, 0, 0].tolist() == [255, 255, 255]
    assert image[:, 0, 2].tolist() == [200, 0, 0]
    half = image[:, 0, 1].int()
    assert abs(half - torch.tensor([227, 127, 127])).max() <= 1


def test_palette_transparency_is_composited_over_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=1)
    pixels = ImageDataset(tmp_path).image(0)
    assert pixels[:, 0].T.tolist() == [[10, 20, 30], [255, 255, 255]]


def test_grey_sets_stay_grey_unless_asked(tmp_path, save, noise):
    grey = save(tmp_path / "a.png", noise(channels=1))
    assert ImageDataset(tmp_path).image_shape == (1, 8, 8)
    wide = ImageDataset(tmp_path, channels=3)
    assert wide.image_shape == (3, 8, 8)
    assert np.array_equal(wide.image(0).numpy(), np.stack([grey] * 3))


def test_one_colour_image_makes_the_set_rgb(tmp_path, save, noise):
    save(tmp_path / "a.png", noise(channels=1))
    save(tmp_path / "b.png", noise())
    assert ImageDataset(tmp_path).image_shape == (3, 8, 8)
    assert ImageDataset(tmp_path, channels=1).image_shape == (1, 8, 8)


def test_sixteen_bit_grey_keeps_its_upper_byte(tmp_path, save):
    values = np.array([[0, 255, 256, 32768, 65535]], dtype=np.uint16)
    save(tmp_path / "a.png", values)
    assert ImageDataset(tmp_path).image(0).flatten().tolist() == [0, 0, 1, 128, 255]


def test_camera_orientation_is_applied(tmp_path, save):
    pixels = np.zeros((16, 32, 3), dtype=np.uint8)
    pixels[:, :16] = 255  # white left half; tag 6 turns it into the upper half
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "a.jpg", pixels, exif=exif, quality=95)
    image = ImageDataset(tmp_path).image(0)
    assert image.shape == (3, 32, 16)
    assert image[:, :12].min() > 200
    assert image[:, 20:].max() < 55


@pytest.mark.parametrize("resize_filter", ["lanczos", "box"])
def test_resolution_crops_the_centre_and_resizes(tmp_path, save, resize_filter):
    wide = np.zeros((16, 48, 3), dtype=np.uint8)
    wide[:, 16:32] = 200
    save(tmp_path / "wide.png", wide)
    save(tmp_path / "tall.png", wide.transpose(1, 0, 2).copy())
    save(tmp_path / "small.png", np.full((4, 4, 3), 200, dtype=np.uint8))
    data = ImageDataset(tmp_path, resolution=8, resize_filter=resize_filter)
    assert data.image_shape == (3, 8, 8)
    for i in range(3):
        assert (data.image(i) == 200).all()


def test_resolution_is_height_then_width(tmp_path, save, noise):
    pixels = save(tmp_path / "a.png", noise(8, 8))
    data = ImageDataset(tmp_path, resolution=(4, 8), resize_filter="box")
    assert data.image_shape == (3, 4, 8)
    assert np.array_equal(data.image(0).permute(1, 2, 0).numpy(), pixels[2:6])


def test_box_resize_averages(tmp_path, save, noise):
    pixels = save(tmp_path / "a.png", noise(8, 8, 1))
    mean = pixels.reshape(4, 2, 4, 2).mean(axis=(1, 3))
    image = ImageDataset(tmp_path, resolution=4, resize_filter="box").image(0)[0].numpy()
    assert np.abs(image - mean).max() <= 1  # rounded once per axis


def test_huge_images_are_refused_before_decoding(tmp_path):
    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    for name, side in [("above.png", 10_000), ("far.png", 50_000)]:
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        body = chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    with pytest.raises(DataError, match="2 of 2") as caught:
        ImageDataset(tmp_path, resolution=8)
    assert "10000x10000 pixels, above the safety limit" in str(caught.value)


def test_transparency_is_kept_when_asked(tmp_path, save):
    pixels = np.zeros((1, 3, 4), dtype=np.uint8)
    pixels[0, :, 0] = 200
    pixels[0, :, 3] = [0, 128, 255]
    save(tmp_path / "a.png", pixels)
    image = ImageDataset(tmp_path, channels=4).image(0)
    assert image.shape == (4, 1, 3)
    assert image[:, 0, 0].tolist() == [255, 255, 255, 0]  # cannot be seen: white
    assert image[:, 0, 1:].T.tolist() == [[200, 0, 0, 128], [200, 0, 0, 255]]


def test_resizing_does_not_mix_in_what_cannot_be_seen(tmp_path, save):
    pixels = np.zeros((8, 8, 4), dtype=np.uint8)
    pixels[:, :] = [0, 255, 0, 0]  # invisible green beside opaque red
    pixels[:, 4:] = [255, 0, 0, 255]
    save(tmp_path / "a.png", pixels)
    image = ImageDataset(tmp_path, channels=4, resolution=3, resize_filter="box").image(0)
    red, green, _, alpha = image[:, 0].int()
    assert alpha.tolist() == [0, 128, 255]
    assert green.tolist() == [255, 0, 0]
    assert red.tolist() == [255, 255, 255]


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "P", "I;16"])
def test_images_of_every_mode_become_rgba(tmp_path, mode):
    image = Image.new(mode, (4, 4))
    image.save(tmp_path / "a.png")
    pixels = ImageDataset(tmp_path, channels=4).image(0)
    assert pixels.shape == (4, 4, 4)
    opaque = mode != "LA"
    assert pixels[:, 0, 0].tolist() == ([0, 0, 0, 255] if opaque else [255, 255, 255, 0])
