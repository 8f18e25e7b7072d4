"""Labels from dataset.json and from class folders, and the labels that are refused."""

import json

import numpy as np
import pytest
from PIL import Image

from fastgan.data import ImageDataset
from fastgan.errors import DataError


@pytest.fixture
def folder(tmp_path):
    """Six images in two class folders."""
    for i, name in enumerate(["cat/0", "cat/1", "cat/2", "dog/0", "dog/1", "dog/2"]):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), i, dtype=np.uint8)).save(path)
    return tmp_path


def names(folder):
    return [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.png"))]


def write(folder, content):
    (folder / "dataset.json").write_text(json.dumps(content))


def test_labels_are_off_by_default(folder):
    data = ImageDataset(folder)
    assert data.c_dim == 0
    assert data.label(0).shape == (0,)


def test_class_folders_become_one_hot_rows(folder):
    data = ImageDataset(folder, labels=True)
    assert data.c_dim == 2
    assert data.class_names == ("cat", "dog")
    assert data.batch([0, 5])[1].tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_class_numbers_in_dataset_json_win_over_folders(folder):
    write(folder, {"labels": [[name, 3 - i % 3] for i, name in enumerate(names(folder))]})
    data = ImageDataset(folder, labels=True)
    assert data.c_dim == 4
    assert data.labels(range(3)).argmax(dim=1).tolist() == [3, 2, 1]
    assert data.label_values.tolist() == [3, 2, 1, 3, 2, 1]


def test_vectors_in_dataset_json_are_kept(folder):
    vectors = [[i / 2, -1] for i in range(6)]
    write(folder, {"labels": [list(pair) for pair in zip(names(folder), vectors, strict=True)]})
    data = ImageDataset(folder, labels=True)
    assert data.c_dim == 2
    assert data.labels([4, 1]).tolist() == [[2.0, -1.0], [0.5, -1.0]]


def test_label_order_in_the_file_does_not_matter(folder):
    labels = [[name, i] for i, name in enumerate(names(folder))]
    write(folder, {"labels": labels[::-1]})
    assert ImageDataset(folder, labels=True).label_values.tolist() == [0, 1, 2, 3, 4, 5]


def test_subset_keeps_the_label_width_of_the_set(folder):
    write(folder, {"labels": [[name, i] for i, name in enumerate(names(folder))]})
    data = ImageDataset(folder, labels=True, max_images=2)
    assert data.c_dim == 6
    assert data.label_values.tolist() == [0, 3]


def test_images_without_label_are_named(folder):
    write(folder, {"labels": [[name, 0] for name in names(folder)[:4]]})
    with pytest.raises(DataError, match=r"2 of 6 images have no label.*dog/1\.png, dog/2\.png"):
        ImageDataset(folder, labels=True)


@pytest.mark.parametrize(
    "label",
    [-1, 2**40, True, 1.5, "cat", None, [], ["x"], [float("nan")], [10**400], [[1]]],
    ids=lambda label: repr(label)[:12],
)
def test_malformed_labels_are_named(folder, label):
    write(folder, {"labels": [[name, label] for name in names(folder)]})
    with pytest.raises(DataError, match=r"cat/0\.png: expected a class number"):
        ImageDataset(folder, labels=True)


@pytest.mark.parametrize("odd", [[1.0, 2.0], 3])
def test_mixed_kinds_of_label_are_refused(folder, odd):
    labels = [[name, [0.5]] for name in names(folder)]
    labels[-1][1] = odd
    write(folder, {"labels": labels})
    with pytest.raises(DataError, match="one kind of label"):
        ImageDataset(folder, labels=True)


@pytest.mark.parametrize("content", [{"labels": None}, {"labels": []}, {}, [1]])
def test_label_file_without_labels_is_refused_only_when_labels_are_wanted(folder, content):
    write(folder, content)
    assert ImageDataset(folder).c_dim == 0
    with pytest.raises(DataError, match="has no labels"):
        ImageDataset(folder, labels=True)


@pytest.mark.parametrize("content", [{"labels": {"a": 1}}, {"labels": [["only a name"]]}])
def test_label_entries_of_another_form_are_refused(folder, content):
    write(folder, content)
    with pytest.raises(DataError, match=r"expected \[file name, label\]"):
        ImageDataset(folder, labels=True)


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe\xff", b"[" * 200_000])
def test_broken_json_is_refused(folder, content):
    (folder / "dataset.json").write_bytes(content)
    with pytest.raises(DataError, match="not valid JSON"):
        ImageDataset(folder, labels=True)


@pytest.mark.parametrize("classes", [5, "abc", {"a": 0}, [1, 2]])
def test_class_names_of_another_form_are_refused(folder, classes):
    write(folder, {"labels": [[name, 0] for name in names(folder)], "classes": classes})
    with pytest.raises(DataError, match="classes: expected a list of names"):
        ImageDataset(folder, labels=True)


def test_loose_images_beside_class_folders_are_named(folder):
    Image.fromarray(np.zeros((4, 4, 3), dtype=np.uint8)).save(folder / "stray.png")
    with pytest.raises(DataError, match=r"outside any class folder.*stray\.png"):
        ImageDataset(folder, labels=True)


def test_a_single_class_folder_is_refused(folder):
    with pytest.raises(DataError, match=r"no dataset\.json"):
        ImageDataset(folder / "cat", labels=True)
