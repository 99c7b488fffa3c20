"""Real-ESRGAN's degradation: its kernels, and the random numbers that it depends on."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from lightning_gen.data import ImageData, folder_pairs
from lightning_gen.data.degradation import (
    FIRST,
    KERNEL_SIZES,
    SECOND,
    blur_kernel,
    degrade,
    degrade_batch,
    image_seeds,
    random_kernel,
    sinc_kernel,
)
from lightning_gen.errors import InputError
from lightning_gen.images import to_uint8
from tests.image_files import random_pixels, save_image, write_images


def smooth(channels: int = 3, size: int = 32) -> torch.Tensor:
    image = gaussian_filter(random_pixels(0, channels, size, size).astype(float), (0, 3, 3))
    image = (image - image.min()) / (image.max() - image.min()) * 255
    return torch.from_numpy(image.round().astype(np.uint8))


# -- kernels


def test_random_kernels_have_sum_1_and_an_odd_size():
    rng = np.random.default_rng(0)
    for _ in range(300):
        for stage in (FIRST, SECOND):
            kernel = random_kernel(stage.sigma, rng)
            assert kernel.sum() == pytest.approx(1)
            assert kernel.shape[0] == kernel.shape[1]
            assert kernel.shape[0] in KERNEL_SIZES
            np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-12)


def test_an_isotropic_gaussian_is_scipys():
    impulse = np.zeros((21, 21))
    impulse[10, 10] = 1
    kernel = blur_kernel(21, 1.5, 1.5, 0.7)
    np.testing.assert_allclose(kernel, gaussian_filter(impulse, 1.5, truncate=10, mode="constant"), atol=1e-6)


@pytest.mark.parametrize("shape", ["gaussian", "generalized"])
def test_the_covariance_is_that_of_the_rotated_axes(shape):
    sigma_x, sigma_y, angle = 3.0, 1.5, 0.4
    kernel = blur_kernel(41, sigma_x, sigma_y, angle, shape)
    x, y = np.meshgrid(*[np.arange(41) - 20.0] * 2)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    expected = rotation @ np.diag([sigma_x**2, sigma_y**2]) @ rotation.T
    moments = [[(kernel * a * b).sum() for b in (x, y)] for a in (x, y)]
    np.testing.assert_allclose(moments, expected, rtol=1e-3)


@pytest.mark.parametrize("beta", [0.5, 1, 4])
def test_exponents_have_their_closed_forms(beta):
    q = 1 / 4  # a pixel at half of sigma = 2
    generalized, plateau = (blur_kernel(21, 2, 2, 0, shape, beta) for shape in ("generalized", "plateau"))
    assert generalized[10, 11] / generalized[10, 10] == pytest.approx(np.exp(-(q**beta) / 2))
    assert plateau[10, 11] / plateau[10, 10] == pytest.approx(1 / (1 + q**beta))


def test_sinc_passes_below_the_cutoff_and_stops_above():
    kernel = np.zeros((256, 256))
    kernel[:201, :201] = sinc_kernel(201, np.pi / 2)
    response = np.abs(np.fft.fft2(kernel))[0]
    frequencies = 2 * np.pi * np.arange(256) / 256
    assert np.abs(response[frequencies < 1.3] - 1).max() < 0.1
    assert response[(frequencies > 1.9) & (frequencies < np.pi)].max() < 0.1


# -- images


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_result_is_scale_times_smaller_and_resembles_the_image(scale, channels):
    image = smooth(channels)
    small = torch.nn.functional.avg_pool2d(image.float(), scale)
    for seed in range(20):
        result = degrade(image, scale, np.random.default_rng(seed))
        assert result.shape == small.shape
        assert (result.float() - small).abs().mean() < 70
        assert not result.equal(small.round().to(torch.uint8))


def test_the_mean_brightness_is_kept():
    image = smooth(3, 64).clamp(64, 192)
    means = [degrade(image, 2, np.random.default_rng(seed)).float().mean().item() for seed in range(40)]
    assert np.mean(means) == pytest.approx(image.float().mean().item(), abs=3)


def test_each_image_depends_on_its_seed_alone():
    images = torch.stack([smooth(), smooth().flip(-1), smooth()])
    results = degrade_batch(images, 2, [3, 4, 5])
    assert results[1:2].equal(degrade_batch(images[1:2], 2, [4]))
    assert not results[0].equal(results[2])
    assert len(set(image_seeds(np.arange(100)))) == 100


# -- the data module


@pytest.fixture
def make(tmp_path):
    root = write_images(
        tmp_path / "x", [f"{split}/{i}.png" for split in ("train", "val") for i in range(6)], (16, 16, 3)
    )

    def data(**options) -> ImageData:
        defaults = {"image_size": 16, "batch_size": 2, "inputs": "degraded", "scale": 2}
        return ImageData("folder", str(root), **{**defaults, **options})

    return data


def served(data: ImageData, loader=None, epoch: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    loader = loader or data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    batches = [data.on_after_batch_transfer(batch, 0) for batch in loader]
    return [(to_uint8(batch.images), to_uint8(batch.inputs)) for batch in batches]


def test_training_inputs_are_a_function_of_seed_epoch_and_batch(make):
    first, again = served(make(flip=True)), served(make(flip=True))
    assert all(a[0].equal(b[0]) and a[1].equal(b[1]) for a, b in zip(first, again, strict=True))
    assert first[0][1].shape == (2, 3, 8, 8)
    for other in (served(make(flip=True), epoch=1), served(make(flip=True, seed=1))):
        assert not any(a[1].equal(b[1]) for a, b in zip(first, other, strict=True))


def test_inputs_do_not_change_the_images(make):
    plain = make(inputs=None, scale=None, flip=True, rotate=True)
    expected = [to_uint8(plain.on_after_batch_transfer(batch, 0).images) for batch in plain.train_dataloader()]
    for (images, _), image in zip(served(make(flip=True, rotate=True)), expected, strict=True):
        assert images.equal(image)


def test_training_resumes(make):
    whole = served(make())
    loader = make().train_dataloader()
    next(iter(loader))
    resumed = make().train_dataloader()
    resumed.load_state_dict(loader.state_dict())
    for (_, inputs), (_, expected) in zip(served(make(), resumed), whole[1:], strict=True):
        assert inputs.equal(expected)


def test_val_is_degraded_alike_in_training_and_scoring(make):
    data = make(seed=3, eval_batch_size=4)
    pairs = data.pair_set("val")
    inputs = torch.cat([inputs for _, inputs in served(data, data.val_dataloader())])
    assert pairs.paired
    assert inputs.equal(pairs.inputs[:])
    assert inputs.equal(make(seed=4).pair_set("val").inputs[:])
    assert pairs.inputs[np.array([4, 1])].equal(inputs[[4, 1]])
    assert pairs.inputs.key != make(scale=4).pair_set("val").inputs.key


def test_unpaired_inputs_are_degraded_too(make):
    data = make(paired=False, batch_size=3)
    [(images, inputs)] = served(data)
    assert images.shape == (3, 3, 16, 16)
    assert inputs.shape == (3, 3, 8, 8)


def test_folders_of_unequal_sizes(tmp_path):
    for index, size in enumerate([(17, 20), (24, 31)]):
        save_image(tmp_path / "set" / f"{index}.png", random_pixels(index, *size, 3))
    pairs = folder_pairs(tmp_path / "set", "degraded", 4)
    assert pairs.inputs[1:2].shape == (1, 3, 6, 7)
    assert pairs.inputs[1:2].equal(pairs.inputs[np.array([1])])


def test_dynamic_binarisation_is_refused(make):
    with pytest.raises(InputError, match=r"data\.inputs is degraded; set data\.binarize to static"):
        make(binarize="dynamic")
