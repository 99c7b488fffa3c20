"""SR3: its condition, its loss and its samplers against closed forms."""

import pytest
import torch
from torch import nn

from lightning_gen.cli.generation import set_sampling
from lightning_gen.diffusion.processes import append_dims
from lightning_gen.errors import InputError
from lightning_gen.models.diffusion.discrete import DiscreteDiffusionModule
from lightning_gen.models.translation import sr3
from lightning_gen.models.translation.sr3 import SR3
from lightning_gen.networks.conditioning import ConcatenatedInput
from lightning_gen.noise import image_generators
from lightning_gen.resize import bicubic_upscale
from lightning_gen.types import (
    Batch,
    Decoder,
    Encoder,
    ImageGenerator,
    IterativeGenerator,
    IterativeModel,
    SamplingOptions,
    Translator,
)

SHAPE = (1, 8, 8)
TINY = {"width": 8, "multipliers": (1, 2), "blocks": 1, "attention": ()}


def make_model(scale: int = 1, **options) -> SR3:
    side = 8 // scale
    return SR3(**{"image_shape": SHAPE, "input_shape": (1, side, side), **TINY, **options})


def random_images(num: int, side: int = 8, channels: int = 1) -> torch.Tensor:
    return torch.rand(num, channels, side, side, generator=torch.Generator().manual_seed(5)) * 1.6 - 0.8


def with_backbone(model: SR3, function) -> SR3:
    """Replace the backbone by a function of noisy images, noise and condition."""

    class Function(nn.Module):
        def forward(self, images, noise, condition):
            return function(images, noise, condition)

    model.network.backbone = Function()
    return model


def with_random_weights(model: SR3) -> SR3:
    torch.manual_seed(0)
    for parameter in model.network.parameters():
        nn.init.normal_(parameter, std=0.1)
    return model


def options_of(sampler: str, steps: int = 6) -> SamplingOptions:
    return SamplingOptions(sampler=sampler, steps=None if sampler == "adaptive" else steps)


SAMPLERS = make_model().samplers


# ---- the condition


def test_the_input_is_enlarged_and_concatenated_behind_the_noisy_image():
    seen = []

    class Recording(nn.Module):
        def forward(self, images, noise):
            seen.append(images)
            return images[:, :3]

    backbone = ConcatenatedInput(Recording())
    noisy, condition = torch.randn(2, 3, 8, 8), torch.randn(2, 1, 8, 8)
    assert backbone(noisy, torch.zeros(2), condition).equal(noisy)
    assert seen[0].equal(torch.cat([noisy, condition], 1))
    inputs = random_images(2, side=4)
    model = make_model(scale=2)
    assert model.training_condition(Batch(random_images(2), inputs=inputs)).equal(bicubic_upscale(inputs, 2))


