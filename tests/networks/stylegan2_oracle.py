"""StyleGAN2 written a second time, as functions of a state dict, to check the modules against.

Plain torch, one sample at a time, literal: zero insertion, filtering and convolution are separate
full-size steps, every modulated weight is built, noise is the stored one. Shares no code with the
package.
"""

from math import sqrt

import torch
import torch.nn.functional as F


def lrelu(x, gain=1.0, clamp=None):
    y = torch.where(x > 0, x, 0.2 * x) * sqrt(2) * gain
    return y if clamp is None else y.clamp(-clamp * gain, clamp * gain)


def normalize(x):
    return x / (x.pow(2).mean(dim=1, keepdim=True) + 1e-8).sqrt()


def dense(state, name, x, lr=1.0):
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    return torch.einsum("ni,oi->no", x, weight) * lr / sqrt(weight.shape[1]) + bias * lr


def mapping(state, z, c, prefix="mapping"):
    parts = [] if z is None else [normalize(z)]
    if c is not None:
        parts.append(normalize(dense(state, f"{prefix}.embed", c)))
    x = torch.cat(parts, dim=1)
    index = 0
    while f"{prefix}.fc{index}.weight" in state:
        x = lrelu(dense(state, f"{prefix}.fc{index}", x, lr=0.01))
        index += 1
    return x


def blur(x, taps, before, after, gain=1.0):
    """Convolve every channel with `taps` after zero padding by (before, after) on each axis."""
    kernel = taps.to(x.dtype).flip([0, 1])[None, None] * gain
    rows = F.pad(x, (before, after, before, after)).flatten(0, 1)[:, None]
    return F.conv2d(rows, kernel).unflatten(0, x.shape[:2])[:, :, 0]


def upsample(x, taps, margin=0):
    """Double the size: zeros after each pixel, then the four-tap filter with gain 4.

    `margin` keeps so many pixels of the filter's tail beyond each border.
    """
    n, channels, height, width = x.shape
    spread = torch.zeros(n, channels, 2 * height, 2 * width, dtype=x.dtype)
    spread[:, :, ::2, ::2] = x
    return blur(spread, taps, 2 + margin, 1 + margin, gain=4.0)


def modulated(x, weight, styles, demodulate, up=None):
    """One grouped convolution per sample, with the weight that its style makes."""
    images = []
    for image, style in zip(x, styles, strict=True):
        kernel = weight * style[None, :, None, None]
        if demodulate:
            norm = (kernel.pow(2).sum(dim=[1, 2, 3], keepdim=True) + 1e-8).sqrt()
            kernel = kernel / norm
        pad = kernel.shape[-1] // 2
        if up is None:
            images.append(F.conv2d(image[None], kernel, padding=pad)[0])
        else:  # a true convolution, as upsampling layers store their kernels
            spread = upsample(image[None], up, margin=pad)
            images.append(F.conv2d(spread, kernel.flip([2, 3]))[0])
    return torch.stack(images)


def style_layer(state, name, x, w, up, gain, clamp, noise):
    styles = dense(state, f"{name}.affine", w)
    taps = state[f"{name}.resample_filter"] if up else None
    y = modulated(x, state[f"{name}.weight"], styles, True, taps)
    if noise:
        y = y + state[f"{name}.noise_const"] * state[f"{name}.noise_strength"]
    return lrelu(y + state[f"{name}.bias"][None, :, None, None], gain, clamp)


def to_rgb(state, name, x, w, clamp):
    weight = state[f"{name}.weight"]
    styles = dense(state, f"{name}.affine", w) / sqrt(weight.shape[1])
    y = modulated(x, weight, styles, False) + state[f"{name}.bias"][None, :, None, None]
    return y if clamp is None else y.clamp(-clamp, clamp)


