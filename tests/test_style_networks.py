"""Equalised layers, modulated convolutions, StyleGAN2's players and path lengths against closed forms."""

import math

import pytest
import torch
from torch.nn import functional as F

from lightning_gen.errors import InputError
from lightning_gen.losses.path_length import path_lengths
from lightning_gen.networks.equalized import (
    EqualizedConv2d,
    EqualizedLinear,
    normalize_2nd_moment,
    scaled_leaky_relu,
)
from lightning_gen.networks.mapping import MappingNetwork
from lightning_gen.networks.modulated import ModulatedConv2d, modulated_conv2d
from lightning_gen.networks.pyramid import pyramid_sides
from lightning_gen.networks.style_discriminator import StyleDiscriminator
from lightning_gen.networks.style_generator import SkipSynthesis, StyleGenerator


def synthesis(side: int = 16) -> SkipSynthesis:
    torch.manual_seed(0)
    network = SkipSynthesis((3, side, side), style_dim=8, channel_base=64, channel_max=8)
    for layer in network.layers:
        torch.nn.init.constant_(layer.noise_strength, 0.5)
    return network


@pytest.mark.parametrize("lr_multiplier", [1.0, 0.01])
def test_an_equalised_layer_has_unit_variance_and_its_gain(lr_multiplier):
    torch.manual_seed(0)
    layer = EqualizedLinear(256, 512, gain=3.0, lr_multiplier=lr_multiplier, bias_init=2.0)
    outputs = layer(torch.randn(512, 256)).detach()
    assert outputs.std() == pytest.approx(3, rel=0.02)
    assert outputs.mean() == pytest.approx(2, abs=0.02)
    features = EqualizedConv2d(64, 128, 3)(torch.randn(8, 64, 18, 18)).detach()[..., 1:-1, 1:-1]
    assert features.std() == pytest.approx(1, rel=0.02)


def test_a_learning_rate_multiplier_scales_adams_step():
    steps = []
    for multiplier in (1.0, 0.01):
        torch.manual_seed(0)
        layer = EqualizedLinear(4, 3, lr_multiplier=multiplier)
        before = layer.weight.detach() * multiplier
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
        layer(torch.ones(2, 4)).sum().backward()
        optimizer.step()
        steps.append((layer.weight.detach() * multiplier - before).abs().mean())
    assert steps[1] / steps[0] == pytest.approx(0.01, rel=1e-3)


