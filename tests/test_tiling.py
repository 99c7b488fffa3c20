"""Tiled translation equals the untiled one for networks of a known context."""

import pytest
import torch
from torch import nn

from lightning_gen.images import to_uint8
from lightning_gen.resize import pad_symmetric
from lightning_gen.tiling import segments, translate_tiles

SIZES = [(5, 3), (8, 8), (9, 17), (16, 33), (25, 8), (1, 1)]


def conv_network(scale: int) -> tuple[nn.Module, int]:
    """A random network with zero padding and its context: 1 + 2 + 1 before the upsampling, 1 after it."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.Tanh(),
        nn.Conv2d(6, 6, 5, padding=2),
        nn.Tanh(),
        nn.Conv2d(6, 6 * scale**2, 3, padding=1),
        nn.PixelShuffle(scale),
        nn.Tanh(),
        nn.Conv2d(6, 3, 3, padding=1),
        nn.Tanh(),
    )
    return network.eval().requires_grad_(False), 5


def random_images(height: int, width: int) -> torch.Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(height * 100 + width)) * 2 - 1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [1, 2])
def test_tiles_of_a_convolutional_network_equal_the_whole_image(scale, size):
    network, context = conv_network(scale)
    inputs = random_images(*size)
    whole = network(inputs)
    tiled = translate_tiles(network, inputs, tile=8, overlap=context, scale=scale)
    assert tiled.shape == whole.shape
    assert (tiled - whole).abs().max() <= 1e-6
    assert (to_uint8(tiled).int() - to_uint8(whole).int()).abs().max() <= 1


def test_an_overlap_below_the_context_changes_the_image():
    network, context = conv_network(1)
    inputs = random_images(33, 33)
    tiled = translate_tiles(network, inputs, tile=8, overlap=context - 2)
    assert (tiled - network(inputs)).abs().max() > 1e-4


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("tile", "scale"), [(8, 1), (6, 1), (1, 2)])
def test_windows_are_aligned_with_the_strides_of_a_network_that_downsamples(tile, scale, size):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 4, stride=2, padding=1), nn.Tanh(), nn.Conv2d(4, 4, 4, stride=2, padding=1), nn.Tanh()]
    layers += [nn.ConvTranspose2d(4, 4, 4, stride=2, padding=1), nn.Tanh()]
    layers += [nn.ConvTranspose2d(4, 3, 4, stride=2, padding=1), nn.Upsample(scale_factor=scale)]
    network = nn.Sequential(*layers).requires_grad_(False)
    inputs = random_images(*size)
    height, width = size
    whole = network(pad_symmetric(inputs, 0, -width % 4, 0, -height % 4))[..., : height * scale, : width * scale]
    tiled = translate_tiles(network, inputs, tile=tile, overlap=13, scale=scale, multiple=4)
    assert (tiled - whole).abs().max() <= 1e-6


def test_every_window_has_the_full_size_and_stays_inside():
    for size in (1, 7, 20, 41, 64):
        covered = []
        for core, window in segments(size, tile=10, overlap=3):
            assert 0 <= window.start <= max(0, core.start - 3)
            assert min(size, core.stop + 3) <= window.stop <= size
            assert window.stop - window.start == min(16, size)
            covered += range(core.start, core.stop)
        assert covered == list(range(size))


def test_progress_sums_to_one_image():
    fractions = []
    translate_tiles(lambda images: images, random_images(20, 30), tile=10, overlap=2, progress=fractions.append)
    assert len(fractions) == 6
    assert sum(fractions) == pytest.approx(1)


def test_memory_is_bounded_by_the_window():
    sides = []

    def record(images: torch.Tensor) -> torch.Tensor:
        sides.append(images.shape[-2:])
        return images

    inputs = random_images(50, 90)
    assert torch.equal(translate_tiles(record, inputs, tile=16, overlap=4), inputs)
    assert set(sides) == {(24, 24)}