def synthesis(state, ws, levels, clamp=None, noise=True):
    """Image of styles ws [N, num_ws, w_dim]; the architecture is read off the names."""
    img, index = None, 0
    x = state["synthesis.b4.const"][None].repeat(ws.shape[0], 1, 1, 1)
    for level in levels:
        name = f"synthesis.b{level}"
        residual = f"{name}.skip.weight" in state
        shortcut = None
        if residual:
            weight = state[f"{name}.skip.weight"] / sqrt(x.shape[1])
            taps = state[f"{name}.skip.resample_filter"]
            shortcut = F.conv2d(upsample(x, taps), weight) * sqrt(0.5)
        if level > 4:
            x = style_layer(state, f"{name}.conv0", x, ws[:, index], True, 1.0, clamp, noise)
            index += 1
        gain = sqrt(0.5) if residual else 1.0
        x = style_layer(state, f"{name}.conv1", x, ws[:, index], False, gain, clamp, noise)
        index += 1
        x = x if shortcut is None else x + shortcut
        img = img if img is None else upsample(img, state[f"{name}.resample_filter"])
        if f"{name}.torgb.weight" in state:
            rgb = to_rgb(state, f"{name}.torgb", x, ws[:, index], clamp)
            img = rgb if img is None else img + rgb
    return img


def conv(state, name, x, act=True, down=False, gain=1.0, clamp=None):
    weight = state[f"{name}.weight"]
    weight = weight / sqrt(weight[0].numel())
    pad = weight.shape[-1] // 2
    if down:  # blur at full size, convolve every pixel, keep every second one
        taps = state[f"{name}.resample_filter"]
        x = F.conv2d(blur(x, taps, 1 + pad, 1 + pad), weight)[:, :, ::2, ::2]
    else:
        x = F.conv2d(x, weight, padding=pad)
    if f"{name}.bias" in state:
        x = x + state[f"{name}.bias"][None, :, None, None]
    return lrelu(x, gain, clamp) if act else x * gain


def batch_deviation(x, group, slices=1):
    """Minibatch standard deviation with plain loops over groups and slices."""
    n, channels, height, width = x.shape
    while n % group:
        group -= 1
    maps = torch.zeros(n, slices, height, width, dtype=x.dtype)
    for first in range(n // group):
        members = list(range(first, n, n // group))
        for s in range(slices):
            part = x[members][:, s * channels // slices : (s + 1) * channels // slices]
            variance = (part - part.mean(dim=0)).pow(2).mean(dim=0)
            maps[members, s] = (variance + 1e-8).sqrt().mean()
    return torch.cat([x, maps], dim=1)


def discriminator(state, img, c, levels, clamp=None, group=4):
    """Logits of images; the architecture is read off the names."""
    x = None
    for level in reversed(levels[1:]):
        name = f"b{level}"
        if f"{name}.fromrgb.weight" in state:
            lifted = conv(state, f"{name}.fromrgb", img, clamp=clamp)
            x = lifted if x is None else x + lifted
        residual = f"{name}.skip.weight" in state
        gain = sqrt(0.5) if residual else 1.0
        y = conv(state, f"{name}.conv0", x, clamp=clamp)
        y = conv(state, f"{name}.conv1", y, down=True, gain=gain, clamp=clamp)
        if residual:
            y = y + conv(state, f"{name}.skip", x, act=False, down=True, gain=gain)
        x = y
        if "b4.fromrgb.weight" in state:
            img = blur(img, state[f"{name}.resample_filter"], 1, 1)[:, :, ::2, ::2]
    if "b4.fromrgb.weight" in state:
        x = x + conv(state, "b4.fromrgb", img, clamp=clamp)
    x = conv(state, "b4.conv", batch_deviation(x, group), clamp=clamp)
    x = dense(state, "b4.out", lrelu(dense(state, "b4.fc", x.flatten(1))))
    if c is None:
        return x
    cmap = mapping(state, None, c)
    return (x * cmap).sum(dim=1, keepdim=True) / sqrt(cmap.shape[1])
