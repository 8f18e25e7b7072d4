"""Networks: generators and discriminators built on `fastgan.ops`. No losses, no training."""

from fastgan.networks.base import Discriminator, DiscriminatorOutput, Generator
from fastgan.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from fastgan.networks.mapping import MappingNetwork, mix_styles
from fastgan.networks.mlp import MLPDiscriminator, MLPGenerator
from fastgan.networks.packing import PackedDiscriminator
from fastgan.networks.stylegan2_compiled import CompiledStyleGAN2Generator
from fastgan.networks.stylegan2_discriminator import StyleGAN2Discriminator
from fastgan.networks.stylegan2_generator import StyleGAN2Generator
from fastgan.networks.stylegan2_synthesis import NoiseSource, SynthesisNetwork

__all__ = [
    "CompiledStyleGAN2Generator",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "Discriminator",
    "DiscriminatorOutput",
    "Generator",
    "MLPDiscriminator",
    "MLPGenerator",
    "MappingNetwork",
    "NoiseSource",
    "PackedDiscriminator",
    "StyleGAN2Discriminator",
    "StyleGAN2Generator",
    "SynthesisNetwork",
    "mix_styles",
]
