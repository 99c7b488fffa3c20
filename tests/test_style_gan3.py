"""StyleGAN3: its options, its discriminator's inputs, and Fourier features as the input of StyleGAN2."""

import pytest
import torch

from lightning_gen.affine import identity, translation
from lightning_gen.errors import InputError
from lightning_gen.models.gans.style_gan2 import StyleGAN2
from lightning_gen.models.gans.style_gan3 import StyleGAN3
from lightning_gen.noise import image_generators
from lightning_gen.types import StyleMapper, TransformableGenerator
from tests.cases import STYLES

LAYERS = {"num_layers": 3, "num_critical": 1, "margin": 2}


def model(**options) -> StyleGAN3:
    torch.manual_seed(0)
    return StyleGAN3(image_shape=(1, 16, 16), **{**STYLES, **LAYERS, **options})


def test_images_are_a_function_of_the_latents():
    gan = model()
    assert isinstance(gan, StyleMapper)
    assert gan.num_styles == 5
    latents = gan.sample_latents(2, generator=image_generators(0, range(2)))
    assert torch.equal(gan.sample(2, generator=image_generators(0, range(2))), gan.decode(latents))
    assert torch.equal(gan.decode(latents), gan.decode_styles(gan.styles(latents)))


def test_gamma_follows_the_size_of_the_image():
    assert model().gamma == pytest.approx(0.5 / 64)
    assert StyleGAN3(image_shape=(1, 32, 32), **STYLES, **LAYERS).gamma == pytest.approx(0.5 / 16)
    assert model(gamma=3.0).gamma == 3


def test_the_discriminators_inputs_are_blurred_less_and_less():
    gan = model(blur_sigma=2.0, blur_images=100)
    images = torch.randn(4, 1, 16, 16)

    def roughness() -> float:
        blurred = gan.discriminator_input(images, None)
        return float((blurred[..., 1:] - blurred[..., :-1]).square().mean())

    first = roughness()
    gan.images_seen = 50
    second = roughness()
    gan.images_seen = 100
    assert first < second < roughness()
    assert torch.equal(gan.discriminator_input(images, None), images)
    assert gan.blur(torch.ones(1, 1, 16, 16)).max() == 1


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"blur_sigma": -1.0}, "model.blur_sigma"),
        ({"blur_images": 0}, "model.blur_images"),
        ({"num_critical": 3}, "model.num_layers"),
        ({"channel_base": 0}, "model.channel_base"),
    ],
)
def test_invalid_options_are_refused_by_name(options, named):
    with pytest.raises(InputError, match=named):
        model(**options)


@pytest.mark.parametrize(
    "gan",
    [model(), StyleGAN2(image_shape=(1, 16, 16), input="fourier", **STYLES)],
    ids=["StyleGAN3", "StyleGAN2"],
)
def test_a_transform_of_the_input_moves_the_image(gan):
    assert isinstance(gan, TransformableGenerator)
    assert gan.transformable
    latents = gan.sample_latents(3)
    still = gan.decode_transformed(latents, identity(3))
    torch.testing.assert_close(still.clamp(-1, 1), gan.decode(latents))
    moved = gan.decode_transformed(latents, translation(torch.full((3,), -0.25), torch.zeros(3)))
    inside = slice(4, -4)
    distance = (moved[..., inside, 8:] - still[..., inside, 4:-4]).square().mean()
    assert distance < 0.3 * (moved - still)[..., inside, inside].square().mean()


def test_stylegan2_takes_no_transform_with_a_constant_input():
    gan = StyleGAN2(image_shape=(1, 16, 16), **STYLES)
    assert not gan.transformable
