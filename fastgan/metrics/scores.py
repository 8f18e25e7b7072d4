"""A number with everything that it must not be read without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Score:
    """One metric of one set of fakes.

    Attributes:
        name: says the extractor, too: KID-EffLite0; FID and KID alone are those of FID Inception.
        value: the number.
        extractor, resize: what turned images into features.
        num_real, num_fake: images of each.
        split: which reals.
        seed: of the fakes.
        std: spread, where the metric has one.
        details: settings of the metric, by name.
    """

    name: str
    value: float
    extractor: str
    resize: str
    num_real: int
    num_fake: int
    split: str
    seed: int
    std: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def common(self) -> str:
        """What every score of the same images shares, in words."""
        return (
            f"extractor {self.extractor}, resize {self.resize}, {self.num_real} real, "
            f"{self.num_fake} fake, split {self.split}, seed {self.seed}"
        )

    @property
    def settings(self) -> str:
        """Settings of the metric, in words."""
        return ", ".join(f"{name} {value}" for name, value in self.details.items())

    @property
    def number(self) -> str:
        """The number and its spread."""
        spread = "" if self.std is None else f" +- {self.std:.3g}"
        return f"{self.value:.6g}{spread}"

    def __str__(self) -> str:
        conditions = ", ".join(filter(None, (self.common, self.settings)))
        return f"{self.name} {self.number} ({conditions})"

    def to_json(self) -> dict[str, Any]:
        """Return plain values, the sentence among them."""
        return {**vars(self), "details": dict(self.details), "text": str(self)}


def as_numbers(scores: Sequence[Score]) -> dict[str, float]:
    """Return the values by name."""
    return {score.name: score.value for score in scores}
