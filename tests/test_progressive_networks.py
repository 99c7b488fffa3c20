"""Networks that grow, and AdaIN."""

import math

import pytest
import torch
from torch import nn

from lightning_gen.networks.adain import AdaINSynthesis, adaptive_instance_norm
from lightning_gen.networks.progressive import (
    PixelNorm,
    ProgressiveDiscriminator,
    ProgressiveGenerator,
    at_level,
    mean_pool,
    upsample_nearest,
)

CHANNELS = {"channel_base": 64, "channel_max": 12}
LEVELS = (0, 0.25, 1, 1.5, 2)


def generator(side: int = 16) -> ProgressiveGenerator:
    torch.manual_seed(0)
    return ProgressiveGenerator(6, (3, side, side), **CHANNELS)


def discriminator(side: int = 16) -> ProgressiveDiscriminator:
    torch.manual_seed(0)
    return ProgressiveDiscriminator((3, side, side), **CHANNELS)


def synthesis(side: int = 16) -> AdaINSynthesis:
    torch.manual_seed(0)
    network = AdaINSynthesis((3, side, side), 5, **CHANNELS)
    for layer in network.layers:
        nn.init.normal_(layer.noise_strength)
    return network


def smaller(network: nn.Module, small: nn.Module) -> nn.Module:
    """``small`` with the weights of the layers that it shares with ``network``."""
    state = network.state_dict()
    small.load_state_dict({name: state[name] for name in small.state_dict()})
    return small


