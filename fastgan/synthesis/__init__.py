"""Images out of trained generators: sampling, grids, walks and videos. Trains nothing."""

from fastgan.synthesis.images import make_grid, save_png, to_uint8
from fastgan.synthesis.model_file import load_generator, save_model
from fastgan.synthesis.sampling import interpolate, sample
from fastgan.synthesis.synthesizer import Synthesizer
from fastgan.synthesis.video import write_video

__all__ = [
    "Synthesizer",
    "interpolate",
    "load_generator",
    "make_grid",
    "sample",
    "save_model",
    "save_png",
    "to_uint8",
    "write_video",
]
