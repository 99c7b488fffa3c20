"""FIR resampling against scipy.signal.upfirdn."""

import numpy as np
import pytest
import torch
from scipy.signal import upfirdn

from lightning_gen.networks.fir import binomial_filter, blur, downsample, resample, upsample


def reference(images: np.ndarray, taps: np.ndarray, up: int, down: int, padding: tuple[int, int]) -> np.ndarray:
    """upfirdn of both axes; its full padding is replaced by the given one."""
    for axis in (2, 3):
        full = upfirdn(taps, images, up=up, axis=axis)
        before, after = padding[0] - len(taps) + 1, padding[1] - len(taps) + up
        length = full.shape[axis]
        full = np.pad(full, [(max(0, before), max(0, after)) if i == axis else (0, 0) for i in range(4)])
        length += max(0, before) + max(0, after)
        full = np.take(full, range(max(0, -before), length - max(0, -after)), axis)
        images = np.take(full, range(0, full.shape[axis], down), axis)
    return images


@pytest.mark.parametrize("taps", [1, 3, 4, 12])
@pytest.mark.parametrize(("up", "down", "padding"), [(1, 1, (2, 1)), (2, 1, (2, 1)), (1, 2, (1, 1)), (3, 2, (4, -1))])
def test_resampling_equals_upfirdn(taps, up, down, padding):
    torch.manual_seed(0)
    images, kernel = torch.randn(2, 3, 13, 14, dtype=torch.float64), torch.randn(taps, dtype=torch.float64)
    ours = resample(images, kernel, up=up, down=down, padding=padding, gain=2.5)
    theirs = 2.5 * reference(images.numpy(), kernel.numpy(), up, down, padding)
    torch.testing.assert_close(ours, torch.from_numpy(theirs))


def test_the_binomial_filter_is_that_of_the_papers():
    assert binomial_filter(4).tolist() == [1 / 8, 3 / 8, 3 / 8, 1 / 8]
    assert binomial_filter(3).tolist() == [1 / 4, 1 / 2, 1 / 4]


@pytest.mark.parametrize("taps", [2, 3, 4])
@pytest.mark.parametrize("resize", [upsample, downsample])
def test_resampling_keeps_constants_and_centres(taps, resize):
    constant = resize(torch.ones(1, 1, 16, 16), binomial_filter(taps))
    factor = 2 if resize is upsample else 0.5
    assert constant.shape[-1] == 16 * factor
    torch.testing.assert_close(constant[..., 2:-2, 2:-2], torch.ones_like(constant)[..., 2:-2, 2:-2])
    ramp = torch.arange(16.0).expand(1, 1, 16, 16)  # pixel i lies at i + 1/2
    positions = (torch.arange(16 * factor) + 0.5) / factor - 0.5
    errors = (resize(ramp, binomial_filter(taps))[0, 0, 5] - positions)[3:-3]
    if taps == 4:
        assert errors.abs().max() < 1e-5
    elif taps == 2:  # repeats pixels, or takes the mean of two
        assert errors.mean().abs() < 1e-5
    else:  # an odd filter has no centred phase
        assert errors.abs().max() <= (0.25 if resize is upsample else 0.5) + 1e-5


def test_a_blur_keeps_the_size():
    image = torch.zeros(1, 1, 5, 5)
    image[..., 2, 2] = 1
    kernel = binomial_filter(3)
    torch.testing.assert_close(blur(image, kernel)[0, 0, 1:4, 1:4], torch.outer(kernel, kernel))


def test_second_derivatives_exist():
    images = torch.randn(1, 2, 5, 5, dtype=torch.float64, requires_grad=True)
    kernel = binomial_filter(4).double()
    assert torch.autograd.gradgradcheck(lambda x: upsample(x, kernel).square(), images)
