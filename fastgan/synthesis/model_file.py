"""`model.safetensors`: a generator's weights and, as JSON, how to rebuild and use it.

A model file holds tensors and plain settings; loading it runs nothing but constructors of
`fastgan.networks`. Checkpoints, which also hold what training needs, are in training/checkpoint.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from fastgan import networks
from fastgan._version import __version__
from fastgan.errors import CheckpointError, ConfigError
from fastgan.files import replacing

SHIPPED = "critters64"

_KEY = "fastgan"
_FORMAT = 1


@dataclass(frozen=True)
class NetworkSpec:
    """A network as data: a class of `fastgan.networks` and its arguments.

    Attributes:
        type: name of the class.
        arguments: keyword arguments, JSON values only.
    """

    type: str
    arguments: Mapping[str, Any]

    def build(self) -> nn.Module:
        """Construct the network with fresh weights.

        Raises: ConfigError when there is no such network, or it refuses the arguments.
        """
        known = [name for name in networks.__all__ if name.endswith(("Generator", "Discriminator"))]
        if self.type not in known:
            raise ConfigError(f"unknown network {self.type!r}; there are: {', '.join(known)}")
        try:
            network: nn.Module = getattr(networks, self.type)(**self.arguments)
        except TypeError as error:
            raise ConfigError(f"{self.type}: {error}") from error
        return network


@dataclass(frozen=True)
class ModelInfo:
    """What a model file says beside the weights.

    Attributes:
        network: how to rebuild the generator.
        recipe: name of the recipe that trained it.
        config: settings of the run, as JSON values.
        dataset: name and fingerprint of the training data.
        image_shape: (C, H, W) of an image, or (D,) of a point.
        c_dim: length of a label, 0 without labels.
        value_range: what black and white are in the generator's output.
        images_seen: reals shown in training.
        versions: of fastgan and torch at saving time.
    """

    network: NetworkSpec
    recipe: str
    config: Mapping[str, Any]
    dataset: Mapping[str, Any]
    image_shape: tuple[int, ...]
    c_dim: int
    images_seen: int
    value_range: tuple[float, float] = (-1.0, 1.0)
    versions: Mapping[str, str] = field(
        default_factory=lambda: {"fastgan": __version__, "torch": torch.__version__}
    )

    def to_json(self) -> str:
        """Return the entry of the file's header."""
        network = {"type": self.network.type, "arguments": dict(self.network.arguments)}
        return json.dumps({"format": _FORMAT, **vars(self), "network": network})

    @classmethod
    def from_json(cls, text: str) -> ModelInfo:
        """Read what `to_json` wrote.

        Raises: LookupError, TypeError or ValueError when it did not.
        """
        values = json.loads(text)
        if values.pop("format") != _FORMAT:
            raise ValueError(f"expected format {_FORMAT}; the file is from another version")
        network = NetworkSpec(**values.pop("network"))
        image_shape, value_range = tuple(values.pop("image_shape")), values.pop("value_range")
        return cls(
            network=network,
            image_shape=image_shape,
            value_range=(value_range[0], value_range[1]),
            **values,
        )


def save_model(path: str | os.PathLike[str], generator: nn.Module, info: ModelInfo) -> Path:
    """Write a generator, atomically: a reader sees the old file or the new one.

    Args:
        path: the file, by custom `model.safetensors`.
        generator: weights and buffers to write; usually the averaged copy.
        info: the header.

    Returns: the path.
    Raises: OSError when it cannot be written.
    """
    tensors = {key: value.detach().cpu() for key, value in generator.state_dict().items()}
    with replacing(path) as temporary:
        save_tensors(temporary, tensors, {_KEY: info.to_json()})
    return Path(path)


def load_model(path: str | os.PathLike[str]) -> tuple[nn.Module, ModelInfo]:
    """Rebuild a generator from its file, in evaluation mode, on the CPU.

    Weights that the file keeps in half precision become float32: they were halved for their size.

    Raises: CheckpointError when the file is missing, damaged, not a model, does not fit the
        network it names, or holds weights that are not finite.
    """
    tensors, header = load_tensors(path)
    if _KEY not in header:
        raise CheckpointError(f"{path}: not a fastgan model, its header has no {_KEY!r} entry")
    try:
        info = ModelInfo.from_json(header[_KEY])
        generator = info.network.build()
        generator.load_state_dict(tensors)
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: cannot rebuild the generator: {error}") from error
    if not all(bool(value.isfinite().all()) for value in tensors.values()):
        raise CheckpointError(
            f"{path}: its weights hold NaN or infinity; training went wrong before it was written"
        )
    is_double = any(tensor.dtype == torch.float64 for tensor in tensors.values())
    dtype = torch.float64 if is_double else torch.float32
    return generator.to(dtype).eval().requires_grad_(False), info


def load_generator(path: str | os.PathLike[str]) -> nn.Module:
    """Rebuild the generator of a model file; see load_model."""
    return load_model(path)[0]


def shipped_model() -> Path:
    """Return the path of the trained generator that comes with the package: critters, 64 x 64.

    Raises: CheckpointError when this installation has none.
    """
    path = Path(__file__).resolve().parent.parent / "assets" / f"{SHIPPED}.safetensors"
    if not path.is_file():
        raise CheckpointError(f"no shipped model: {path} is missing; install fastgan again")
    return path


def find_model(path: str | os.PathLike[str]) -> Path:
    """Return `path` if it is a file, or the model.safetensors in it if it is the folder of a run.

    Checkpoints hold weights by player, for a recipe to sort out; recipes are above this room.

    Raises: CheckpointError when the folder has no model, or it is a checkpoint for training.
    """
    path = Path(path)
    folder = path.parent if path.name == "tensors.safetensors" else path
    if (folder / "state.json").is_file():
        model = folder.absolute().parent.parent / "model.safetensors"
        raise CheckpointError(
            f"{path}: a checkpoint, for training to go on; the model that training writes with its "
            f"checkpoints is {model}"
        )
    if not path.is_dir():
        return path
    if not (path / "model.safetensors").is_file():
        raise CheckpointError(f"{path}: no model.safetensors in this folder")
    return path / "model.safetensors"


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    """Write tensors as safetensors; each gets storage of its own, as the format demands."""
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_file(own, path, metadata=dict(header))


def load_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read all tensors and the header of a safetensors file.

    Raises: CheckpointError when the file is missing or damaged.
    """
    if not Path(path).is_file():
        found = "a folder, expected a file" if Path(path).is_dir() else "no such file"
        raise CheckpointError(f"{path}: {found}")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: damaged or not a safetensors file ({error})") from error
