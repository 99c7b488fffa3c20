"""The augmentations of ADA: warps, colours, filters, and their probabilities."""

import colorsys
import math
from typing import get_args

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as tvf
from scipy.ndimage import convolve1d
from scipy.signal import upfirdn

from lightning_gen import affine
from lightning_gen.errors import InputError
from lightning_gen.losses.penalties import r1_penalty
from lightning_gen.networks import ada, color, warp
from lightning_gen.networks.bands import amplify_bands, band_filters, normalized_gains

GROUPS = get_args(ada.AdaGroup)
SHAPE = (3, 24, 32)


class Forced(ada.Draws):
    """Applies the given operations to every image, with the given parameters, and no others."""

    def __init__(self, images: torch.Tensor, **parameters: float | tuple[float, ...]) -> None:
        super().__init__(images, 0.0, {})
        self.parameters = parameters

    def select(self, operation, group, value, neutral, *, twice=False):
        forced = self.parameters.get(operation, neutral)
        return torch.as_tensor(forced, dtype=torch.float32).expand_as(value).clone()


def forced(images: torch.Tensor, group: str, **parameters: float | tuple[float, ...]) -> torch.Tensor:
    return ada.apply_groups(images, [group], Forced(images, **parameters))


def smooth_images(num: int = 2, shape: tuple[int, int, int] = SHAPE) -> torch.Tensor:
    """Images of random low frequencies, whose values far from the border a good interpolation reproduces."""
    channels, height, width = shape
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(height) * 1.0, torch.arange(width) * 1.0, indexing="ij")
    frequency = torch.rand(2, 4, num, channels, 1, 1, generator=generator) - 0.5
    phase = 2 * math.pi * torch.rand(4, num, channels, 1, 1, generator=generator)
    return (frequency[0] * x + frequency[1] * y + phase).sin().mean(0)


# ---- identity and probabilities


@pytest.mark.parametrize("probability", [0, 0.0, torch.tensor(0.0)])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_with_probability_zero_images_do_not_change_by_a_bit(probability, channels):
    images = torch.randn(3, channels, 15, 16)
    assert torch.equal(ada.ada_augment(images, probability, GROUPS), images)
    assert torch.equal(ada.ada_augment(images, 0.7, ()), images)
    assert torch.equal(ada.ada_augment(images, 0.7, GROUPS, dict.fromkeys(GROUPS, 0.0)), images)


@pytest.mark.parametrize("group", GROUPS)
def test_images_are_augmented_independently_and_reproducibly(group):
    images = torch.rand(1, 3, 16, 16).expand(32, -1, -1, -1)
    torch.manual_seed(3)
    augmented = ada.ada_augment(images, 1.0, [group])
    assert len({image.numpy().tobytes() for image in augmented}) > 16
    torch.manual_seed(3)
    assert torch.equal(ada.ada_augment(images, torch.tensor(1.0), [group]), augmented)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_shape_and_type_are_preserved_also_under_autocast(dtype):
    images = torch.randn(3, 2, 13, 16).to(dtype)
    torch.manual_seed(0)
    augmented = ada.ada_augment(images, 0.8, GROUPS)
    assert augmented.shape == images.shape
    assert augmented.dtype == dtype
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ada.ada_augment(images, 0.8, GROUPS), augmented)


def test_each_operation_is_applied_with_its_probability():
    images = torch.randn(4000, 1, 1, 1)
    draws = ada.Draws(images, torch.tensor(0.8), {"geom": 0.5, "isotropic_scale": 0.25})
    one = torch.ones(4000)
    for operation, group, twice, expected in (
        ("x_flip", "blit", False, 0.8),
        ("fractional_translation", "geom", False, 0.4),
        ("isotropic_scale", "geom", False, 0.2),
        ("rotation", "geom", True, 1 - math.sqrt(1 - 0.4)),
    ):
        share = draws.select(operation, group, one, 0.0, twice=twice).mean().item()
        assert share == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 4000))
    draws = ada.Draws(images, 1.5, {})
    assert draws.select("rotation", "geom", one, 0.0, twice=True).all()