@pytest.mark.parametrize("scale", [1, 2])
def test_the_input_reaches_the_network(scale):
    model = with_random_weights(make_model(scale))
    images, inputs = random_images(6), random_images(6, side=8 // scale)

    def loss(inputs):
        torch.manual_seed(0)
        return model.loss(Batch(images, inputs=inputs)).total

    assert loss(inputs) == loss(inputs.clone())
    assert not torch.isclose(loss(inputs), loss(inputs.roll(1, 0)), rtol=1e-4)


def test_grey_inputs_have_images_of_three_channels():
    model = with_random_weights(make_model(image_shape=(3, 8, 8)))
    images = random_images(2, channels=3)
    assert model.loss(Batch(images, inputs=random_images(2))).total.isfinite()
    assert model.translate(random_images(2)).shape == (2, 3, 8, 8)


# ---- the loss


def test_a_network_that_returns_its_condition_has_the_error_of_the_input():
    model = with_backbone(make_model(prediction="image"), lambda images, noise, condition: condition)
    images = random_images(6)
    assert model.loss(Batch(images, inputs=images)).total == 0
    expected = (images - images.roll(1, 0)).square().mean()
    torch.testing.assert_close(model.loss(Batch(images, inputs=images.roll(1, 0))).total, expected)


def test_training_learns_the_image_from_its_input():
    torch.manual_seed(0)
    model = make_model(prediction="image", lr=5e-3)
    [optimizer] = model.configure_optimizers()
    for _ in range(60):
        images = torch.rand(16, 1, 1, 1).mul(2).sub(1).expand(-1, *SHAPE)
        loss = model.loss(Batch(images, inputs=-images)).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    images = random_images(16).mean((1, 2, 3), keepdim=True).expand(-1, *SHAPE) * 3
    translations = model.translate(-images)
    assert (translations - images).square().mean() < 0.1 * images.square().mean()


# ---- sampling


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_returns_the_condition_that_the_network_predicts(sampler, scale):
    model = with_backbone(make_model(scale, prediction="image"), lambda images, noise, condition: condition)
    model.sampling = options_of(sampler)
    inputs = random_images(3, side=8 // scale)
    expected = bicubic_upscale(inputs, scale).clamp(-1, 1)
    torch.testing.assert_close(model.translate(inputs), expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize("sampler", ["ancestral", "euler", "heun", "dpm_solver"])
def test_translations_have_the_mean_and_the_spread_of_the_images_given_the_input(sampler):
    """Images are N(y, s^2) given y, whose denoiser is y + alpha s^2 (x_t - alpha y) / (alpha^2 s^2 + sigma^2)."""
    spread = 0.3
    model = make_model(prediction="image", schedule="cosine")

    def posterior_mean(images, noise, condition):
        times = noise * model.process.num_times / 1000
        alpha, sigma = (append_dims(value).float() for value in model.process.alpha_sigma(times.round()))
        gain = alpha * spread**2 / (alpha.square() * spread**2 + sigma.square())
        return condition + gain * (images - alpha * condition)

    with_backbone(model, posterior_mean)
    model.sampling = SamplingOptions(sampler=sampler, steps=100, clip=False)
    inputs = torch.tensor([-0.2, 0.0, 0.25])[:, None, None, None].expand(-1, *SHAPE).repeat(40, 1, 1, 1)
    difference = model.translate(inputs, generator=torch.Generator().manual_seed(0)) - inputs
    assert difference.mean() == pytest.approx(0, abs=0.02)
    assert difference.std() == pytest.approx(spread, rel=0.06)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_draws_reproducible_images_and_reports_its_progress(sampler):
    model = with_random_weights(make_model(scale=2))
    model.sampling = options_of(sampler, steps=3)
    inputs, progress = random_images(1, side=4).repeat(3, 1, 1, 1), []
    model.progress_callback = progress.append
    images = model.translate(inputs, generator=image_generators(0, range(3)))
    assert sum(progress) == pytest.approx(3)
    assert images.shape == (3, *SHAPE)
    assert images.isfinite().all()
    assert not torch.allclose(images[0], images[1], atol=1e-3)
    torch.testing.assert_close(model.translate(inputs, generator=image_generators(0, range(3))), images)


def test_translations_are_the_same_in_whatever_parts_they_are_drawn(monkeypatch):
    model = with_random_weights(make_model(scale=2))
    model.sampling = options_of("ancestral", steps=3)
    inputs = random_images(5, side=4)
    whole = model.translate(inputs, generator=image_generators(0, range(5)))
    monkeypatch.setattr(sr3, "SAMPLING_BATCH", 2)
    torch.testing.assert_close(model.translate(inputs, generator=image_generators(0, range(5))), whole)
    assert model.translate(inputs[:0]).shape == (0, *SHAPE)


def test_without_a_generator_the_noise_is_torchs_global():
    model = with_random_weights(make_model())
    inputs = random_images(2)
    torch.manual_seed(3)
    images = model.translate(inputs)
    torch.manual_seed(3)
    assert model.translate(inputs).equal(images)
    assert not model.translate(inputs).equal(images)


@pytest.mark.parametrize(
    ("options", "multiple"),
    [
        ({"multipliers": (1, 2, 2)}, 4),
        ({"multipliers": (1, 2, 2), "scale": 2}, 2),
        ({"multipliers": (1, 2), "scale": 4}, 1),
        ({"network": "dit", "patch": 4}, 4),
        ({"network": "dit", "patch": 4, "scale": 2}, 2),
    ],
)
def test_inputs_of_other_sizes_are_padded_to_what_the_network_divides(options, multiple):
    model = make_model(**options)
    assert model.input_multiple == multiple
    model.sampling = SamplingOptions(steps=2)
    inputs = torch.zeros(1, 1, 5, 3)
    assert model.translate(inputs).shape == (1, 1, 5 * model.scale, 3 * model.scale)


# ---- capabilities and errors


def test_it_is_an_iterative_translator_and_generates_nothing_without_an_input():
    model = make_model()
    assert isinstance(model, Translator)
    assert isinstance(model, IterativeModel)
    assert isinstance(model, DiscreteDiffusionModule)
    for capability in (ImageGenerator, IterativeGenerator, Encoder, Decoder):
        assert not isinstance(model, capability)
    set_sampling(model, SamplingOptions(sampler="heun", steps=7))
    assert (model.sampling.sampler, model.sampling.steps) == ("heun", 7)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda: make_model().loss(Batch(random_images(2))), "SR3 makes images from images; set data.inputs"),
        (lambda: make_model(input_shape=(1, 3, 3)), "a whole number of times as large"),
        (lambda: set_sampling(make_model(), SamplingOptions(guidance=2.0)), "guidance is given, and this SR3"),
        (lambda: set_sampling(make_model(), SamplingOptions(sampler="multistep")), "multistep does not support SR3"),
    ],
)
def test_input_errors_are_one_line(action, words):
    with pytest.raises(InputError, match=words) as error:
        action()
    assert "\n" not in str(error.value)
