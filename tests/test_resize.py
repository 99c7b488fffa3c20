"""Bicubic resizing, against the kernel of Keys computed in NumPy and against constants and ramps."""

import numpy as np
import pytest
import torch

from lightning_gen.resize import bicubic_downscale, bicubic_upscale, pad_symmetric

SCALES = (2, 3, 4, 8)


def keys(x: np.ndarray) -> np.ndarray:
    """The kernel of Keys 1981, a = -1/2, piece by piece."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def imresize_matrix(size: int, new_size: int) -> np.ndarray:
    """Weights (new_size, size) of MATLAB's imresize along one axis; its borders are mirrored."""
    ratio = new_size / size
    width = min(ratio, 1.0)
    matrix = np.zeros((new_size, size))
    for row in range(new_size):
        centre = (row + 0.5) / ratio - 0.5
        taps = np.arange(int(np.floor(centre - 2 / width)) - 1, int(np.ceil(centre + 2 / width)) + 2)
        weights = keys((taps - centre) * width)
        mirrored = np.where((m := taps % (2 * size)) < size, m, 2 * size - 1 - m)
        np.add.at(matrix[row], mirrored, weights / weights.sum())
    return matrix


def imresize(images: torch.Tensor, height: int, width: int) -> np.ndarray:
    rows, columns = imresize_matrix(images.shape[-2], height), imresize_matrix(images.shape[-1], width)
    return rows @ images.numpy() @ columns.T


def random_images(height: int, width: int) -> torch.Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("scale", SCALES)
def test_resizing_equals_imresize(scale):
    large, small = random_images(6 * scale, 5 * scale).double(), random_images(9, 7).double()
    assert np.abs(bicubic_downscale(large, scale).numpy() - imresize(large, 6, 5)).max() < 1e-12
    upscaled = imresize(small, 9 * scale, 7 * scale)
    assert np.abs(bicubic_upscale(small, scale).numpy() - upscaled).max() < 1e-12


@pytest.mark.parametrize("scale", SCALES)
def test_constants_do_not_change(scale):
    images = torch.full((1, 1, 2 * scale, 3 * scale), 0.3)
    torch.testing.assert_close(bicubic_downscale(images, scale), torch.full((1, 1, 2, 3), 0.3))
    torch.testing.assert_close(bicubic_upscale(images, 2), torch.full((1, 1, 4 * scale, 6 * scale), 0.3))


@pytest.mark.parametrize("scale", SCALES)
def test_ramps_are_exact_away_from_the_border(scale):
    columns = torch.arange(12.0 * scale, dtype=torch.float64).expand(1, 1, 4 * scale, -1)
    centres = (torch.arange(12, dtype=torch.float64) + 0.5) * scale - 0.5
    torch.testing.assert_close(bicubic_downscale(columns, scale)[0, 0, 2, 3:-3], centres[3:-3])
    positions = (torch.arange(12 * scale * scale, dtype=torch.float64) + 0.5) / scale - 0.5
    interior = slice(3 * scale, -3 * scale)
    torch.testing.assert_close(bicubic_upscale(columns, scale)[0, 0, 0, interior], positions[interior])


def test_padding_mirrors_with_the_edge_repeated():
    image = torch.arange(6.0).reshape(1, 1, 2, 3)
    expected = np.pad(image.numpy(), ((0, 0), (0, 0), (3, 5), (7, 4)), mode="symmetric")
    assert np.array_equal(pad_symmetric(image, 7, 4, 3, 5).numpy(), expected)
    assert pad_symmetric(image, 0, 0, 0, 0) is image
