"""R3GAN: the relativistic pairing loss, the penalties, the residual networks and the schedules."""

import math

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from lightning_gen.callbacks.rollback import restore, snapshot
from lightning_gen.errors import InputError
from lightning_gen.losses.adversarial import (
    relativistic_pairing_discriminator_loss,
    relativistic_pairing_generator_loss,
)
from lightning_gen.models.gans.r3gan import R3GAN
from lightning_gen.models.schedules import CosineSchedule
from lightning_gen.networks.fir import binomial_filter, downsample, upsample
from lightning_gen.networks.r3 import R3Block, R3Discriminator, R3Generator, stage_widths
from lightning_gen.types import Batch
from tests.cases import CLASSES
from tests.helpers import loader, trainer

SHAPE = (1, 16, 16)
SMALL = {"width": 8, "latent_dim": 6, "blocks": 1}


def batch_of(size: int = 8) -> Batch:
    return next(iter(loader(size=size)))


class Linear(nn.Module):
    """The discriminator <w, x>."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(256))

    def forward(self, images, labels=None):
        return images.flatten(1) @ self.weight[:, None]


# ---- the loss


def test_equal_logits_give_both_players_log_2():
    logits = torch.randn(7)
    assert relativistic_pairing_discriminator_loss(logits, logits).item() == pytest.approx(math.log(2))
    assert relativistic_pairing_generator_loss(logits, logits).item() == pytest.approx(math.log(2))


def test_the_pairing_loss_is_the_cross_entropy_of_the_pairs_difference():
    real, fake = torch.randn(2, 9) * 3
    bce = nn.BCEWithLogitsLoss()
    torch.testing.assert_close(relativistic_pairing_discriminator_loss(real, fake), bce(real - fake, torch.ones(9)))
    torch.testing.assert_close(relativistic_pairing_generator_loss(real, fake), bce(fake - real, torch.ones(9)))


def test_another_pairing_gives_another_loss_and_a_constant_does_not():
    real, fake = torch.tensor([0.0, 4.0]), torch.tensor([0.0, 4.0])
    loss = relativistic_pairing_discriminator_loss(real, fake)
    other = relativistic_pairing_discriminator_loss(real, fake.flip(0))
    assert other.item() == pytest.approx((math.log1p(math.exp(4)) + math.log1p(math.exp(-4))) / 2)
    assert other.item() > loss.item() + 1
    torch.testing.assert_close(relativistic_pairing_discriminator_loss(real + 3, fake + 3), loss)


def test_the_generators_loss_has_no_gradient_at_the_real_logits():
    real, fake = torch.zeros(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    relativistic_pairing_generator_loss(real, fake).backward()
    assert real.grad is None
    torch.testing.assert_close(fake.grad, torch.full((3,), -1 / 6))


# ---- the networks


def test_a_block_is_the_identity_at_first_and_its_hidden_layers_preserve_the_mean_square():
    torch.manual_seed(0)
    block = R3Block(64, 2, 16, math.sqrt(2 / 1.04))
    maps = torch.randn(4, 64, 8, 8)
    assert torch.equal(block(maps), maps)
    assert block.mix.weight.shape == (128, 16, 3, 3)
    hidden = nn.functional.leaky_relu(block.expand(maps), 0.2)
    assert hidden.square().mean().item() == pytest.approx(1, rel=0.1)
    interior = block.mix(hidden)[:, :, 1:-1, 1:-1]  # without the padding's zeros
    assert nn.functional.leaky_relu(interior, 0.2).square().mean().item() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("widths", [(6, 6, 6), (8, 6, 4)])
def test_the_initial_generator_is_linear_resampling_of_its_first_maps(widths):
    torch.manual_seed(0)
    network, latents = R3Generator(5, 3, widths), torch.randn(4, 5)
    taps = binomial_filter(4)
    maps = torch.einsum("bl,cl,chw->bchw", latents, network.scales.weight, network.patterns)
    for resample in network.resampling:
        if widths[0] != widths[-1]:
            maps = torch.einsum("bchw,oc->bohw", maps, resample.channels.weight[:, :, 0, 0])
        maps = upsample(maps, taps)
    images = torch.einsum("bchw,oc->bohw", maps, network.to_images.weight[:, :, 0, 0])
    torch.testing.assert_close(network(latents), images, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(network(2 * latents), 2 * network(latents))


def test_the_initial_discriminator_is_linear_resampling_of_the_image():
    torch.manual_seed(0)
    network, images = R3Discriminator(3, (8, 8, 8)), torch.randn(4, 3, 16, 16)
    maps = images
    for _ in range(2):
        maps = downsample(maps, binomial_filter(4))
    maps = torch.einsum("bchw,oc->bohw", maps, network.from_images.weight[:, :, 0, 0])
    features = torch.einsum("bchw,chw->bc", maps, network.patterns.weight[:, 0])
    torch.testing.assert_close(network(images), features @ network.head.weight.T)
    torch.testing.assert_close(network(-images), -network(images))


def test_initial_weights_have_the_fixup_gain_of_all_blocks():
    torch.manual_seed(0)
    network = R3Generator(8, 1, (64, 64, 64, 64), blocks=2)
    blocks = [module for module in network.modules() if isinstance(module, R3Block)]
    assert len(blocks) == 8
    std = math.sqrt(2 / 1.04) * 8**-0.25
    for block in blocks:
        assert block.expand.weight.std().item() == pytest.approx(std / 8, rel=0.05)
        assert block.mix.weight.std().item() == pytest.approx(std / 12, rel=0.05)


def test_a_conditional_logit_is_the_projection_on_the_classes_embedding():
    torch.manual_seed(0)
    network, images = R3Discriminator(2, (8, 8), num_classes=3), torch.randn(4, 2, 8, 8)
    labels = torch.tensor([[0], [2], [1], [2]])
    logits = network(images, labels)
    network.classes.weight.data[labels[0, 0]] *= 3
    changed = network(images, labels)
    torch.testing.assert_close(changed[0], 3 * logits[0])
    assert torch.equal(changed[1:], logits[1:])
    both = network(images[:1], torch.tensor([[1, 2]]))
    torch.testing.assert_close(both, network(images[:1], labels[2:3]) + network(images[:1], labels[1:2]))


def test_a_mixture_of_classes_is_the_mixture_of_their_embeddings():
    torch.manual_seed(0)
    network, noise = R3Generator(5, 1, (8, 8), num_classes=3), torch.randn(1, 5)

    def image(*classes: float) -> torch.Tensor:
        return network(torch.cat([noise, torch.tensor([classes])], 1))

    # linear at first
    torch.testing.assert_close(image(0.5, 0.5, 0), (image(1, 0, 0) + image(0, 1, 0)) / 2, atol=1e-5, rtol=1e-5)
    assert not torch.equal(image(1, 0, 0), image(0, 1, 0))


def test_widths_are_the_papers():
    assert stage_widths((3, 32, 32), 768) == (768,) * 4
    assert stage_widths((3, 64, 64), 768) == (768,) * 4 + (384,)
    assert stage_widths((3, 256, 256), 768) == (768,) * 4 + (384, 192, 96)
    assert stage_widths((1, 16, 16), 64, 4) == (64, 32, 16)
    assert stage_widths((3, 1024, 1024), 768)[-1] == 24


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 4, 4), (3, 32, 16), (3, 2048, 2048)])
def test_a_side_that_is_no_power_of_two_is_one_line(shape):
    with pytest.raises(InputError, match=f"not {shape[1]} x {shape[2]}; set data.image_size"):
        stage_widths(shape, 8)


def test_channels_that_are_not_whole_groups_are_one_line():
    with pytest.raises(InputError, match=r"model.group_width is 16 and does not divide the 24 = 2 x 12 channels"):
        R3Generator(4, 1, (16, 12))


# ---- the schedule


def test_the_cosine_starts_at_the_start_passes_the_mean_and_stays_at_the_end():
    schedule = CosineSchedule(2e-4, 5e-5, 1000)
    assert schedule(0) == pytest.approx(2e-4)
    assert schedule(250) == pytest.approx(5e-5 + 1.5e-4 * (1 + math.sqrt(0.5)) / 2)
    assert schedule(500) == pytest.approx(1.25e-4)
    assert schedule(1000) == schedule(10**9) == pytest.approx(5e-5)
    assert CosineSchedule(1.0, 3.0, 0)(0) == 3.0


# ---- the model


def test_both_penalties_of_a_linear_discriminator_are_the_square_of_its_weights():
    model = R3GAN(SHAPE, **SMALL, gamma=(6.0, 2.0), burn_in_images=1000)
    model.discriminator = Linear()
    square = model.discriminator.weight.square().sum()
    for images_seen, gamma in ((0, 6.0), (500, 4.0), (1000, 2.0)):
        model.images_seen = images_seen
        penalty = model.discriminator_penalty(batch_of(), torch.zeros(8, *SHAPE))
        torch.testing.assert_close(penalty.terms["r1"], square)
        torch.testing.assert_close(penalty.terms["r2"], square)
        torch.testing.assert_close(penalty.total, gamma * square)


def test_each_penalty_is_taken_at_its_own_images():
    torch.manual_seed(0)
    model, batch = R3GAN(SHAPE, **SMALL), batch_of()
    nn.init.normal_(model.discriminator.stages[0][0].project.weight)  # a gradient that depends on the image
    terms = model.discriminator_penalty(batch, batch.images).terms
    torch.testing.assert_close(terms["r1"], terms["r2"])
    other = model.discriminator_penalty(batch, -batch.images).terms
    torch.testing.assert_close(other["r1"], terms["r1"])
    assert (other["r2"] - terms["r2"]).abs() > 1e-3 * terms["r1"]


def test_the_players_compare_each_generated_image_with_the_real_image_of_its_place():
    torch.manual_seed(0)
    model, batch = R3GAN(SHAPE, **SMALL), batch_of()
    model.discriminator = Linear()
    fakes = torch.randn(8, *SHAPE, requires_grad=True)
    difference = (batch.images - fakes).flatten(1) @ model.discriminator.weight
    softplus = nn.functional.softplus
    torch.testing.assert_close(model.discriminator_loss(batch, fakes).total, softplus(-difference).mean())
    loss = model.generator_loss(batch, fakes).total
    torch.testing.assert_close(loss, softplus(difference).mean())
    assert not torch.isclose(model.generator_loss(batch, fakes.flip(0)).total, loss)


def test_the_optimizers_follow_the_schedules():
    seen = []

    class Spy(pl.Callback):
        def on_train_batch_end(self, trainer, module, *args):
            seen.append([(o.param_groups[0]["lr"], o.param_groups[0]["betas"]) for o in trainer.optimizers])

    schedules = {"final_lr": 0.1, "beta2": (0.5, 0.9), "burn_in_images": 16}
    model = R3GAN(SHAPE, **SMALL, **schedules, generator_lr=1e-3, discriminator_lr=2e-3)
    trainer(callbacks=[Spy()]).fit(model, loader(4))
    for (generator, discriminator), factor, beta2 in zip(seen, (1, 0.55, 0.1, 0.1), (0.5, 0.7, 0.9, 0.9), strict=True):
        for (lr, betas), start in ((generator, 1e-3), (discriminator, 2e-3)):
            assert lr == pytest.approx(start * factor)
            assert betas == (0.0, pytest.approx(beta2))


def test_a_rollback_lowers_the_rates_for_the_rest_of_the_schedule():
    rates = []

    class Rollback(pl.Callback):
        def on_train_batch_end(self, trainer, module, *args):
            rates.append(trainer.optimizers[1].param_groups[0]["lr"])
            if len(rates) == 2:
                restore(trainer, module, snapshot(trainer, module), lr_factor=0.5)

    model = R3GAN(SHAPE, **SMALL, final_lr=0.1, burn_in_images=16, discriminator_lr=2e-3)
    trainer(callbacks=[Rollback()]).fit(model, loader(4))
    assert rates == pytest.approx([2e-3, 1.1e-3, 1e-4, 1e-4])


def test_the_half_life_of_the_average_rises_from_zero():
    model = R3GAN(SHAPE, **SMALL, ema_half_life=400.0, burn_in_images=100_000)
    decays = []
    for images_seen in (0, 50_000, 100_000, 100_400):
        model.images_seen = images_seen
        model.ema_images_seen = images_seen - 200
        nn.init.normal_(model.network.patterns)
        before = model.ema.module.patterns.clone()
        model.update_ema()
        moved = (model.ema.module.patterns - before) / (model.network.patterns - before)
        decays.append(1 - moved.median().item())
    assert decays == pytest.approx([0, 0.5, 0.5**0.5, 0.5**0.5], abs=1e-3)
    without = R3GAN(SHAPE, **SMALL, ema_half_life=400.0, burn_in_images=0)
    assert without.ema.decay(8, 100) == 0.5 ** (8 / 5)  # the ramp of every model: 5 % of the images seen


def test_images_are_clamped_where_they_are_sampled_and_not_in_training():
    model = R3GAN(SHAPE, **SMALL)
    nn.init.normal_(model.network.to_images.weight, std=10)
    assert model.generate(batch_of()).abs().max() > 2
    assert model.sample(8).abs().max() == 1


def test_a_conditional_model_uses_the_labels_of_the_batch_and_of_the_request():
    torch.manual_seed(0)
    model, batch = R3GAN(SHAPE, **SMALL, conditional=True, **CLASSES), batch_of()
    changed = batch._replace(labels=(batch.labels + 1) % 10)
    assert not torch.allclose(model.logits(*batch[:2]), model.logits(*changed[:2]))
    first, again, other = (
        model.sample(3, labels=torch.full((3,), label), generator=torch.Generator().manual_seed(0))
        for label in (1, 1, 7)
    )
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    with pytest.raises(InputError, match="the batch has none"):
        model.generate(Batch(batch.images))
    with pytest.raises(InputError, match="R3GAN learns from class labels"):
        R3GAN(SHAPE, **SMALL, conditional=True)
    with pytest.raises(InputError, match="not conditional"):
        R3GAN(SHAPE, **SMALL, **CLASSES).sample(2, labels=torch.tensor([1, 2]))


@pytest.mark.parametrize(
    "bad",
    [
        {"gamma": (1.0, -1.0)},
        {"beta2": (0.9, 1.0)},
        {"final_lr": 0.0},
        {"burn_in_images": -1},
        {"blocks": 0},
        {"group_width": 0},
        {"full_width_side": 2},
        {"expansion": 0},
        {"label_smoothing": 0.1},
    ],
)
def test_bad_values_are_named(bad):
    with pytest.raises(InputError, match=f"model.{next(iter(bad))}"):
        R3GAN(SHAPE, **{**SMALL, **bad})


def test_the_probability_of_adas_operations_rises_over_the_burn_in():
    model = R3GAN(SHAPE, **SMALL, augment="ada", ada_probability=0.4, burn_in_images=100)
    probabilities = []
    for model.images_seen in (0, 50, 100, 200):
        probabilities.append(model.augmentation_probability())
    assert probabilities == pytest.approx([0.0, 0.2, 0.4, 0.4])
    image = torch.rand(64, 1, 16, 16)
    model.images_seen = 0
    assert torch.equal(model.discriminator_input(image, None), image)
    model.images_seen = 100
    changed = (model.discriminator_input(image, None) != image).flatten(1).any(1).float().mean()
    assert changed > 0.5
    with pytest.raises(InputError, match=r"set model\.ada_probability"):
        R3GAN(SHAPE, **SMALL, augment="ada")
