"""StyleGAN2: style mixing, lazy R1 and path length regularisation, averaged generator.

Source: Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN"; the automatic
settings: Karras et al. 2020, "Training GANs with Limited Data", appendix C; the relativistic
objective with R1 and R2: Huang et al. 2024, "The GAN is dead; long live the GAN!" (R3GAN).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import isqrt
from typing import Any, Literal

from torch import nn

from fastgan.config import check_choice, check_range
from fastgan.data import Dataset
from fastgan.errors import ConfigError
from fastgan.networks import PackedDiscriminator, StyleGAN2Discriminator
from fastgan.recipes.burn_in import BurnIn
from fastgan.recipes.style_mixing import StyleMixing
from fastgan.synthesis.model_file import NetworkSpec
from fastgan.training import (
    R1,
    R2,
    AugmentedConfig,
    Edge,
    NonSaturating,
    PathLength,
    Player,
    Regularizer,
    RelativisticPairing,
    Sampler,
    TrainingRecipe,
    adam,
    augmentation_for,
    conditioning_for,
)

NAME = "stylegan2"


@dataclass(frozen=True, kw_only=True)
class Config(BurnIn, AugmentedConfig):
    """Settings of StyleGAN2; the image size comes from the dataset."""

    total_kimg: float = 25000.0
    ema_ramp: float | None = None
    z_dim: int = 512
    """Width of the latent z."""
    w_dim: int = 512
    """Width of the intermediate latent w."""
    mapping_layers: int = 8
    """Fully connected layers from z to w."""
    mapping_lr: float = 0.01
    """Learning rate of these layers, as a factor of lr_g."""
    channel_base: int = 32768
    """Both networks have min(channel_base / resolution, channel_max) channels at a resolution."""
    channel_max: int = 512
    """Most channels at any resolution."""
    g_architecture: Literal["skip", "resnet", "orig"] = "skip"
    """How the generator's resolutions are joined."""
    d_architecture: Literal["skip", "resnet", "orig"] = "resnet"
    """How the discriminator's resolutions are joined."""
    num_fp16_res: int = 0
    """Mixed precision: so many of the highest resolutions (never below 8) compute in half_dtype on
    CUDA. Weights, images, losses and the optimiser stay float32."""
    half_dtype: Literal["float16", "bfloat16"] = "float16"
    """Which half precision: float16 is finer and overflows at 65504, so give it a conv_clamp;
    bfloat16 has the range of float32 and an eighth of float16's digits."""
    half_on_cpu: bool = False
    """Use half precision on the CPU, too, where it is slower than float32; for checking."""
    conv_clamp: float | None = None
    """Limit on the magnitude of every convolution's output; 256 for float16. None: no limit."""
    use_noise: bool = True
    """Whether noise enters the generator's layers: fine random detail, of no use for flat art."""
    pack: int = 1
    """Images that the discriminator judges together; more than 1 works against mode collapse."""
    mbstd_group: int = 4
    """Images over which the discriminator's minibatch standard deviation is taken."""
    freeze_d: int = 0
    """Freeze-D: so many of the discriminator's layers, from the image inwards, are not trained.
    For --init-from with little data, such as 10: a block has 3, the first one 4."""
    objective: Literal["non-saturating", "rpgan"] = "non-saturating"
    """rpgan: D tells each real from the fake beside it (relativistic pairing); it needs R1 and R2
    in each step, --r1-every 1 --r2-gamma None, as in the preset lite-r3gan."""
    r1_gamma: float | None = None
    """Weight of the R1 penalty, which keeps D from growing too sure of itself; 0 is without. None:
    the heuristic 0.0002 * height * width / batch, printed at the start. It is a first guess: where
    results disappoint, try a fifth and five times of it. Too low: D wins, samples collapse or turn
    into noise. Too high: samples are varied but stay coarse."""
    r2_gamma: float | None = 0.0
    """Weight of the R2 penalty, R1's counterpart on fakes; 0 is without. None: as r1_gamma."""
    r1_every: int = 16
    """Steps from one R1 penalty to the next, and from one R2 penalty to the next."""
    pl_weight: float = 2.0
    """Weight of the path length penalty; 0 is without."""
    pl_every: int = 4
    """Steps from one path length penalty to the next."""
    style_mixing: float = 0.9
    """Probability that a fake is made from two latents."""

    def __post_init__(self) -> None:
        super().__post_init__()
        positive = "z_dim w_dim mapping_layers channel_base channel_max pack mbstd_group"
        for name in (*positive.split(), "r1_every", "pl_every"):
            check_range(name, getattr(self, name), low=1)
        for name in ("r1_gamma", "r2_gamma", "pl_weight", "num_fp16_res", "freeze_d"):
            check_range(name, getattr(self, name), low=0)
        for name in ("conv_clamp", "mapping_lr"):
            check_range(name, getattr(self, name), above=0)
        for name in ("batch", "micro_batch"):
            if (getattr(self, name) or 0) % self.pack:
                raise ConfigError(
                    f"{name} must be a multiple of pack {self.pack}, got {getattr(self, name)}"
                )
        check_range("style_mixing", self.style_mixing, low=0, high=1)
        for name in ("g_architecture", "d_architecture"):
            check_choice(name, getattr(self, name), ("skip", "resnet", "orig"))
        check_choice("half_dtype", self.half_dtype, ("float16", "bfloat16"))
        check_choice("objective", self.objective, ("non-saturating", "rpgan"))


