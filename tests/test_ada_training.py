"""ADA in the training of GANs: the adaptation of its probability, and what the discriminator receives."""

import pytest
import pytorch_lightning as pl
import torch

from lightning_gen.errors import InputError
from lightning_gen.models.gans.augmentation_probability import AugmentationProbability
from lightning_gen.models.gans.base import BaseLatentGAN
from lightning_gen.models.gans.dcgan import DCGAN
from lightning_gen.models.gans.lsgan import LSGAN
from lightning_gen.models.gans.pro_gan import ProGAN
from lightning_gen.models.gans.r1gan import R1GAN
from lightning_gen.models.gans.r3gan import R3GAN
from lightning_gen.models.gans.wgan import WGAN
from lightning_gen.models.gans.wgan_gp import WGANGP
from lightning_gen.types import Loss
from tests.cases import CASES, SMALL, Case
from tests.helpers import loader, on_ranks, trainer

SHAPE = (1, 16, 16)
GANS = [case for case in CASES if issubclass(case.model, BaseLatentGAN)]
family = pytest.mark.parametrize("case", GANS, ids=lambda case: case.model.__name__)


def run(probability: AugmentationProbability, signs: list[float], num: int = 32, first: int = 1) -> list[float]:
    """The values of p after each batch."""
    values = []
    for i, sign in enumerate(signs, first):
        probability.update(torch.tensor(sign), num, i)
        values.append(probability.value)
    return values


# ---- the adaptation


def test_p_is_the_share_of_the_images_seen_while_the_sign_is_above_the_target():
    values = run(AugmentationProbability(), [0.7] * 1000)
    for i in (4, 500, 1000):
        assert values[i - 1] == pytest.approx(32 * i / 500_000, rel=1e-4)
    assert values[998] == values[995] < values[999]  # it changes after every fourth batch
    assert run(AugmentationProbability(), [0.5] * 40) == [0.0] * 40


def test_p_falls_to_zero_below_the_target_and_is_not_bounded_by_one():
    values = run(AugmentationProbability(images=256), [1.0] * 16 + [-1.0] * 24)
    assert values[3::4] == [0.5, 1.0, 1.5, 2.0, 1.5, 1.0, 0.5, 0.0, 0.0, 0.0]


def test_the_sign_is_averaged_over_the_images_of_four_batches():
    rising, falling = AugmentationProbability(images=128), AugmentationProbability(images=128)
    assert run(rising, [1.0, 1.0, 1.0, -0.5])[-1] == 1.0  # mean 0.625
    assert run(falling, [1.0, 1.0, 1.0, -0.7])[-1] == 0.0  # mean 0.575
    weighted = AugmentationProbability(images=128)
    weighted.update(torch.tensor(1.0), 90, 3)
    weighted.update(torch.tensor(-1.0), 10, 4)
    assert weighted.value == pytest.approx(100 / 128)


def test_the_state_between_two_changes_is_saved():
    whole, first, second = (AugmentationProbability(images=256) for _ in range(3))
    signs = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, -1.0, 0.4]
    expected = run(whole, signs)
    assert run(first, signs[:6]) == expected[:6]
    assert second.value == 0
    second.load_state_dict(first.state_dict())
    assert second.value == expected[5] == 0.5
    assert run(second, signs[6:], first=7) == expected[6:]


def update_on_ranks(rank: int) -> dict[str, torch.Tensor]:
    probability = AugmentationProbability(images=256)
    run(probability, [(1.0, -1.0)[rank]] * 4, num=(90, 10)[rank])  # 0.8 over both ranks
    run(probability, [(1.0, -1.0)[rank]] * 3, num=32, first=5)  # 0
    return probability.state_dict()


def test_the_sign_is_averaged_over_the_ranks(tmp_path):
    for state in on_ranks(update_on_ranks, tmp_path):
        assert state["probability"].item() == pytest.approx(400 / 256)
        assert state["sums"].tolist() == [0, 192]


# ---- in a model


