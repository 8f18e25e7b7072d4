"""Generators and synthesizers that several files of tests share; none of them changes one."""

import pytest

from fastgan.synthesis.synthesizer import Synthesizer
from tests.synthesis.generators import style_generator


@pytest.fixture(scope="module")
def style():
    return style_generator()


@pytest.fixture(scope="module")
def ready(style):
    """A synthesizer with the defaults."""
    return Synthesizer(style)


@pytest.fixture(scope="module")
def conditional():
    return style_generator(c_dim=3)
