"""The operators: public functions with checks, schemas, fake kernels and gradients.

No loops over pixels (those are kernels) and no parameters (those are in `fastgan.nn`).
"""

from fastgan.ops.bias_act import bias_act
from fastgan.ops.conv2d_resample import conv2d_resample
from fastgan.ops.conv4x4 import conv4x4, conv4x4_transposed
from fastgan.ops.minibatch_std import minibatch_std
from fastgan.ops.modulated_conv2d import modulated_conv2d
from fastgan.ops.noise_bias_act import noise_bias_act
from fastgan.ops.normalize_act import moments, normalize_act
from fastgan.ops.spectral_norm import spectral_norm
from fastgan.ops.spectral_norm_group import spectral_norm_group
from fastgan.ops.upfirdn2d import downsample2d, filter2d, setup_filter, upfirdn2d, upsample2d

__all__ = [
    "bias_act",
    "conv2d_resample",
    "conv4x4",
    "conv4x4_transposed",
    "downsample2d",
    "filter2d",
    "minibatch_std",
    "modulated_conv2d",
    "moments",
    "noise_bias_act",
    "normalize_act",
    "setup_filter",
    "spectral_norm",
    "spectral_norm_group",
    "upfirdn2d",
    "upsample2d",
]
