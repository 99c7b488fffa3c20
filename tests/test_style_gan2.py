"""Training and sampling of StyleGAN2: penalties, style mixing, truncation, noise."""

import pytest
import torch
from torch import nn

from lightning_gen.errors import InputError
from lightning_gen.models.gans.style_gan2 import StyleGAN2
from lightning_gen.noise import image_generators
from lightning_gen.types import Batch, StyleMapper
from tests.cases import STYLES
from tests.helpers import loader, trainer


def model(**options) -> StyleGAN2:
    torch.manual_seed(0)
    made = StyleGAN2(image_shape=(1, 16, 16), **{**STYLES, **options})
    for layer in made.network.synthesis.layers:
        nn.init.constant_(layer.noise_strength, 0.3)
    made.network.mapping.average.normal_()
    if made.ema is not None:
        made.ema.module.load_state_dict(made.network.state_dict())
    return made


def test_samples_have_noise_of_their_own_and_decoded_images_have_none():
    gan = model()
    assert isinstance(gan, StyleMapper)
    latents = gan.sample_latents(2)
    assert torch.equal(gan.decode(latents), gan.decode(latents))
    torch.testing.assert_close(gan.decode(latents[:1]), gan.decode(latents)[:1])
    assert torch.equal(gan.decode(latents), gan.decode_styles(gan.styles(latents)))
    sampled = gan.sample(2, generator=image_generators(0, range(2)))
    assert not torch.allclose(sampled, gan.decode(gan.sample_latents(2, generator=image_generators(0, range(2)))))


def test_truncation_moves_the_requested_layers_to_the_average():
    gan = model()
    styles = gan.styles(gan.sample_latents(3))
    gan.truncation = 0.0
    assert torch.equal(gan.truncate(styles), gan.style_average.expand_as(styles))
    images = gan.decode(gan.sample_latents(3))
    torch.testing.assert_close(images, images[:1].expand_as(images))
    gan.truncation, gan.truncated_layers = 0.25, 2
    truncated = gan.truncate(styles)
    torch.testing.assert_close(truncated[:, :2], gan.style_average + 0.25 * (styles[:, :2] - gan.style_average))
    assert torch.equal(truncated[:, 2:], styles[:, 2:])


def test_saturated_pixels_have_a_gradient_in_the_styles():
    gan = model()
    nn.init.constant_(gan.ema.module.synthesis.to_images[-1].bias, 50.0)
    styles = gan.styles(gan.sample_latents(2)).requires_grad_()
    images = gan.decode_styles(styles)
    assert (images == 1).all()
    (images + 1).square().sum().backward()
    assert styles.grad.abs().sum() > 0


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_style_mixing_crosses_over_once(probability):
    gan = model(style_mixing=probability)
    batch = Batch(torch.zeros(4, 1, 16, 16))
    crossovers = set()
    for seed in range(60):
        torch.manual_seed(seed)
        styles = gan.mixed_styles(batch)
        changes = (styles[:, 1:] != styles[:, :-1]).any(2)  # (batch, layers - 1)
        assert (changes == changes[:1]).all()
        assert changes[0].sum() == probability
        if probability:
            crossovers.add(int(changes[0].nonzero()) + 1)
    assert crossovers == (set(range(1, gan.num_styles)) if probability else set())


class SquareLoss(nn.Module):
    """A discriminator that is linear in the image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, 256))

    def forward(self, images, labels=None):
        return images.flatten(1) @ self.weight.T


def test_r1_of_a_linear_discriminator_is_its_squared_norm():
    gan = model(gamma=3.0)
    gan.discriminator = SquareLoss()
    batch = Batch(torch.randn(4, 1, 16, 16))
    penalty = gan.discriminator_penalty(batch, batch.images)
    torch.testing.assert_close(penalty.terms["r1"], gan.discriminator.weight.square().sum())
    torch.testing.assert_close(penalty.total, 1.5 * penalty.terms["r1"])


def test_path_lengths_are_averaged_and_their_deviation_is_penalised():
    gan = model(path_length_weight=2.0, path_length_decay=0.75)
    batch = Batch(torch.zeros(8, 1, 16, 16))
    first = gan.generator_penalty(batch)
    torch.testing.assert_close(gan.average_path_length, 0.25 * first.terms["path_length"])
    torch.testing.assert_close(first.total, 2 * first.terms["path_length_penalty"])
    average = gan.average_path_length.clone()
    second = gan.generator_penalty(batch)
    torch.testing.assert_close(gan.average_path_length, 0.75 * average + 0.25 * second.terms["path_length"])
    second.total.backward()
    assert all(p.grad is not None for p in gan.network.mapping.parameters())


def test_lazy_penalties_have_the_mean_gradient_of_eager_ones():
    """Over two batches, two penalties with weight 1 and one with weight 2 add up to about the same gradient."""
    gradients = {}
    for every in (1, 2):
        gan = model(penalty_every=every, generator_penalty_every=every)
        gan.discriminator = SquareLoss()  # R1 is the same for every batch
        totals = []
        for batch_idx in range(2):
            gan.batches_seen = batch_idx
            if batch_idx % every == 0:
                batch = Batch(torch.randn(4, 1, 16, 16))
                gan.discriminator.zero_grad()
                gan.weighted_penalty(batch, batch.images).total.backward()
                totals.append(gan.discriminator.weight.grad.clone())
        gradients[every] = sum(totals)
    torch.testing.assert_close(gradients[1], gradients[2])


def test_penalties_are_computed_at_their_own_intervals():
    gan = model(penalty_every=2, generator_penalty_every=4)
    calls = {"discriminator_penalty": 0, "generator_penalty": 0}
    for name in calls:
        original = getattr(gan, name)

        def counted(*args, name=name, original=original):
            calls[name] += 1
            return original(*args)

        setattr(gan, name, counted)
    trainer(max_steps=8, max_epochs=-1).fit(gan, loader())
    assert calls == {"discriminator_penalty": 4, "generator_penalty": 2}


def test_the_styles_average_is_that_of_training():
    gan = model(ema_half_life=None)
    gan.network.mapping.average.zero_()
    trainer().fit(gan, loader())
    assert gan.network.mapping.average.abs().sum() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"style_mixing": 1.5}, "probability"),
        ({"gamma": -1.0}, "model.gamma"),
        ({"conditional": True}, "the data has none"),
        ({"channel_base": 0}, "model.channel_base"),
        ({"mapping_lr_multiplier": 0.0}, "model.mapping_lr_multiplier"),
        ({"style_decay": 1.5}, "model.style_decay"),
        ({"path_length_decay": 1.0}, "model.path_length_decay"),
    ],
)
def test_invalid_options_get_one_line(options, message):
    with pytest.raises(InputError, match=message):
        model(**options)