@torch.no_grad()
@pytest.mark.parametrize(("level", "side"), [(0, 4), (1, 8), (2, 16)])
def test_at_an_integer_level_the_networks_equal_the_smaller_ones(level, side):
    """A 32-pixel network at levels 1 and 2 against ones of 8 and 16 pixels; level 0 against its own first layers."""
    latents, styles, images = torch.randn(4, 6), torch.randn(4, 8, 5), torch.randn(4, 3, 32, 32)
    grown, critic, styled = generator(32), discriminator(32), synthesis(32)
    small_images = mean_pool(images, 32 // side)
    if level == 0:
        normalized = latents / (latents.square().mean(1, keepdim=True) + 1e-8).sqrt()
        expected = grown.output.layers[0](grown.input(normalized))
        logits = critic.output(critic.inputs[0](small_images))
    else:
        expected = smaller(grown, generator(side))(latents)
        logits = smaller(critic, discriminator(side))(small_images)
        small_styled = smaller(styled, synthesis(side))(styles[:, : 2 * level + 2])
        torch.testing.assert_close(styled(styles, level=level), upsample_nearest(small_styled, 32 // side))
    assert expected.shape == (4, 3, side, side)
    torch.testing.assert_close(grown(latents, level), upsample_nearest(expected, 32 // side))
    torch.testing.assert_close(critic(images, level=level), logits)


@torch.no_grad()
@pytest.mark.parametrize("level", [0, 1, 2])
def test_images_and_logits_are_continuous_in_the_level(level):
    latents, styles, images = torch.randn(4, 6), torch.randn(4, 6, 5), torch.randn(4, 3, 16, 16)
    grown, critic, styled = generator(), discriminator(), synthesis()

    def at(t: float) -> list[torch.Tensor]:
        return [grown(latents, t), styled(styles, level=t), critic(images, level=t), at_level(images, t, 2)]

    middle = at(level)
    for t in (level - 1e-6, level + 1e-6):
        if 0 <= t <= 2:
            for value, limit in zip(at(t), middle, strict=True):
                torch.testing.assert_close(value, limit, atol=1e-4, rtol=1e-4)
    if level < 2:
        between = at(level + 0.5)
        assert all((value - limit).abs().max() > 0.01 for value, limit in zip(between, middle, strict=True))


@torch.no_grad()
def test_a_fading_image_is_the_mean_of_both_resolutions_weighted_by_the_fraction():
    latents, network = torch.randn(2, 6), generator()
    low, high = (
        network(latents, 1),
        network.output.layers[2](
            network.blocks[1](
                network.blocks[0](network.input(latents / (latents.square().mean(1, keepdim=True) + 1e-8).sqrt()))
            )
        ),
    )
    torch.testing.assert_close(network(latents, 1.25), 0.75 * low + 0.25 * high)


def test_real_images_at_a_level_are_means_of_squares():
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(at_level(images, 2, 2), images)
    for level in (0, 1):
        factor = 4 // 2**level
        blocks = images.unfold(2, factor, factor).unfold(3, factor, factor).mean((4, 5))
        expected = blocks.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
        torch.testing.assert_close(at_level(images, level, 2), expected)
    torch.testing.assert_close(at_level(images, 1.25, 2), 0.75 * at_level(images, 1, 2) + 0.25 * images)
    assert at_level(images, 0.3, 2).mean() == pytest.approx(images.mean().item(), abs=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("level", LEVELS)
def test_reduced_detail_does_not_change_what_a_discriminator_sees_of_real_images(level):
    """At an integer level the discriminator averages its inputs itself."""
    images, critic = torch.randn(4, 3, 16, 16), discriminator()
    same = torch.allclose(critic(images, level=level), critic(at_level(images, level, 2), level=level), atol=1e-5)
    assert same == (level == int(level))


@pytest.mark.parametrize("level", LEVELS)
def test_only_the_layers_in_use_have_a_gradient(level):
    for network, inputs, parts in (
        (generator(), torch.randn(4, 6), ("blocks", "output.layers")),
        (discriminator(), torch.randn(4, 3, 16, 16), ("blocks", "inputs")),
    ):
        network(inputs, level=level).square().sum().backward()
        top = math.ceil(level)
        toward_pixels = {top} if level == top else {top - 1, top}
        for part, used in ((parts[0], set(range(top))), (parts[1], toward_pixels)):
            for i, layer in enumerate(network.get_submodule(part)):
                assert all((p.grad is not None) == (i in used) for p in layer.parameters()), (part, i)


def test_pixel_norm_gives_feature_vectors_of_mean_square_one():
    maps = PixelNorm()(5 * torch.randn(2, 7, 4, 4) + 3)
    torch.testing.assert_close(maps.square().mean(1), torch.ones(2, 4, 4))


@torch.no_grad()
def test_images_have_mean_square_one_at_initialization():
    torch.manual_seed(0)
    network = ProgressiveGenerator(8, (512, 32, 32), channel_base=256, channel_max=16)
    for level in (0, 1, 2, 3):
        assert network(torch.randn(4, 8), level).square().mean().item() == pytest.approx(1, abs=0.15)


def test_adain_sets_the_mean_and_the_standard_deviation_of_each_map():
    maps, scale, shift = 3 * torch.randn(2, 4, 8, 8) + 1, torch.rand(2, 4) + 0.5, torch.randn(2, 4)
    result = adaptive_instance_norm(maps, scale, shift)
    torch.testing.assert_close(result.mean((2, 3)), shift, atol=1e-5, rtol=0)
    torch.testing.assert_close(result.std((2, 3), correction=0), scale)
    reference = nn.InstanceNorm2d(4, eps=1e-8)(maps)
    torch.testing.assert_close(adaptive_instance_norm(maps, torch.ones(2, 4), torch.zeros(2, 4)), reference)


@torch.no_grad()
def test_each_style_and_each_noise_of_a_synthesis_network_changes_the_image():
    network, styles = synthesis(), torch.randn(2, 6, 5)
    noise = network.draw_noise(2)
    image = network(styles, noise)
    for i in range(network.num_styles):
        changed = styles.clone()
        changed[0, i] += 1
        difference = (network(changed, noise) - image).abs().amax((1, 2, 3))
        assert difference[0] > 1e-3
        assert difference[1] == 0
        other = [value + (j == i) * torch.randn_like(value) for j, value in enumerate(noise)]
        assert (network(styles, other) - image).abs().max() > 1e-3
    assert torch.equal(network(styles), network(styles))
