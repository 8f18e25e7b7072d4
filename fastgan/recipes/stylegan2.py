"""StyleGAN2: style mixing, lazy R1 and path length regularisation, averaged generator.

Source: Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN"; the automatic
settings: Karras et al. 2020, "Training GANs with Limited Data", appendix C.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from fastgan.config import check_choice, check_range
from fastgan.data import Dataset
from fastgan.errors import ConfigError
from fastgan.networks import (
    CompiledStyleGAN2Generator,
    PackedDiscriminator,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
    mix_styles,
)
from fastgan.synthesis.model_file import NetworkSpec
from fastgan.training import (
    R1,
    R2,
    AugmentedConfig,
    Edge,
    EMASpec,
    Generated,
    Generation,
    NonSaturating,
    PathLength,
    Player,
    Regularizer,
    Sampler,
    StepContext,
    TrainingRecipe,
    adam,
    augmentation_for,
    conditioning_for,
)

NAME = "stylegan2"


@dataclass(frozen=True, kw_only=True)
class Config(AugmentedConfig):
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
    """So many of the highest resolutions compute in float16, on CUDA only."""
    conv_clamp: float | None = None
    """Limit on the magnitude of every convolution's output. None: no limit."""
    use_noise: bool = True
    """Whether noise enters the generator's layers: fine random detail, of no use for flat art."""
    pack: int = 1
    """Images that the discriminator judges together; more than 1 works against mode collapse."""
    mbstd_group: int = 4
    """Images over which the discriminator's minibatch standard deviation is taken."""
    r1_gamma: float | None = None
    """Weight of the R1 penalty; 0 is without. None: 0.0002 * height * width / batch."""
    r2_gamma: float = 0.0
    """Weight of the R2 penalty, R1's counterpart on fakes; 0 is without."""
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
        for name in ("r1_gamma", "r2_gamma", "pl_weight", "num_fp16_res"):
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


def auto(resolution: int) -> Config:
    """Return settings that follow from the resolution, for one device."""
    batch = max(min(4096 // resolution, 32), 1)
    lr = 0.002 if resolution >= 1024 else 0.0025
    return Config(
        batch=batch, lr_g=lr, lr_d=lr, ema_kimg=batch * 10 / 32, ema_ramp=0.05,
        channel_base=32768 if resolution >= 512 else 16384, mapping_layers=2,
        mbstd_group=min(batch, 4), num_fp16_res=4, conv_clamp=256.0,
    )  # fmt: skip


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


PRESETS: Mapping[str, Callable[[], Config]] = {
    "stylegan2-lite": lite,
    **{f"stylegan2-{r}": partial(auto, r) for r in (32, 64, 128, 256, 512, 1024)},
    "stylegan2-config-f": partial(paper, 32, 4, 32768, 0.002, 10.0),
    "stylegan2-paper256": partial(paper, 64, 8, 16384, 0.0025, 1.0),
    "stylegan2-paper512": partial(paper, 64, 8, 32768, 0.0025, 0.5),
    "stylegan2-paper1024": partial(paper, 32, 4, 32768, 0.002, 2.0),
    "stylegan2-cifar": cifar,
}


class StyleMixing(Generation):
    """Fakes from w, some with styles of a second latent, and the running mean of w.

    Args:
        probability: that a fake is mixed.
    """

    def __init__(self, probability: float) -> None:
        self.probability = probability

    def train(self, net: nn.Module, ctx: StepContext, edge: Edge) -> Generated:
        generator, draws = cast(StyleGAN2Generator, net), ctx.draws.scoped(edge.generator)
        condition = ctx.fake_condition(edge)
        ws = generator.mapping(ctx.generator_input(edge), condition)  # [N, num_ws, w_dim]
        ctx.record(f"{edge.generator}/mean_w", ws[:, 0].mean(dim=0))
        if self.probability > 0:
            second = generator.mapping(draws.normal("z_mixing", (generator.z_dim,)), condition)
            cut = draws.integers("mixing_cut", 1, generator.num_ws)
            is_mixed = draws.bernoulli("is_mixed", self.probability)
            cut = torch.where(is_mixed, cut, generator.num_ws)
            ws = mix_styles(ws, second, cut)
        return Generated(generator.synthesis(ws, noise=draws.layer_noise()), ws)

    def compiled(self, net: nn.Module, compiler: Callable[..., Any]) -> nn.Module:
        return CompiledStyleGAN2Generator(cast(StyleGAN2Generator, net), compiler)

    def sample(self, net: nn.Module, ctx: StepContext, edge: Edge) -> Tensor:
        images: Tensor = net(
            ctx.generator_input(edge), ctx.fake_condition(edge), noise_mode="const"
        )
        return images

    def after_update(self, net: nn.Module, edge: Edge, means: Mapping[str, Tensor]) -> None:
        cast(StyleGAN2Generator, net).mapping.update_average(means[f"{edge.generator}/mean_w"])


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
        "conv_clamp": config.conv_clamp,
    }
    spec = NetworkSpec("StyleGAN2Generator", {**_generator_arguments(config), **common})
    betas = (config.beta1, config.beta2)
    ema = EMASpec(config.ema_kimg, config.ema_ramp) if config.ema_kimg > 0 else None
    return TrainingRecipe(
        players={
            "d": Player({"D": _discriminator(config, common)}, adam(config.lr_d, betas)),
            "g": Player({"G": spec.build()}, adam(config.lr_g, betas), ema=ema),
        },
        edges=(Edge("G", "D"),),
        objective=NonSaturating(),
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
        **common | packed, architecture=config.d_architecture, mbstd_group_size=config.mbstd_group
    )
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


def _regularizers(config: Config, pixels: int) -> tuple[Regularizer, ...]:
    gamma = config.r1_gamma
    if gamma is None:
        gamma = 0.0002 * pixels / config.batch
    penalties: list[Regularizer] = []
    if gamma > 0:
        penalties.append(R1(gamma, config.r1_every))
    if config.r2_gamma > 0:
        penalties.append(R2(config.r2_gamma, config.r1_every))
    if config.pl_weight > 0:
        penalties.append(PathLength(config.pl_weight, config.pl_every))
    return tuple(penalties)
