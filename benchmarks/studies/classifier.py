"""A small convolutional classifier, trained on real images, that reads the labels of fakes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


def train_classifier(
    images: Tensor, labels: Tensor, *, epochs: int = 12, seed: int = 0
) -> nn.Module:
    """Train on images.

    Args:
        images: uint8 [N, C, 32, 32].
        labels: class numbers [N].

    Returns: a network from float images in [-1, 1] to logits, in evaluation mode.
    """
    torch.manual_seed(seed)
    net = nn.Sequential(
        *_block(images.shape[1], 32), *_block(32, 64), *_block(64, 128),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(128 * 16, int(labels.max()) + 1),
    )  # fmt: skip
    steps = epochs * (len(images) // 64)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for step in range(steps):
        if step % (len(images) // 64) == 0:
            order = torch.randperm(len(images)).split(64)
        chosen = order[step % (len(images) // 64)]
        loss = cross_entropy(net(as_floats(images[chosen])), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval().requires_grad_(False)


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]


def accuracy(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of images, uint8 [N, C, H, W], that the network gives their label."""
    found = [net(as_floats(part)).argmax(dim=1) for part in images.split(256)]
    return float((torch.cat(found) == labels).float().mean())


def as_floats(images: Tensor) -> Tensor:
    """Return bytes as numbers in [-1, 1]."""
    return images.float().div(127.5).sub(1.0)