@family
def test_every_gan_adapts_p_to_the_signs_of_its_real_logits(case: Case):
    options = {
        "augment": "ada",
        "ada_images": 128,
        "ada_probability": None,
        "n_critic": 1,
        "accumulate": 2,
        "packing": 1,
    }
    if case.model in (WGAN, WGANGP, ProGAN, R3GAN):
        with pytest.raises(InputError, match=r"model\.augment is ada, .* set model\.ada_probability"):
            case.build(0, **options)
        return
    pl.seed_everything(0)
    model = case.build(0, **options)
    model.adaptive_probability.probability.fill_(0.5)
    signs = []
    update = model.adaptive_probability.update
    model.adaptive_probability.update = lambda sign, *counts: signs.append(sign.item()) or update(sign, *counts)
    fit = trainer(log_every_n_steps=1)
    fit.fit(model, loader(num=5))
    assert len(signs) == 5
    expected = 0.75 if sum(signs[:4]) / 4 > 0.6 else 0.25
    assert model.augmentation_probability() == expected
    assert fit.logged_metrics["loss/ada_p"].item() == expected  # that of the fifth batch
    assert fit.logged_metrics["loss/real_sign"].item() == signs[4]


def test_the_sign_is_that_of_a_logit_above_chance():
    real, fake = torch.tensor([0.4, 0.6, 0.9, -0.1]), torch.zeros(4)
    for model, expected in (
        (DCGAN(SHAPE, **SMALL, augment="ada"), 0.5),
        (LSGAN(SHAPE, **SMALL, augment="ada"), 0.0),  # targets 0 and 1: chance is 1/2
        (LSGAN(SHAPE, **SMALL, augment="ada", coding="-1-1-0"), 0.5),
    ):
        assert model.discriminator_terms(fake.mean(), real, fake)["real_sign"].item() == expected
    assert "real_sign" not in DCGAN(SHAPE, **SMALL).discriminator_terms(fake.mean(), real, fake)


def test_the_discriminator_receives_augmented_images_also_in_the_penalty():
    images = torch.rand(64, *SHAPE) * 2 - 1
    plain = R1GAN(SHAPE, **SMALL, augment="ada", ada_probability=0.0)
    assert torch.equal(plain.discriminator_input(images, None), images)
    model = R1GAN(SHAPE, **SMALL, augment="ada", ada_probability=0.2, ada_groups=("cutout",))
    share = (model.discriminator_input(images, None) != images).flatten(1).any(1).float().mean().item()
    assert 0 < share < 0.5
    model.ada_multipliers = {"cutout": 5.0}
    assert (model.discriminator_input(images, None) != images).flatten(1).any(1).all()
    batch = next(iter(loader()))
    penalties = []
    for gan in (plain, model):
        gan.discriminator.load_state_dict(plain.discriminator.state_dict())
        penalty = gan.discriminator_penalty(batch, batch.images)
        assert isinstance(penalty, Loss)
        penalties.append(penalty.terms["r1"].item())
    assert 0.3 * penalties[0] < penalties[1] < 0.97 * penalties[0]  # a zeroed pixel has no gradient


def test_a_model_without_ada_has_no_state_of_it():
    for options in ({}, {"augment": ("color",)}, {"augment": "ada", "ada_probability": 0.5}):
        assert not any("probability" in name for name in DCGAN(SHAPE, **SMALL, **options).state_dict())
    assert DCGAN(SHAPE, **SMALL).augmentation_probability() == 0
    assert DCGAN(SHAPE, **SMALL, augment="ada", ada_probability=0.5).augmentation_probability() == 0.5
    assert WGAN(SHAPE, **SMALL, augment="ada", ada_probability=0.5).augmentation_probability() == 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augment": "ada", "ada_target": 1.0}, r"model\.ada_target is 1\.0; it must be below 1"),
        ({"augment": "ada", "ada_target": -1.0}, r"model\.ada_target is -1\.0; it must be above -1"),
        ({"augment": "ada", "ada_images": 0}, r"model\.ada_images is 0; it must be at least 1"),
        ({"augment": "ada", "ada_probability": -0.1}, r"model\.ada_probability is -0\.1; it must not be negative"),
        ({"ada_probability": 0.1}, r"model\.ada_probability is 0\.1, and model\.augment is not ada"),
    ],
)
def test_bad_options_are_one_line(options, message):
    with pytest.raises(InputError, match=message):
        DCGAN(SHAPE, **SMALL, **options)
