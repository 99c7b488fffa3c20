"""Moved images against closed forms, and the equivariance of untrained generators in decibels."""

import math
from functools import cache

import pytest
import torch

from lightning_gen.affine import rotation
from lightning_gen.errors import InputError
from lightning_gen.evaluation import score_samples
from lightning_gen.evaluation.equivariance import Equivariance, decibels, equivariance
from lightning_gen.evaluation.movement import pseudo_rotate, rotate, rotation_mask, translate
from lightning_gen.models.gans.dcgan import DCGAN
from lightning_gen.models.gans.style_gan2 import StyleGAN2
from lightning_gen.models.gans.style_gan2_base import StyleGAN2Base
from lightning_gen.models.gans.style_gan3 import StyleGAN3
from lightning_gen.networks.alias_free import MagnitudeNorm
from tests.cases import STYLES
from tests.test_evaluation import Linear, digit_sets

SIZES = {
    "image_shape": (3, 32, 32),
    "latent_dim": 16,
    "style_dim": 32,
    "channel_base": 512,
    "channel_max": 16,
    "ema_half_life": None,
}
LAYERS = {"num_layers": 6, "num_critical": 1}


def waves(positions: torch.Tensor, frequency: float) -> torch.Tensor:
    """Ten plane waves of a frequency in cycles per pixel, with fixed directions and phases."""
    generator = torch.Generator().manual_seed(0)
    angles, phases = (torch.rand(2, 10, generator=generator) * 2 * math.pi).double()
    directions = torch.stack([angles.cos(), angles.sin()])
    return torch.sin(2 * math.pi * frequency * positions @ directions + phases).mean(-1)


def grid(side: int) -> torch.Tensor:
    line = torch.arange(side).double() - (side - 1) / 2
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([columns, rows], -1)


def test_a_translation_by_whole_pixels_moves_the_pixels():
    images = torch.randn(2, 3, 16, 16)
    moved, mask = translate(images, torch.tensor([[2.0, -1.0], [0.0, 3.0]]))
    assert torch.equal(moved[0, :, :-1, 2:], images[0, :, 1:, :-2])
    assert torch.equal(moved[1, :, 3:], images[1, :, :-3])
    assert mask[0, 0, :-1, 2:].all()
    assert mask.sum((1, 2, 3)).tolist() == [15 * 14, 13 * 16]


def test_a_translation_by_fractions_interpolates_smooth_images():
    shift = torch.tensor([[0.4, -1.7]])
    moved, mask = translate(waves(grid(32), 0.15)[None, None], shift)
    expected = waves(grid(32) - shift.double(), 0.15)
    assert ((moved - expected) * mask).abs().max() < 0.01
    assert mask.sum() == (32 - 3 - 2) * (32 - 1 - 4)  # taps reach 3 pixels to one side and 2 to the other
    ones, _ = translate(torch.ones(1, 1, 32, 32), shift)
    torch.testing.assert_close(ones * mask, mask)


@pytest.mark.parametrize("angle", [0.3, 2.0, math.pi / 2])
def test_a_rotation_is_that_of_the_continuous_image_with_the_same_band_limit(angle):
    plane = rotation(torch.tensor([angle]).double())[0, :2, :2]
    mask = rotation_mask(32, plane, 6)
    for frequency, decibels_at_least in ((0.1, 80), (0.2, 65), (0.3, 50)):
        rotated = rotate(waves(grid(32), frequency)[None], plane)
        filtered = pseudo_rotate(waves(grid(32) @ plane.T, frequency)[None], plane)
        error = ((rotated - filtered).square() * mask).sum() / mask.sum()
        assert -10 * math.log10(error) > decibels_at_least
    opposite = pseudo_rotate(waves(grid(32) @ plane, 0.1)[None], plane)
    assert ((rotate(waves(grid(32), 0.1)[None], plane) - opposite) * mask).abs().max() > 0.1


def test_a_rotation_keeps_a_constant():
    plane = rotation(torch.tensor([0.7]))[0, :2, :2]
    mask = rotation_mask(24, plane, 6).bool()
    ones = torch.ones(2, 24, 24)
    torch.testing.assert_close(rotate(ones, plane)[:, mask], ones[:, mask], atol=1e-3, rtol=0)
    torch.testing.assert_close(pseudo_rotate(ones, plane)[:, mask], ones[:, mask], atol=1e-3, rtol=0)


