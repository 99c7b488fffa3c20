"""Layer specifications, filters and Fourier features of alias-free generators against closed forms and scipy."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.signal import freqz, upfirdn

from lightning_gen.affine import rotation, translation
from lightning_gen.errors import InputError
from lightning_gen.networks.alias_free import AliasFreeSynthesis, FilteredLeakyReLU, MagnitudeNorm
from lightning_gen.networks.alias_free_filters import (
    SignalSpec,
    kaiser_filter,
    radial_filter,
    resampling_matrix,
    signal_specs,
)
from lightning_gen.networks.fourier_features import FourierFeatures, rigid_transforms


def test_the_specifications_are_those_of_the_papers_networks():
    specs = signal_specs((3, 1024, 1024))
    assert [spec.size for spec in specs] == [36, 36, 52, 52, 84, 148, 148, 276, 276, 532, 1044, 1044, 1044, 1024]
    assert [spec.channels for spec in specs] == [512] * 7 + [323, 203, 128, 81, 51, 32, 32]
    assert [spec.rate for spec in specs] == [16, 16, 32, 32, 64, 128, 128, 256, 256, 512] + [1024] * 4
    assert [spec.critical for spec in specs] == [False] * 12 + [True] * 2
    assert specs[0].cutoff == 2
    assert specs[0].half_width == 8 - 2  # from the cutoff to half of the sampling rate, above the stopband of 2^2.1
    assert specs[-1].half_width == pytest.approx(512 * (2**0.3 - 1))


@pytest.mark.parametrize("side", [8, 16, 64, 512])
def test_cutoffs_grow_geometrically_below_half_of_the_sampling_rate(side):
    specs = signal_specs((1, side, side), num_layers=9, num_critical=2, margin=4)
    assert all(2 * spec.cutoff <= spec.rate <= side for spec in specs)
    ratios = [second.cutoff / first.cutoff for first, second in pairwise(specs[:8])]
    assert ratios == pytest.approx([(side / 4) ** (1 / 7)] * 7)
    assert [spec.size - spec.rate for spec in specs] == [8] * 8 + [0]
    assert specs[-1].rate == side


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"image_shape": (1, 24, 24)}, "24 x 24"),
        ({"image_shape": (1, 16, 32)}, "16 x 32"),
        ({"image_shape": (1, 4, 4)}, "4 x 4"),
        ({"num_critical": 0}, "num_critical"),
        ({"num_layers": 2}, "num_layers"),
        ({"margin": -1}, "margin"),
        ({"channel_max": 0}, "channel_max"),
    ],
)
def test_impossible_specifications_are_refused(options, named):
    with pytest.raises(InputError, match=named):
        signal_specs(**{"image_shape": (1, 16, 16), **options})


@pytest.mark.parametrize(("i", "attenuation"), [(0, 62), (3, 54), (8, 45), (9, 30), (13, 27)])
def test_filters_keep_the_mean_and_attenuate_the_stopband_as_kaisers_formula_says(i, attenuation):
    spec = signal_specs((3, 256, 256))[i]
    rate = 2 * spec.rate
    taps = kaiser_filter(12, spec.cutoff, spec.half_width, rate)
    stopband = np.linspace(spec.cutoff + spec.half_width, rate / 2, 200)
    _, response = freqz(taps.numpy(), worN=stopband, fs=rate)
    assert taps.sum() == pytest.approx(1)
    assert -20 * np.log10(np.abs(response).max()) > attenuation
    formula = 2.285 * (12 - 1) * math.pi * 2 * spec.half_width / spec.rate + 7.95
    assert attenuation == pytest.approx(formula, abs=6)


def test_a_radial_filter_has_the_same_response_in_all_directions():
    spec = signal_specs((3, 256, 256))[9]
    rate = 2 * spec.rate
    taps = radial_filter(12, spec.cutoff, spec.half_width, rate)
    separable = torch.outer(*[kaiser_filter(12, spec.cutoff, spec.half_width, rate)] * 2)
    assert taps.sum() == pytest.approx(1)
    torch.testing.assert_close(taps, taps.T)
    torch.testing.assert_close(taps, taps.flip(0))
    axis = (torch.arange(12, dtype=torch.float64) - 5.5) / rate

    def response(filter_taps: torch.Tensor, angle: float) -> float:
        phase = spec.cutoff * (axis * math.cos(angle) + axis[:, None] * math.sin(angle))
        return float((filter_taps * torch.cos(2 * math.pi * phase)).sum())

    straight, diagonal = response(taps, 0), response(taps, math.pi / 4)
    assert diagonal == pytest.approx(straight, abs=0.02)
    assert abs(response(separable, math.pi / 4) - response(separable, 0)) > 0.1


def test_resampling_by_a_matrix_is_upfirdn():
    generator = torch.Generator().manual_seed(0)
    signal, taps = torch.randn(9, generator=generator).double(), torch.rand(7, generator=generator).double()
    matrix = resampling_matrix(taps, 9, 10, up=3, down=2, padding=2).double()
    full = upfirdn(3 * taps.flip(0).numpy(), signal.numpy(), up=3)  # zero padding of 6 before the signal
    np.testing.assert_allclose((matrix @ signal).numpy(), full[6 - 2 :][: 2 * 10 : 2], rtol=1e-6)


@pytest.mark.parametrize("radial", [False, True])
@pytest.mark.parametrize(("before", "after"), [(16, 16), (16, 32), (32, 32)])
def test_the_nonlinearity_is_centred_and_sees_smooth_signals(before, after, radial):
    def spec(rate: int) -> SignalSpec:
        return SignalSpec(1, rate + 20, rate, cutoff=rate / 4, half_width=rate / 4, critical=False)

    layer = FilteredLeakyReLU(spec(before).size, spec(before), spec(after), radial)

    def waves(rate: int) -> torch.Tensor:
        line = (torch.arange(rate + 20) - (rate + 19) / 2) / rate
        return torch.sin(math.pi * line + 0.7) * torch.cos(math.pi * line[:, None] + 0.1) + 2

    output = layer(waves(before)[None, None])[0, 0]
    inside = slice(10, 10 + after)
    expected = waves(after)[inside, inside] * math.sqrt(2)  # positive everywhere, so that the leaky ReLU is linear
    assert (output[inside, inside] - expected).abs().max() < 0.06  # half a sample off: 0.14 at a rate of 16
    negative = layer(-waves(before)[None, None])[0, 0]
    torch.testing.assert_close(negative[inside, inside], -0.2 * output[inside, inside], atol=1e-5, rtol=1e-5)


def test_fourier_features_are_uniform_on_the_disc_and_follow_a_transform():
    torch.manual_seed(0)
    features = FourierFeatures(4096, size=12, rate=8, cutoff=2.0)
    radii = features.frequencies.norm(dim=1)
    assert radii.max() < 2
    assert (radii < 1).float().mean() == pytest.approx(0.25, abs=0.02)
    features = FourierFeatures(5, size=12, rate=8, cutoff=2.0)
    moved = features(translation(torch.tensor([-2 / 8]), torch.tensor([1 / 8])))  # two samples right, one up
    torch.testing.assert_close(moved[..., :-1, 2:], features()[..., 1:, :-2], atol=1e-5, rtol=1e-5)
    turned = features(rotation(torch.tensor([math.pi / 2])))
    torch.testing.assert_close(turned, features().rot90(1, (2, 3)), atol=1e-4, rtol=0)


def test_enlarged_frequencies_fade_out_before_they_alias():
    features = FourierFeatures(64, size=12, rate=8, cutoff=2.0)
    shrunk = features(torch.diag(torch.tensor([9.0, 9.0, 1.0]))[None])
    torch.testing.assert_close(features.weight.new_zeros(1), shrunk.std()[None], atol=0.2, rtol=0)
    assert features().std() > 0.4


def test_the_learned_transform_rotates_and_translates():
    a, b = math.cos(0.3), math.sin(0.3)
    transform = rigid_transforms(torch.tensor([[2 * a, 2 * b, 0.5, -0.25]]))
    expected = rotation(torch.tensor([0.3])) @ translation(torch.tensor([-0.25]), torch.tensor([0.125]))
    torch.testing.assert_close(transform, expected)
    torch.testing.assert_close(rigid_transforms(torch.tensor([[1.0, 0, 0, 0]])), torch.eye(3)[None])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(rigid_transforms(torch.tensor([[2 * a, 2 * b, 0.5, -0.25]])), expected)


def test_the_magnitude_is_averaged_over_images_in_training_only():
    norm = MagnitudeNorm()
    features = torch.full((20, 3, 4, 4), 5.0)
    norm.half_life = 20
    norm(features)
    assert norm.mean_square == pytest.approx((1 + 25) / 2)
    for _ in range(60):
        norm(features)
    norm.eval()
    torch.testing.assert_close(norm(2 * features), torch.full_like(features, 2))
    assert norm.mean_square == pytest.approx(25)


@pytest.mark.parametrize(("config", "kernel_size", "channels"), [("t", 3, 16), ("r", 1, 32)])
def test_r_has_pointwise_kernels_and_radial_filters_and_twice_as_many_channels(config, kernel_size, channels):
    sizes = {"num_layers": 4, "num_critical": 1, "channel_base": 128, "channel_max": 16}
    network = AliasFreeSynthesis((3, 16, 16), 8, config, **sizes)
    assert network.num_styles == 6
    assert {layer.weight.shape[2] for layer in network.layers} == {kernel_size}
    assert network.layers[0].weight.shape[0] == channels
    assert [layer.activation.radial for layer in network.layers] == [config == "r"] * 3 + [False]


def test_a_layers_output_depends_neither_on_batch_mates_nor_on_the_norm_of_weights_and_styles():
    torch.manual_seed(0)
    layer = AliasFreeSynthesis((3, 16, 16), 8, "t", 4, 1, channel_base=128, channel_max=16).layers[1].eval()
    features, styles = torch.randn(4, 16, 36, 36), torch.randn(4, 8)
    outputs = layer(features, styles)
    torch.testing.assert_close(outputs[:1], layer(features[:1], styles[:1]), atol=1e-5, rtol=1e-4)
    layer.weight.detach().mul_(7)
    layer.affine.weight.detach().mul_(3)
    layer.affine.bias.detach().mul_(3)
    torch.testing.assert_close(layer(features, styles), outputs, atol=1e-5, rtol=1e-4)
