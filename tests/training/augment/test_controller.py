"""The adaptive probability by hand, and what a checkpoint keeps of it."""

import pytest
import torch

from fastgan.errors import CheckpointError, ConfigError
from fastgan.training.augment import AdaptiveAugmentation, FixedAugmentation, augment
from tests.training.augment.cases import draws, images


def follow(controller, signs, batch=50):
    """Probabilities logged while r_t takes these values."""
    return [
        controller.after_update({"r_t": torch.tensor(sign)}, batch)["augment_p"].item()
        for sign in signs
    ]


def test_probability_moves_every_fourth_update_by_the_images_seen():
    controller = AdaptiveAugmentation(kimg=1.0)  # 4 * 50 of 1,000 images: a stride of 0.2
    found = follow(controller, [0.9] * 7 + [0.0] + [1.0, 1.0, 1.0, -0.8])
    assert found == pytest.approx([0, 0, 0, 0.2, 0.2, 0.2, 0.2, 0.4, 0.4, 0.4, 0.4, 0.2])


def test_probability_does_not_fall_below_zero_and_rises_from_there():
    controller = AdaptiveAugmentation(kimg=1.0)
    assert follow(controller, [-1.0] * 8)[-1] == 0
    assert follow(controller, [1.0] * 4)[-1] == pytest.approx(0.2)


def test_probability_does_not_rise_above_one_and_falls_from_there():
    controller = AdaptiveAugmentation(kimg=1.0)
    assert follow(controller, [1.0] * 32)[-1] == 1
    assert follow(controller, [-1.0] * 4)[-1] == pytest.approx(0.8)


def test_default_stride_is_that_of_the_paper():
    assert follow(AdaptiveAugmentation(), [1.0] * 4, batch=64)[-1] == 64 * 4 / 500_000


def test_at_the_target_it_stays_however_sums_were_rounded():
    controller = AdaptiveAugmentation(kimg=1.0)
    follow(controller, [1.0] * 4)
    assert follow(controller, [0.6 + 1e-7] * 4)[-1] == pytest.approx(0.2)
    assert follow(controller, [0.6 - 1e-7] * 4)[-1] == pytest.approx(0.2)
    assert follow(controller, [0.601] * 4)[-1] == pytest.approx(0.4)


@pytest.mark.parametrize("cut", range(9))
def test_state_continues_bit_for_bit_from_any_update(cut):
    signs = torch.rand(9, generator=torch.Generator().manual_seed(2)).tolist()
    unbroken = AdaptiveAugmentation(kimg=0.7)
    expected = follow(unbroken, signs)
    first, second = AdaptiveAugmentation(kimg=0.7), AdaptiveAugmentation(kimg=0.7)
    start = follow(first, signs[:cut])
    second.load_state_dict(first.state_dict())
    assert start + follow(second, signs[cut:]) == expected
    for name, value in unbroken.state_dict().items():
        assert torch.equal(second.state_dict()[name], value)


def test_state_of_something_else_is_refused():
    with pytest.raises(CheckpointError, match="augment: expected p, sign_sum, updates, got q"):
        AdaptiveAugmentation().load_state_dict({"q": torch.zeros(())})
    with pytest.raises(CheckpointError, match="augment: expected nothing, got p"):
        FixedAugmentation().load_state_dict({"p": torch.zeros(())})


def test_adaptive_augments_with_its_probability():
    controller, image = AdaptiveAugmentation("bgc", kimg=1.0), images(6, 3, 8, 8)
    assert torch.equal(controller(image, draws(6)), image)
    follow(controller, [1.0] * 12)
    expected = augment(image, draws(6), controller.p, "bgc")
    assert controller.p.item() == pytest.approx(0.6)
    assert torch.equal(controller(image, draws(6)), expected)
    assert torch.equal(FixedAugmentation("bgc", controller.p.item())(image, draws(6)), expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AdaptiveAugmentation("all"), "augment_bundle: expected one of"),
        (lambda: AdaptiveAugmentation(target=1.0), "ada_target: expected a number above -1 and"),
        (lambda: AdaptiveAugmentation(kimg=0.0), "ada_kimg: expected a number above 0"),
        (lambda: AdaptiveAugmentation(interval=0), "ada interval: expected a number at least 1"),
        (lambda: FixedAugmentation(probability=1.5), "augment_p: .* at most 1, got 1.5"),
    ],
)
def test_arguments_out_of_range_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