class Plane:
    """A generator of a continuous image, equivariant by construction, to which an error may be added."""

    image_shape = (1, 32, 32)
    transformable = True

    def __init__(self, noise: float = 0.0) -> None:
        self.noise = noise

    def sample_latents(self, num: int, *, generator=None) -> torch.Tensor:
        return torch.zeros(num, 1)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def decode_transformed(self, latents: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
        matrices = matrices.double()
        positions = grid(32)[None] @ matrices[:, None, :2, :2].mT + 32 * matrices[:, None, None, :2, 2]
        error = self.noise * (matrices - torch.eye(3)).abs().amax((1, 2)).sign()[:, None, None, None]
        return waves(positions, 0.1)[:, None] + error


@pytest.mark.parametrize("movement", ["eqt", "eqt_frac", "eqr"])
def test_a_continuous_image_is_equivariant_and_an_error_is_measured_exactly(movement):
    assert equivariance(Plane(), movement, 6)[movement] > 60
    score = equivariance(Plane(noise=0.02), movement, 6)
    assert score[movement] == pytest.approx(40, abs=0.1)  # 20 log10(2 / 0.02)


def test_the_standard_error_is_that_of_the_mean_error():
    errors = torch.rand(50, generator=torch.Generator().manual_seed(0)).double() + 1
    score = decibels("eqt", torch.stack([errors * 10, torch.full_like(errors, 10)], 1))
    assert score["eqt"] == pytest.approx(10 * math.log10(4 / errors.mean()))
    higher = errors.mean() + errors.std() / math.sqrt(50)
    assert score["eqt_sem"] == pytest.approx(score["eqt"] - 10 * math.log10(4 / higher), rel=0.02)


@cache
def generator(name: str, **options) -> StyleGAN2Base:
    """An untrained generator whose magnitudes are those of its features."""
    torch.manual_seed(0)
    if name == "stylegan2":
        return StyleGAN2(input="fourier", **SIZES).eval()
    model = StyleGAN3(config=name, **SIZES, **{**LAYERS, **options})
    for module in model.modules():
        if isinstance(module, MagnitudeNorm):
            module.half_life = 1e-6
    model.network.train()
    with torch.no_grad():
        for _ in range(3):
            model.network(model.sample_latents(4))
    return model.eval()


@pytest.mark.parametrize(
    ("name", "movement", "low", "high"),
    [
        ("t", "eqt", 60, 120),
        ("t", "eqt_frac", 50, 120),
        ("t", "eqr", 5, 30),
        ("r", "eqt", 60, 120),
        ("r", "eqr", 60, 120),
        ("stylegan2", "eqt", 5, 25),
        ("stylegan2", "eqr", 5, 25),
    ],
)
def test_alias_free_generators_are_equivariant_before_training(name, movement, low, high):
    assert low < equivariance(generator(name), movement, 4)[movement] < high


def test_without_margins_the_borders_move_into_the_image():
    assert equivariance(generator("t", margin=0), "eqt", 4)["eqt"] < 40


def test_scores_depend_on_the_seed_alone():
    model = generator("t")
    first = equivariance(model, "eqt_frac", 3)
    assert equivariance(model, "eqt_frac", 3, batch_size=1)["eqt_frac"] == pytest.approx(first["eqt_frac"], abs=0.2)
    assert equivariance(model, "eqt_frac", 3, seed=1) != first


def test_the_score_card_names_the_protocol_without_reference_and_extractor():
    train, _ = digit_sets(16)
    options = {"latent_dim": 6, "style_dim": 8, "channel_base": 64, "channel_max": 8}
    model = StyleGAN3((1, 16, 16), num_layers=3, num_critical=1, margin=2, **options)
    card = score_samples(model, train, Linear(), metrics=("eqt", "eqr"), num_samples=3, band_draws=0)
    assert [*card.scores] == ["eqt", "eqt_sem", "eqr", "eqr_sem"]
    assert card.protocol == {"eqt": "eqt3", "eqr": "eqr3"}
    assert card.scores["eqt"] == pytest.approx(equivariance(model, "eqt", 3)["eqt"], abs=0.01)
    assert any("PSNR with peak 2, rotations" in note for note in card.notes)


def test_models_whose_input_cannot_be_moved_are_refused():
    for model in (DCGAN((1, 16, 16), width=4), StyleGAN2((1, 16, 16), **STYLES)):
        with pytest.raises(InputError, match=r"eqt needs .* model\.input"):
            Equivariance("eqt").check(model)
    small = StyleGAN2((1, 8, 8), input="fourier", **STYLES)
    Equivariance("eqt").check(small)
    with pytest.raises(InputError, match="8 pixels"):
        Equivariance("eqr").check(small)