def test_with_probability_one_half_of_the_images_is_flipped():
    ramp = torch.arange(8.0).expand(1000, 1, 8, 8)
    augmented = ada.ada_augment(ramp, 1.0, ["blit"], {"rotate90": 0.0, "integer_translation": 0.0})
    flipped = (augmented == ramp.flip(3)).flatten(1).all(1)
    assert (flipped | (augmented == ramp).flatten(1).all(1)).all()
    assert flipped.float().mean().item() == pytest.approx(0.5, abs=0.06)


def test_parameters_have_the_papers_distributions():
    images = torch.zeros(20000, 1, 40, 80)
    unit = torch.ones(20000, 1, 1, 1)

    def inverse(group, **multipliers):
        others = dict.fromkeys(("blit", "geom"), 0.0)
        draws = ada.Draws(images, 1.0, {**others, **multipliers})
        return ada.inverse_blit(draws, 40, 80) if group == "blit" else ada.inverse_geom(draws, 40, 80)

    shift = inverse("blit", integer_translation=1.0)[:, :2, 2]
    assert torch.equal(shift, shift.round())
    assert shift.abs().amax(0).tolist() == [10, 5]
    shift = inverse("geom", fractional_translation=1.0)[:, :2, 2]
    torch.testing.assert_close(shift.std(0), torch.tensor([10.0, 5.0]), rtol=0.03, atol=0)
    scale = inverse("geom", isotropic_scale=1.0)[:, 0, 0].log2()
    assert scale.std().item() == pytest.approx(0.2, rel=0.03)
    stretch = inverse("geom", anisotropic_scale=1.0)
    torch.testing.assert_close(stretch[:, 0, 0] * stretch[:, 1, 1], torch.ones(20000))
    assert stretch[:, 0, 0].log2().std().item() == pytest.approx(0.2, rel=0.03)
    turns = inverse("blit", rotate90=1.0)
    angle = torch.atan2(turns[:, 1, 0], turns[:, 0, 0]) / (math.pi / 2)
    assert angle.round().int().remainder(4).bincount().tolist() == pytest.approx([5000] * 4, rel=0.06)

    shifted = color.apply_color(
        0 * unit, ada.color_matrices(ada.Draws(unit, 1.0, {"luma_flip": 0.0, "contrast": 0}), 1)
    )
    assert shifted.std().item() == pytest.approx(0.2, rel=0.03)
    scaled = color.apply_color(unit, ada.color_matrices(ada.Draws(unit, 1.0, {"luma_flip": 0.0, "brightness": 0}), 1))
    assert scaled.log2().std().item() == pytest.approx(0.5, rel=0.03)


def test_an_unknown_group_is_rejected_by_name():
    with pytest.raises(InputError, match=r"model\.ada_groups is 'colour'; it must be one of blit, geom, color"):
        ada.ada_augment(torch.zeros(1, 1, 8, 8), 0.0, ["blit", "colour"])


# ---- the warp


def test_flips_quarter_turns_and_whole_shifts_are_exact():
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(forced(images, "blit", x_flip=1.0), tvf.hflip(images))
    for turns in range(4):
        assert torch.equal(forced(images, "blit", rotate90=turns), images.rot90(turns, (2, 3)))
    shifted = forced(images, "blit", integer_translation=(2 / 16, -1 / 16))
    assert torch.equal(shifted[:, :, :-1, 2:], images.roll((-1, 2), (2, 3))[:, :, :-1, 2:])
    padded = torch.nn.functional.pad(images, (2, 0, 0, 1), mode="reflect")
    assert torch.equal(shifted, padded[:, :, 1:, :16])
    both = forced(images, "blit", x_flip=1.0, rotate90=1.0, integer_translation=(2 / 16, 0.0))
    assert torch.equal(both[..., 2:], tvf.hflip(images).rot90(1, (2, 3)).roll(2, 3)[..., 2:])