def test_normalisation_gives_a_root_mean_square_of_one():
    normalised = normalize_2nd_moment(torch.randn(4, 9, 5) * 7)
    torch.testing.assert_close(normalised.square().mean(1), torch.ones(4, 5))
    assert scaled_leaky_relu(torch.randn(10**6)).square().mean() == pytest.approx(1.04, rel=0.01)  # 1 + 0.2^2


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("up", [1, 2])
def test_modulation_equals_convolution_by_each_images_weights(demodulate, up):
    torch.manual_seed(0)
    images = torch.randn(3, 4, 5, 5, dtype=torch.float64)
    weight = torch.randn(6, 4, 3, 3, dtype=torch.float64)
    styles = torch.randn(3, 4, dtype=torch.float64)
    ours = modulated_conv2d(images, weight, styles, demodulate=demodulate, up=up)
    for image, style, output in zip(images, styles, ours, strict=True):
        scaled = weight * style[None, :, None, None]  # equation 1
        if demodulate:
            scaled = scaled / (scaled.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()  # equation 3
        if up == 1:
            expected = F.conv2d(image[None], scaled, padding=1)
        else:
            expected = F.conv_transpose2d(image[None], scaled.transpose(0, 1), stride=2)
        torch.testing.assert_close(output[None], expected)


def test_demodulation_gives_unit_variance_whatever_the_style():
    torch.manual_seed(0)
    layer = ModulatedConv2d(64, 32, 3, style_dim=16)
    outputs = layer(torch.randn(4, 64, 32, 32), 10 * torch.randn(4, 16)).detach()[..., 1:-1, 1:-1]
    assert outputs.std((0, 2, 3)).mean() == pytest.approx(1, abs=0.02)


def test_the_mapping_network_depends_on_the_class_and_ignores_the_length_of_z():
    torch.manual_seed(0)
    mapping = MappingNetwork(5, 8, layers=2, num_classes=3)
    noise, classes = torch.randn(3, 5), torch.eye(3)
    styles = mapping(torch.cat([noise, classes], 1))
    torch.testing.assert_close(styles, mapping(torch.cat([7 * noise, classes], 1)), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(styles, mapping(torch.cat([noise, classes.roll(1, 0)], 1)), atol=0.1)
    assert 0.1 < styles.detach().square().mean() < 2


def test_the_average_of_styles_follows_the_batches():
    mapping = MappingNetwork(2, 3, layers=1, average_decay=0.9)
    for _ in range(5):
        mapping.update_average(torch.ones(4, 3))
    torch.testing.assert_close(mapping.average, torch.full((3,), 1 - 0.9**5))


@pytest.mark.parametrize("side", [8, 32])
def test_there_is_a_style_for_each_convolution_and_the_last_image(side):
    network = synthesis(side)
    assert network.num_styles == 2 * math.log2(side) - 2
    styles = torch.randn(2, network.num_styles, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(styles).square().sum(), styles)
    assert (gradient.square().sum((0, 2)) > 0).all()


def test_the_style_of_the_last_image_changes_its_colours_alone():
    """A 1 x 1 convolution of unchanged features: linear in the style."""
    network = synthesis()
    styles = torch.randn(1, network.num_styles, 8)
    images = []
    for step in (0, 1, 2):
        changed = styles.clone()
        changed[:, -1] += step
        images.append(network(changed))
    torch.testing.assert_close(images[2] - images[1], images[1] - images[0], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(images[1], images[0], atol=0.01)


def test_noise_is_constant_unless_it_is_given():
    network, styles = synthesis(), torch.randn(2, 6, 8)
    assert torch.equal(network(styles), network(styles))
    assert torch.equal(network(styles), synthesis()(styles))
    assert not torch.allclose(network(styles), network(styles, network.draw_noise(2)))
    assert StyleGenerator(MappingNetwork(4, 8, 1), network)(torch.randn(2, 4)).shape == (2, 3, 16, 16)


def test_the_discriminator_projects_on_the_class():
    torch.manual_seed(0)
    network = StyleDiscriminator((1, 8, 8), 64, 8, stddev_group=1, num_classes=3, mapping_layers=2)
    image = torch.randn(1, 1, 8, 8).expand(3, -1, -1, -1)
    logits = network(image, torch.arange(3)[:, None])
    assert logits.shape == (3, 1)
    assert len(logits.unique()) == 3
    pair = network(image[:1], torch.tensor([[0, 1]]))
    torch.testing.assert_close(pair, network(image[:1], torch.tensor([[1, 0]])))


@pytest.mark.parametrize("side", [4, 24, 2048])
def test_other_sizes_are_refused_in_one_line(side):
    with pytest.raises(InputError, match=r"powers of two, not .*; set data\.image_size"):
        pyramid_sides((3, side, side))


def test_the_paths_of_a_linear_generator_have_the_closed_form():
    torch.manual_seed(0)
    columns = 3 * torch.linalg.qr(torch.randn(64, 8))[0]
    styles = torch.randn(200_000, 1, 8, requires_grad=True)
    images = (styles[:, 0] @ columns.T).reshape(-1, 1, 8, 8)
    closed = 3 / 8 * math.sqrt(2) * math.gamma(4.5) / math.gamma(4)
    assert closed == pytest.approx(1.02811, abs=1e-5)
    assert path_lengths(images, styles).mean().item() == pytest.approx(closed, rel=2e-3)


@pytest.mark.parametrize("side", [16, 256, 1024])
def test_the_weight_of_path_lengths_is_the_papers(side):
    """gamma multiplies (|J^T y| - a)^2 with |J^T y| summed over L layers and y not divided by the side."""
    gamma = math.log(2) / (side**2 * (math.log(side) - math.log(2)))
    layers = 2 * math.log2(side) - 2
    assert 2 / (layers * side**2) == pytest.approx(gamma)
