"""The operators: public functions with checks, schemas, fake kernels and gradients.

No loops over pixels (those are kernels) and no parameters (those are in `fastgan.nn`).
"""

from fastgan.ops.bias_act import bias_act
from fastgan.ops.conv2d_resample import conv2d_resample
from fastgan.ops.modulated_conv2d import modulated_conv2d
from fastgan.ops.spectral_norm import spectral_norm
from fastgan.ops.spectral_norm_group import spectral_norm_group
from fastgan.ops.upfirdn2d import downsample2d, filter2d, setup_filter, upfirdn2d, upsample2d

__all__ = [
    "bias_act",
    "conv2d_resample",
    "downsample2d",
    "filter2d",
    "modulated_conv2d",
    "setup_filter",
    "spectral_norm",
    "spectral_norm_group",
    "upfirdn2d",
    "upsample2d",
]