def auto(resolution: int, processes: int = 1) -> Config:
    """Return settings that follow from the resolution and the number of processes."""
    batch = max(min(processes * min(4096 // resolution, 32), 64), processes)
    lr = 0.002 if resolution >= 1024 else 0.0025
    return Config(
        batch=batch, lr_g=lr, lr_d=lr, ema_kimg=batch * 10 / 32, ema_ramp=0.05,
        channel_base=32768 if resolution >= 512 else 16384, mapping_layers=2,
        mbstd_group=max(min(batch // processes, 4), 1), num_fp16_res=4, conv_clamp=256.0,
    )  # fmt: skip


def fitted(height: int, width: int, processes: int = 1) -> Config:
    """Return settings that follow from the size of the images, taken from the data."""
    return auto(isqrt(height * width), processes)


def paper(batch: int, mbstd_group: int, channel_base: int, lr: float, gamma: float) -> Config:
    """Return settings with which a data set of the paper was trained."""
    return Config(
        batch=batch, mbstd_group=mbstd_group, channel_base=channel_base, lr_g=lr, lr_d=lr,
        r1_gamma=gamma, ema_kimg=batch * 10 / 32, num_fp16_res=4, conv_clamp=256.0,
    )  # fmt: skip


def cifar() -> Config:
    """Return the settings for CIFAR-10: no path length penalty, no style mixing, plain D."""
    base = paper(64, 32, 32768, 0.0025, 0.01)
    return replace(
        base, total_kimg=100000.0, ema_kimg=500.0, ema_ramp=0.05, mapping_layers=2,
        pl_weight=0.0, style_mixing=0.0, d_architecture="orig",
    )  # fmt: skip


def lite() -> Config:
    """Return small networks for the CPU, 32 x 32 to 128 x 128."""
    return Config(
        batch=16, lr_g=0.0025, lr_d=0.0025, ema_kimg=5.0, ema_ramp=0.05, total_kimg=1000.0,
        channel_base=4096, channel_max=128, mapping_layers=2,
    )  # fmt: skip


def r3gan() -> Config:
    """Return the lite networks with the objective and the burn-in of R3GAN, and no other aids."""
    return replace(
        lite(), objective="rpgan", r1_every=1, r2_gamma=None, pl_weight=0.0, style_mixing=0.0,
        mbstd_group=1, beta2=0.9, burn_in_kimg=200.0, burn_in_lr=0.25, burn_in_gamma=0.1,
        burn_in_beta2=0.99, burn_in_ema=True, ema_ramp=None,
    )  # fmt: skip


config_f = partial(paper, 32, 4, 32768, 0.002, 10.0)

PRESETS: Mapping[str, Callable[[], Config]] = {
    "stylegan2-lite": lite,
    "stylegan2-lite-r3gan": r3gan,
    "stylegan2-auto": partial(fitted, 256, 256),
    **{f"stylegan2-{r}": partial(auto, r) for r in (32, 64, 128, 256, 512, 1024)},
    "stylegan2": config_f,
    "stylegan2-config-f": config_f,
    "stylegan2-paper256": partial(paper, 64, 8, 16384, 0.0025, 1.0),
    "stylegan2-paper512": partial(paper, 64, 8, 32768, 0.0025, 0.5),
    "stylegan2-paper1024": partial(paper, 32, 4, 32768, 0.002, 2.0),
    "stylegan2-cifar": cifar,
}

FITTED: Mapping[str, Callable[[int, int, int], Config]] = {"stylegan2-auto": fitted}
"""Presets that are made for the height and width of the data and the number of processes."""


def build(config: Config, dataset: Dataset) -> TrainingRecipe:
    """Return the recipe.

    Raises: ConfigError when the dataset does not hold images of a size that the networks can have.
    """
    shape = tuple(dataset.image_shape)
    if len(shape) != 3:
        raise ConfigError(f"stylegan2: expected images (C, H, W), the dataset has items {shape}")
    common: dict[str, Any] = {
        "c_dim": dataset.c_dim,
        "img_resolution": shape[1] if shape[1] == shape[2] else list(shape[1:]),
        "img_channels": shape[0],
        "channel_base": config.channel_base,
        "channel_max": config.channel_max,
        "num_fp16_res": config.num_fp16_res,
        "half_dtype": config.half_dtype,
        "conv_clamp": config.conv_clamp,
    }
    arguments = {**_generator_arguments(config), **common}
    spec = NetworkSpec("StyleGAN2Generator", arguments)
    # The model file says nothing of half_on_cpu: who samples on a CPU wants float32.
    d = _discriminator(config, {**common, "half_on_cpu": config.half_on_cpu})
    g = NetworkSpec(spec.type, {**arguments, "half_on_cpu": config.half_on_cpu}).build()
    betas, moving = (config.beta1, config.beta2), config.schedules()
    return TrainingRecipe(
        players={
            "d": Player({"D": d}, adam(config.lr_d, betas), **moving),
            "g": Player({"G": g}, adam(config.lr_g, betas), ema=config.average(), **moving),
        },
        edges=(Edge("G", "D"),),
        objective=RelativisticPairing() if config.objective == "rpgan" else NonSaturating(),
        sampler=Sampler(config.z_dim, dataset),
        generation=StyleMixing(config.style_mixing),
        conditioning=conditioning_for(dataset.c_dim),
        regularizers=_regularizers(config, shape[1] * shape[2]),
        augment=augmentation_for(config, shape),
        generator_spec=spec,
    )


def _discriminator(config: Config, common: dict[str, Any]) -> nn.Module:
    packed = {name: common[name] * config.pack for name in ("c_dim", "img_channels")}
    net = StyleGAN2Discriminator(
        **common | packed, architecture=config.d_architecture,
        mbstd_group_size=config.mbstd_group, freeze_layers=config.freeze_d,
    )  # fmt: skip
    return net if config.pack == 1 else PackedDiscriminator(net, config.pack)


def _generator_arguments(config: Config) -> dict[str, Any]:
    return {
        "z_dim": config.z_dim,
        "w_dim": config.w_dim,
        "mapping_layers": config.mapping_layers,
        "mapping_lr_multiplier": config.mapping_lr,
        "architecture": config.g_architecture,
        "use_noise": config.use_noise,
    }


def gamma_for(config: Config, pixels: int) -> float:
    """Return the weight of R1 for images of so many pixels."""
    return 0.0002 * pixels / config.batch if config.r1_gamma is None else config.r1_gamma


def remarks(config: Config, dataset: Dataset) -> list[str]:
    """Say which settings were chosen for this data set, and which do not go well together."""
    said = []
    if config.objective == "rpgan" and (config.r1_every > 1 or config.r2_gamma == 0):
        said.append(
            f"objective rpgan converges with R1 and R2 in each step; here r1_every is "
            f"{config.r1_every} and r2_gamma {config.r2_gamma} (see the preset lite-r3gan)"
        )
    if config.r1_gamma is None and len(dataset.image_shape) == 3:
        _, height, width = dataset.image_shape
        gamma = f"{gamma_for(config, height * width):.4g}"
        said.append(
            f"r1_gamma {gamma} = 0.0002 * {height} * {width} / {config.batch}, the heuristic"
        )
    return said


def _regularizers(config: Config, pixels: int) -> tuple[Regularizer, ...]:
    gamma, scale = gamma_for(config, pixels), config.gamma_schedule()
    r2_gamma = gamma if config.r2_gamma is None else config.r2_gamma
    penalties: list[Regularizer] = []
    if gamma > 0:
        penalties.append(R1(gamma, config.r1_every, scale))
    if r2_gamma > 0:
        penalties.append(R2(r2_gamma, config.r1_every, scale))
    if config.pl_weight > 0:
        penalties.append(PathLength(config.pl_weight, config.pl_every))
    return tuple(penalties)
