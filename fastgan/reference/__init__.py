"""The specification of every op in plain torch: float64-capable, differentiable by composition.

No kernels, no dispatch, no speed tricks. Where a kernel and this package disagree, the kernel is
wrong, until an independent oracle says otherwise. Imports torch only.
"""

from fastgan.reference.bias_act import bias_act
from fastgan.reference.conv2d_resample import conv2d_resample
from fastgan.reference.conv3x3 import conv3x3, conv3x3_weight_grad
from fastgan.reference.conv4x4 import conv4x4, conv4x4_transposed, conv4x4_weight_grad
from fastgan.reference.minibatch_std import minibatch_std
from fastgan.reference.modulated_conv2d import modulated_conv2d
from fastgan.reference.noise_bias_act import noise_bias_act
from fastgan.reference.normalize_act import normalize_act
from fastgan.reference.spectral_norm import spectral_norm
from fastgan.reference.upfirdn2d import upfirdn2d

__all__ = [
    "bias_act",
    "conv2d_resample",
    "conv3x3",
    "conv3x3_weight_grad",
    "conv4x4",
    "conv4x4_transposed",
    "conv4x4_weight_grad",
    "minibatch_std",
    "modulated_conv2d",
    "noise_bias_act",
    "normalize_act",
    "spectral_norm",
    "upfirdn2d",
]
