"""Every way to compute a convolution, in float64's company: the algorithms, sizes, threads."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fastgan.synthesis.tuning import SPLITS

SIZES = ((4, 4), (5, 7), (8, 8), (9, 13), (16, 12))
CHANNELS = ((16, 16), (24, 40), (1, 3), (64, 96))
MAX_ERROR = 1e-4  # of the standard deviation, the bound of the whole image; single layers are below
W_DIM = 6


def exact_conv(x, weight, styles, noise, bias, up):
    """The layer, spelled out: scale, demodulate, convolve, filter, finish."""
    w = weight * styles[None, :, None, None]
    w = w * (w.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).rsqrt()
    if up:
        taps = torch.tensor([1.0, 3, 3, 1], dtype=torch.float64) / 4
        y = F.conv_transpose2d(x[None], w.transpose(0, 1), stride=2)
        depthwise = torch.outer(taps, taps).expand(len(w), 1, 4, 4)
        y = F.conv2d(F.pad(y, (1, 1, 1, 1)), depthwise, groups=len(w))[0]
    else:
        y = F.conv2d(x[None], w, padding=1)[0]
    return F.leaky_relu(y + noise + bias[:, None, None], 0.2) * 2**0.5


class Net:
    """Two levels with random weights, in the engine and in float64."""

    def __init__(self, size, channels, seed=0):
        g = torch.Generator().manual_seed(seed)
        c_in, c_out = channels
        height, width = size

        def normal(*shape):
            return torch.randn(*shape, generator=g)

        self.const = normal(c_in, height, width)
        shapes = [(c_in, c_in, size, False), (c_in, c_out, size, True)]
        shapes.append((c_out, c_out, (2 * height, 2 * width), False))
        self.convs = []
        for i, o, (h, w), up in shapes:
            out = (2 * h, 2 * w) if up else (h, w)
            affine_bias = 1 + 0.1 * normal(i)
            tensors = (normal(o, i, 3, 3), normal(o), 0.3 * normal(i, W_DIM), affine_bias)
            self.convs.append((*tensors, normal(*out), up))
        self.images = [
            (normal(3, c) / c**0.5, normal(3), 0.3 * normal(c, W_DIM), 1 + 0.1 * normal(c))
            for c in (c_in, c_out)
        ]

    def build(self, engine, choice=None, isa="", half=False, threads=2, **settings):
        """Fill an engine; `choice` for all convolutions, or a list with one for each."""
        choices = choice if isinstance(choice, list) else [choice] * len(self.convs)
        net = engine.Network(
            W_DIM, 5, 3, self.const.numpy(), slope=0.2, gain=2**0.5, clamp=-1.0, filter_ratio=3.0,
            half_weights=half, isa=isa, **settings,
        )  # fmt: skip
        for index, (*tensors, noise, up) in enumerate(self.convs):
            net.add_conv(
                *(t.numpy() for t in tensors), noise=noise.numpy(), noise_strength=0.1, up=up,
                w_index=index, choice=choices[index], threads=threads,
            )  # fmt: skip
            if not up:
                image = self.images[index // 2]
                net.add_image(*(t.numpy() for t in image), w_index=index + 1, clamp=-1.0)
        return net

    def exact(self, ws):
        """[N, 3, H, W] in float64."""
        return torch.stack([self._exact(w.double()) for w in ws])

    def _exact(self, w):
        x, image = self.const.double(), None
        for index, (*tensors, noise, up) in enumerate(self.convs):
            weight, bias, affine, affine_bias = (t.double() for t in tensors)
            styles = affine @ w[index] + affine_bias
            x = exact_conv(x, weight, styles, 0.1 * noise.double(), bias, up)
            if up:
                continue
            weight, bias, affine, affine_bias = (t.double() for t in self.images[index // 2])
            styles = affine @ w[index + 1] + affine_bias
            rgb = torch.einsum("ci,ihw->chw", weight * styles, x) + bias[:, None, None]
            image = rgb if image is None else rgb + upsampled(image)
        return image


def upsampled(image):
    taps = torch.tensor([1.0, 3, 3, 1], dtype=torch.float64) / 4
    depthwise = torch.outer(taps, taps).expand(len(image), 1, 4, 4)
    return F.conv_transpose2d(image[None], depthwise, stride=2, padding=1, groups=len(image))[0]


def error(found, exact):
    exact = exact.detach()
    return float((torch.as_tensor(found).double() - exact).abs().max() / exact.std())


def choices(tile):
    return [
        {"tile": tile, "split": split, "batch": batch, "columns": columns}
        for split in SPLITS
        for batch, columns in ((3, 1), (5, 1), (24, 1), (64, 1))
    ]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("tile", [1, 2, 4])
def test_every_algorithm_is_exact_at_every_size(engine, isa, tile, size):
    net = Net(size, (16, 24))
    ws = torch.randn(2, 5, W_DIM, generator=torch.Generator().manual_seed(1))
    exact = net.exact(ws)
    for choice in choices(tile):
        pixels = net.build(engine, choice, isa).render_pixels(ws.numpy(), None, 2)
        assert error(pixels, exact) <= MAX_ERROR, choice


@pytest.mark.parametrize("channels", CHANNELS, ids=str)
def test_any_number_of_channels_is_exact(engine, isa, channels):
    net = Net((6, 8), channels)
    ws = torch.randn(3, 5, W_DIM, generator=torch.Generator().manual_seed(1))
    pixels = net.build(engine, isa=isa).render_pixels(ws.numpy(), None, 2)
    assert error(pixels, net.exact(ws)) <= MAX_ERROR


@pytest.mark.parametrize("columns", [2, 3, 4])
def test_every_width_of_the_products_is_exact(engine, isa, columns):
    channels = columns * engine.lanes(isa)
    net = Net((8, 8), (channels, channels))
    ws = torch.randn(1, 5, W_DIM, generator=torch.Generator().manual_seed(1))
    exact = net.exact(ws)
    for tile, split in itertools.product((1, 2, 4), SPLITS):
        choice = {"tile": tile, "split": split, "batch": 7, "columns": columns}
        assert error(net.build(engine, choice, isa).render_pixels(ws.numpy(), None, 2), exact) <= (
            MAX_ERROR
        )


@pytest.mark.parametrize("size", [(9, 13), (22, 31)], ids=str)
@pytest.mark.parametrize("tile", [2, 4])
def test_tiles_that_go_in_where_others_went_out_are_exact(engine, isa, tile, size):
    """Layers of one vector of outputs, whose products take the place of their inputs."""
    lanes = engine.lanes(isa)
    net = Net(size, (3 * lanes, lanes))
    ws = torch.randn(2, 5, W_DIM, generator=torch.Generator().manual_seed(1))
    exact = net.exact(ws)
    for batch in (1, 3, 5, 16, 40):
        choice = {"tile": tile, "split": "rows", "batch": batch, "columns": 1}
        for pair_bytes in (0, 1 << 30):
            built = net.build(engine, choice, isa, pair_bytes=pair_bytes)
            assert error(built.render_pixels(ws.numpy(), None, 3), exact) <= MAX_ERROR


@pytest.mark.parametrize(("size", "channels"), [((250, 256), (56, 16)), ((316, 330), (32, 16))])
def test_images_that_go_around_the_caches_are_exact(engine, isa, size, channels):
    """Those of more than 12 MB, which rows of a thread's own leave by way of a strip, whether of
    many features or of few."""
    net = Net(size, channels)
    ws = torch.randn(1, 5, W_DIM, generator=torch.Generator().manual_seed(1))
    around = {"tile": 4, "split": "rows", "batch": 16, "columns": 1}
    found = net.build(engine, around, isa).render_pixels(ws.numpy(), None, 3)
    assert error(found, net.exact(ws)) <= MAX_ERROR
    plain = net.build(engine, {**around, "split": "channels"}, isa)
    assert np.array_equal(found, plain.render_pixels(ws.numpy(), None, 3))


def test_rounding_of_minimal_filtering_is_as_small_as_stated(engine):
    """The tiles of 4 lose no more than the documented few parts in a million."""
    net = Net((16, 16), (64, 64))
    ws = torch.randn(1, 5, W_DIM, generator=torch.Generator().manual_seed(1))
    exact = net.exact(ws)
    for tile in (1, 2, 4):
        choice = {"tile": tile, "split": "team", "batch": 16, "columns": 1}
        assert error(net.build(engine, choice).render_pixels(ws.numpy(), None, 2), exact) <= 1e-5


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_images_do_not_depend_on_threads_or_batch(engine, threads):
    net = Net((12, 8), (32, 48))
    ws = torch.randn(5, 5, W_DIM, generator=torch.Generator().manual_seed(1)).numpy()
    for choice in (*choices(2), *choices(4)):
        built = net.build(engine, choice)
        expected = built.render_pixels(ws, None, 2)
        assert np.array_equal(built.render_pixels(ws, None, threads), expected)
        one_by_one = [built.render_pixels(ws[i : i + 1], None, threads) for i in range(5)]
        assert np.array_equal(np.concatenate(one_by_one), expected)


def test_a_large_frame_after_a_small_one_and_back(engine):
    net = Net((8, 8), (16, 16))
    ws = torch.randn(4, 5, W_DIM, generator=torch.Generator().manual_seed(1)).numpy()
    built = net.build(engine)
    first = built.render(ws[:1], None, 1)
    all_four = built.render(ws, None, 3)
    assert np.array_equal(all_four[:1], first)
    assert np.array_equal(built.render(ws[:1], None, 2), first)
    assert built.render(ws[:0], None, 2).shape == (0, 16, 16, 3)


def test_noise_of_the_call_replaces_the_stored_one(engine):
    net = Net((4, 4), (16, 16))
    ws = torch.randn(2, 5, W_DIM, generator=torch.Generator().manual_seed(1))
    built = net.build(engine)
    stored = [noise.expand(2, -1, -1).numpy() for *_, noise, _ in net.convs]
    assert np.array_equal(
        built.render_pixels(ws.numpy(), stored, 2), built.render_pixels(ws.numpy(), None, 2)
    )
    drawn = [np.random.default_rng(0).normal(size=n.shape).astype(np.float32) for n in stored]
    changed = built.render_pixels(ws.numpy(), drawn, 2)
    for sample in range(2):
        again = Net((4, 4), (16, 16))
        again.convs = [
            (*conv[:4], torch.from_numpy(draw[sample]), conv[5])
            for conv, draw in zip(net.convs, drawn, strict=True)
        ]
        assert (
            error(changed[sample : sample + 1], again.exact(ws[sample : sample + 1])) <= MAX_ERROR
        )


def test_half_precision_weights_are_close(engine, isa):
    net = Net((16, 16), (32, 32))
    ws = torch.randn(1, 5, W_DIM, generator=torch.Generator().manual_seed(1))
    exact, half = net.exact(ws), net.build(engine, isa=isa, half=True)
    found = error(half.render_pixels(ws.numpy(), None, 2), exact)
    assert MAX_ERROR < found <= 2e-2  # it is half precision, and it works
    full = net.build(engine, isa=isa).profile(ws.numpy(), 2)
    packed = [row["weight_bytes"] for row in half.profile(ws.numpy(), 2)]
    assert packed[1:] == [row["weight_bytes"] // 2 for row in full[1:]]