@pytest.mark.parametrize(
    ("parameters", "degrees", "shift", "scale"),
    [
        ({"rotation": 0.2}, -math.degrees(0.4), (0, 0), 1),  # the rotation is applied twice
        ({"isotropic_scale": 1.25}, 0, (0, 0), 1.25),
        ({"fractional_translation": (3 / 32, -2 / 24)}, 0, (3, -2), 1),
        (
            {"isotropic_scale": 1.1, "rotation": -0.15, "fractional_translation": (2 / 32, 0.0)},
            math.degrees(0.3),
            (2, 0),
            1.1,
        ),
    ],
)
def test_the_warp_agrees_with_torchvision(parameters, degrees, shift, scale):
    images = smooth_images()
    warped = forced(images, "geom", **parameters)
    expected = tvf.affine(images, degrees, list(shift), scale, [0.0, 0.0], interpolation=tvf.InterpolationMode.BILINEAR)
    inner = (..., slice(8, -8), slice(8, -8))
    torch.testing.assert_close(warped[inner], expected[inner], atol=0.05, rtol=0)
    assert not torch.allclose(images[inner], expected[inner], atol=0.05, rtol=0)


def test_the_warp_interpolates_a_sine_wave_at_any_position():
    x, y = torch.arange(32.0), torch.arange(24.0)[:, None]

    def wave(x, y):
        return (0.5 * x + 0.3 * y).sin()

    one = torch.ones(1)
    for angle, scale, dx, dy in ((0.3, 1.1, 0.4, -0.7), (-1.0, 0.9, -1.3, 0.2), (0.0, 1.0, 0.5, 0.5)):
        matrix = (
            affine.translation(dx * one, dy * one)
            @ affine.rotation(angle * one)
            @ affine.scaling(scale * one, scale * one)
        )
        warped = warp.warp(wave(x, y)[None, None], matrix)[0, 0]
        at = torch.stack(torch.broadcast_tensors(x - 15.5, y - 11.5, torch.ones(()))).flatten(1)
        source = (matrix[0] @ at).reshape(3, 24, 32)
        inside = (source[0].abs() < 9) & (source[1].abs() < 6)
        expected = wave(source[0] + 15.5, source[1] + 11.5)
        assert inside.sum() > 50
        torch.testing.assert_close(warped[inside], expected[inside], atol=0.03, rtol=0)


def test_the_warp_keeps_constants_and_does_not_mix_images():
    matrices = torch.eye(3).repeat(8, 1, 1)
    matrices[:, :2] += 0.4 * torch.randn(8, 2, 3, generator=torch.Generator().manual_seed(0))
    matrices[:, :2, 2] *= 30
    constants = torch.linspace(-1, 1, 8)[:, None, None, None].expand(8, 2, 9, 16)
    torch.testing.assert_close(warp.warp(constants, matrices), constants)
    images = torch.randn(8, 1, 9, 16)
    torch.testing.assert_close(warp.warp(images, matrices)[3:4], warp.warp(images[3:4], matrices[3:4]))


@pytest.mark.parametrize("side", [8, 9, 16])
def test_resampling_inverts_itself_and_equals_scipys(side):
    images = torch.randn(1, 1, side, side, dtype=torch.float64)
    samples = warp.upsample(images)
    assert samples.shape[2:] == (2 * side, 2 * side)
    taps = np.array(warp.SYM6) / sum(warp.SYM6)
    padded = np.pad(images[0, 0].numpy(), 3, mode="reflect")
    expected = upfirdn(2 * taps, upfirdn(2 * taps, padded, up=2, axis=0), up=2, axis=1)
    np.testing.assert_allclose(samples[0, 0].numpy(), expected[11 : 11 + 2 * side, 11 : 11 + 2 * side], atol=1e-9)

    # samples of the whole plane, as far as the filter reaches
    padded = np.pad(images[0, 0].numpy(), 6, mode="reflect")
    plane = upfirdn(2 * taps, upfirdn(2 * taps, padded, up=2, axis=0), up=2, axis=1)
    first = 2 * 6 + 5 - 5
    plane = torch.from_numpy(plane[first : first + 2 * side + 10, first : first + 2 * side + 10].copy())[None, None]
    torch.testing.assert_close(warp.downsample(plane), images, atol=1e-9, rtol=0)


def test_sym6_is_orthonormal_with_six_vanishing_moments():
    h = np.array(warp.SYM6)
    for shift in range(6):
        assert (h[2 * shift :] * h[: 12 - 2 * shift]).sum() == pytest.approx(float(shift == 0), abs=1e-9)
    k = np.arange(12.0) - 5
    for power in range(6):
        assert ((-1) ** np.arange(12) * k**power * h).sum() == pytest.approx(0, abs=1e-6)


def test_points_beyond_the_border_are_reflected_any_number_of_times():
    positions = torch.arange(-9.0, 14.0)
    expected = np.pad(np.arange(5), 9, mode="reflect")
    assert warp.reflect(positions, 5).tolist() == expected.tolist()


def test_augmented_images_have_derivatives_of_second_order():
    def augment(images: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(0)
        return ada.ada_augment(images, 0.8, GROUPS)

    images = torch.randn(3, 3, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(augment, (images,), fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda images: augment(images).square(), (images,), fast_mode=True)


def test_r1_of_a_linear_discriminator_is_that_of_its_weights_seen_through_the_augmentation():
    """grad_x <w, A x> = A^T w: the penalty, and its gradient in w, are those of the matrix A."""
    torch.manual_seed(0)
    images, weights = torch.randn(1, 1, 6, 6, dtype=torch.float64), torch.randn(36, dtype=torch.float64)
    weights.requires_grad_()

    def augment(images: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)
        return ada.ada_augment(images, 1.0, ["blit", "geom"])

    penalty = r1_penalty(lambda images: augment(images).flatten(1) @ weights, images)
    penalty.backward()
    matrix = torch.autograd.functional.jacobian(augment, images).reshape(36, 36)
    assert not torch.allclose(matrix, torch.eye(36, dtype=torch.float64))
    torch.testing.assert_close(penalty.detach(), (matrix.T @ weights.detach()).square().sum())
    torch.testing.assert_close(weights.grad, 2 * matrix @ matrix.T @ weights.detach())


# ---- colours


def test_colour_operations_equal_their_closed_forms():
    images = torch.randn(2, 3, 4, 5)
    mean = images.mean(1, keepdim=True)
    torch.testing.assert_close(forced(images, "color", brightness=0.3), images + 0.3)
    torch.testing.assert_close(forced(images, "color", contrast=1.7), images * 1.7)
    torch.testing.assert_close(forced(images, "color", luma_flip=1.0), images - 2 * mean)
    torch.testing.assert_close(forced(images, "color", saturation=0.4), mean + 0.4 * (images - mean))
    torch.testing.assert_close(forced(images, "color", hue=2 * math.pi / 3), images.roll(1, 1), atol=1e-6, rtol=0)
    torch.testing.assert_close(forced(images, "color", hue=math.pi), 2 * mean - images, atol=1e-6, rtol=0)
    torch.testing.assert_close(
        forced(images, "color", brightness=0.3, contrast=2.0, luma_flip=1.0, saturation=0.5),
        0.5 * 2 * (images - mean) - 2 * (mean + 0.3),
    )


def test_a_hue_rotation_turns_the_hue():
    red = torch.tensor([0.6, 0.4, 0.4])[None, :, None, None]
    for degrees in (120.0, 240.0):
        turned = forced(red, "color", hue=math.radians(degrees)).flatten()
        assert colorsys.rgb_to_hsv(*turned.tolist())[0] * 360 == pytest.approx(degrees, abs=1e-3)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_grey_images_of_any_number_of_channels_change_as_rgb_images_do(channels):
    grey = torch.randn(5, 1, 4, 4)
    parameters = {"brightness": 0.2, "contrast": 0.7, "luma_flip": 1.0, "saturation": 3.0, "hue": 1.0}
    rgb = forced(grey.expand(-1, 3, -1, -1), "color", **parameters)
    other = forced(grey.expand(-1, channels, -1, -1), "color", **parameters)
    for channel in range(channels):
        torch.testing.assert_close(other[:, channel], rgb[:, 0], atol=1e-5, rtol=1e-5)


# ---- filter, noise, cutout


def test_bands_sum_to_the_image_and_pass_their_octaves():
    filters = band_filters()
    delta = torch.zeros(43, dtype=torch.float64)
    delta[21] = 1
    torch.testing.assert_close(filters.sum(0), delta)
    torch.testing.assert_close(filters, filters.flip(1))
    frequencies = math.pi * torch.tensor([1 / 16, 3 / 16, 3 / 8, 3 / 4], dtype=torch.float64)
    responses = filters @ torch.cos(torch.outer(torch.arange(43.0).double() - 21, frequencies))
    assert responses.argmax(0).tolist() == [0, 1, 2, 3]
    assert responses.diagonal().min() > 0.5


def test_the_filter_equals_scipys_convolution():
    images, gains = torch.randn(2, 2, 16, 12, dtype=torch.float64), torch.tensor([[1.0, 2, 3, 4], [0.5, 1, 1, 2]])
    for image, gain, filtered in zip(images, gains, amplify_bands(images, gains), strict=True):
        taps = (gain.double() @ band_filters()).numpy()
        expected = convolve1d(convolve1d(image.numpy(), taps, axis=1, mode="mirror"), taps, axis=2, mode="mirror")
        np.testing.assert_allclose(filtered.numpy(), expected, atol=1e-9)


def test_normalised_gains_keep_the_power_of_a_natural_image():
    gains = normalized_gains(torch.rand(5, 4) + 0.1)
    torch.testing.assert_close(gains.square() @ torch.tensor([10.0, 1, 1, 1]) / 13, torch.ones(5))
    torch.testing.assert_close(normalized_gains(torch.full((1, 4), 3.0)), torch.ones(1, 4))


def test_noise_has_the_half_normal_standard_deviation():
    noise = ada.ada_augment(torch.zeros(3000, 1, 16, 16), 1.0, ["noise"])
    sigma = noise.flatten(1).std(1)
    assert sigma.square().mean().sqrt().item() == pytest.approx(0.1, rel=0.05)
    assert sigma.mean().item() == pytest.approx(0.1 * math.sqrt(2 / math.pi), rel=0.05)


def test_cutout_zeroes_a_rectangle_of_half_the_sides():
    zeroed = ada.ada_augment(torch.ones(2000, 1, 16, 24), 1.0, ["cutout"])[:, 0] == 0
    rows, columns = zeroed.any(2), zeroed.any(1)
    assert torch.equal(zeroed, rows[:, :, None] & columns[:, None, :])
    assert rows.sum(1).max() == 8
    assert columns.sum(1).max() == 12
    # a window of length s with its centre uniform in the unit interval covers s - (s / 2)^2 of it on average
    assert rows.float().mean().item() == pytest.approx(7 / 16, rel=0.03)
    assert columns.float().mean().item() == pytest.approx(7 / 16, rel=0.03)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.gpu
def test_the_gpu_warps_as_the_cpu_does():
    images, matrices = torch.randn(4, 3, 32, 32), torch.eye(3).repeat(4, 1, 1)
    matrices[:, :2] += 0.3 * torch.randn(4, 2, 3)
    torch.testing.assert_close(
        warp.warp(images.cuda(), matrices.cuda()).cpu(), warp.warp(images, matrices), atol=1e-4, rtol=0
    )
