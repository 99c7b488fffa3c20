"""What is special to the deterministic autoencoders: corruption, the discrepancy of codes, a discriminator of codes."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from lightning_gen.data import ImageData
from lightning_gen.errors import InputError
from lightning_gen.losses.image_quality import mse, psnr
from lightning_gen.losses.mmd import inverse_multiquadratic, mmd, squared_distances
from lightning_gen.models.autoencoders.adversarial_autoencoder import AdversarialAutoencoder
from lightning_gen.models.autoencoders.denoising_autoencoder import DenoisingAutoencoder
from lightning_gen.models.autoencoders.deterministic import DeterministicModule
from lightning_gen.models.autoencoders.wae_mmd import WAEMMD
from lightning_gen.networks.corruption import corrupt
from lightning_gen.types import Batch, ImageGenerator, LatentGenerator
from tests.cases import CASES, SMALL
from tests.helpers import loader, trainer

SHAPE = (1, 16, 16)
CODING = [case for case in CASES if issubclass(case.model, DeterministicModule)]
seeds = st.integers(0, 2**31)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


# ---- what all share


@pytest.mark.parametrize("case", CODING, ids=lambda case: case.model.__name__)
def test_codes_are_of_their_image_alone_and_labels_are_passed_over(case):
    model = case.build(network="mlp", hidden=(12,))
    images = torch.rand(5, *SHAPE) * 2 - 1
    codes = model.encode(images)
    assert codes.shape == (5, SMALL["latent_dim"])
    labels = torch.arange(5)
    assert torch.equal(model.encode(images, labels=labels), codes)
    assert torch.equal(model.reconstruct(images, labels=labels), model.decode(codes))
    torch.testing.assert_close(model.encode(images[:1]), codes[:1])


def test_what_has_a_prior_draws_samples():
    assert {case.model.__name__ for case in CODING if isinstance(case.build(), ImageGenerator)} == {
        "WAEMMD",
        "AdversarialAutoencoder",
    }
    assert isinstance(WAEMMD(SHAPE, **SMALL), LatentGenerator)
    assert isinstance(AdversarialAutoencoder(SHAPE, **SMALL), LatentGenerator)


# ---- corruption


def grey(num: int = 400) -> torch.Tensor:
    """Images none of whose values is black or white."""
    return torch.rand(num, 3, 8, 8) - 0.5


def test_gaussian_noise_has_the_standard_deviation_that_was_asked_for():
    images = grey()
    noise = corrupt(images, "gaussian", 0.3) - images
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    assert noise.std().item() == pytest.approx(0.3, rel=0.02)
    assert torch.equal(corrupt(images, "gaussian", 0.0), images)


def test_masking_blackens_whole_pixels_with_the_probability_that_was_asked_for():
    images = grey()
    masked = corrupt(images, "masking", 0.4)
    black = (masked == -1).all(1)
    assert torch.equal(black, (masked == -1).any(1))
    assert black.float().mean().item() == pytest.approx(0.4, abs=0.02)
    assert torch.equal(torch.where(black[:, None], images, masked), images)
    assert (corrupt(images, "masking", 1.0) == -1).all()
    assert torch.equal(corrupt(images, "masking", 0.0), images)


def test_salt_and_pepper_are_even():
    images = grey()
    spoilt = corrupt(images, "salt_and_pepper", 0.4)
    pepper, salt = ((spoilt == value).all(1) for value in (-1, 1))
    assert torch.equal(pepper | salt, (spoilt != images).any(1))
    assert pepper.float().mean().item() == pytest.approx(0.2, abs=0.02)
    assert salt.float().mean().item() == pytest.approx(0.2, abs=0.02)
    assert (corrupt(images, "salt_and_pepper", 1.0).abs() == 1).all()


def test_noise_is_of_torchs_global_generator():
    for kind in ("gaussian", "masking", "salt_and_pepper"):
        torch.manual_seed(1)
        first = corrupt(grey(4), kind, 0.3)
        again = corrupt(grey(4), kind, 0.3)
        torch.manual_seed(1)
        assert torch.equal(corrupt(grey(4), kind, 0.3), first)
        assert not torch.equal(again, first)


@pytest.mark.parametrize(
    ("kind", "amount", "words"),
    [
        ("gaussian", -0.1, "standard deviation"),
        ("gaussian", math.nan, "standard deviation"),
        ("masking", 1.5, "probability"),
        ("salt_and_pepper", -0.5, "probability"),
    ],
)
def test_an_amount_out_of_range_is_refused_before_training(kind, amount, words):
    with pytest.raises(InputError, match=f"amount is .*{words}"):
        corrupt(grey(1), kind, amount)
    with pytest.raises(InputError, match=f"amount is .*({words}|finite)"):
        DenoisingAutoencoder(SHAPE, **SMALL, corruption=kind, amount=amount)


# ---- denoising


def test_psnr_is_of_images_scaled_to_one():
    clean = torch.rand(3, *SHAPE) * 2 - 1
    # 0.2 in [-1, 1] is 0.1 in [0, 1]
    assert psnr(mse(clean + 0.2, clean)).item() == pytest.approx(20, abs=1e-3)
    assert psnr(mse(torch.ones(2, *SHAPE), -torch.ones(2, *SHAPE))).item() == pytest.approx(0, abs=1e-4)
    assert psnr(mse(clean, clean)).item() == 100


def test_the_input_is_corrupted_and_the_target_is_clean():
    model = DenoisingAutoencoder(SHAPE, **SMALL, corruption="gaussian", amount=0.4)
    assert (model.corruption, model.amount) == ("gaussian", 0.4)
    batch = next(iter(loader(size=64)))
    torch.manual_seed(3)
    corrupted = model.corrupt(batch.images)
    seen: list[torch.Tensor] = []
    model.network.encoder.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    torch.manual_seed(3)
    loss = model.loss(batch)
    assert torch.equal(seen[0], corrupted)
    output = model.network(corrupted)
    torch.testing.assert_close(loss.total, F.mse_loss(output, batch.images))
    assert loss.terms["psnr_in"].item() == pytest.approx(-20 * math.log10(0.4 / 2), abs=0.2)
    expected = -10 * math.log10(loss.total.item() / 4)
    assert loss.terms["psnr_out"].item() == pytest.approx(expected, abs=1e-3)
    assert not loss.terms["psnr_out"].requires_grad


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> ImageData:
    return ImageData("digits", root=str(tmp_path_factory.mktemp("digits")), image_size=16, batch_size=64)


def test_it_learns_to_denoise(digits):
    model = DenoisingAutoencoder(SHAPE, latent_dim=16, width=8, corruption="salt_and_pepper", amount=0.3, lr=3e-3)
    fit = trainer(max_epochs=4, use_distributed_sampler=False)
    fit.fit(model, digits)
    [held_out] = fit.validate(model, digits, verbose=False)
    assert held_out["val_loss/psnr_out"] > held_out["val_loss/psnr_in"] + 3


# ---- the discrepancy


def rbf(x: torch.Tensor, y: torch.Tensor, bandwidth: float = 1.5) -> torch.Tensor:
    return (squared_distances(x, y) / (-2 * bandwidth**2)).exp()


def brute_force(x: torch.Tensor, y: torch.Tensor, kernel, unbiased: bool) -> float:
    def mean(first, second, distinct):
        values = [
            kernel(a[None], b[None]).item()
            for i, a in enumerate(first)
            for j, b in enumerate(second)
            if not (distinct and i == j)
        ]
        return sum(values) / len(values)

    return mean(x, x, unbiased) + mean(y, y, unbiased) - 2 * mean(x, y, False)


@settings(max_examples=5, deadline=None)
@given(seeds, st.booleans())
def test_mmd_against_a_double_loop(seed, unbiased):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(4, 3, generator=generator).double()
    y = torch.randn(6, 3, generator=generator).double() + 0.5

    def kernel(a, b):
        distance = sum((p - q) ** 2 for p, q in zip(a[0].tolist(), b[0].tolist(), strict=True))
        return torch.tensor(sum(c / (c + distance) for c in (0.6, 6.0)))

    ours = mmd(x, y, partial(inverse_multiquadratic, constants=(0.6, 6.0)), unbiased)
    assert ours.item() == pytest.approx(brute_force(x, y, kernel, unbiased), rel=1e-5)


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_the_v_statistic_is_zero_for_a_sample_against_itself_and_never_negative(seed):
    x, y = torch.randn(2, 20, 4, generator=torch.Generator().manual_seed(seed)).double()
    kernel = partial(inverse_multiquadratic, constants=(8.0,))
    assert mmd(x, x, kernel, unbiased=False).item() == pytest.approx(0, abs=1e-12)
    assert mmd(x, y, kernel, unbiased=False).item() > 0


def test_the_u_statistic_has_the_right_mean():
    """Under one distribution 0; between two Gaussians, under a Gaussian kernel, what the integrals give.

    In d dimensions, E exp(-|x - y|^2 / 2 h^2) = (h^2 / (h^2 + s))^(d/2) exp(-|m|^2 / 2 (h^2 + s)), with s the variance
    and m the mean of x - y in each of them.
    """
    num, size, dims, shift, sigma, h = 400, 12, 3, 0.8, 0.5, 1.5

    def expected(variance: float, mean_squared: float = 0.0) -> float:
        return (h**2 / (h**2 + variance)) ** (dims / 2) * math.exp(-mean_squared / (2 * (h**2 + variance)))

    x, same, other = torch.randn(3, num, size, dims).double()
    other = sigma * other + shift
    for y, truth in (
        (same, 0.0),
        (other, expected(2) + expected(2 * sigma**2) - 2 * expected(1 + sigma**2, dims * shift**2)),
    ):
        estimates = torch.stack([mmd(a, b, rbf) for a, b in zip(x, y, strict=True)])
        error = estimates.std().item() / math.sqrt(num)
        assert estimates.mean().item() == pytest.approx(truth, abs=4 * error)
        assert error < 0.01
        biased = torch.stack([mmd(a, b, rbf, unbiased=False) for a, b in zip(x, y, strict=True)])
        assert biased.mean() > estimates.mean() + 10 * error


def test_equal_points_have_a_finite_gradient():
    """A dead encoder gives one code for all images."""
    codes = torch.zeros(5, 3, requires_grad=True)
    mmd(codes, torch.randn(5, 3), partial(inverse_multiquadratic, constants=(6.0,))).backward()
    assert codes.grad.isfinite().all()
    assert codes.grad.any()


def test_one_point_has_no_pairs():
    kernel = partial(inverse_multiquadratic, constants=(6.0,))
    with pytest.raises(InputError, match=r"at least 2 points per sample, not 1 and 5; set data.batch_size"):
        mmd(torch.zeros(1, 3), torch.zeros(5, 3), kernel)
    assert mmd(torch.zeros(1, 3), torch.zeros(5, 3), kernel, unbiased=False).item() == 0


# ---- the Wasserstein autoencoder


def test_the_loss_is_the_error_of_whole_images_in_the_unit_interval_and_the_weighted_discrepancy():
    model = WAEMMD(SHAPE, **SMALL, network="mlp", hidden=(12,), mmd_weight=7.0, scales=(1.0,))
    batch = next(iter(loader(size=8)))
    torch.manual_seed(5)
    loss = model.loss(batch)
    torch.manual_seed(5)
    latents = model.latents_for(batch)
    codes = model.network.encode(batch.images)
    ours, real = ((images + 1) / 2 for images in (model.network.decode(codes), batch.images))
    torch.testing.assert_close(loss.terms["reconstruction"], (ours - real).square().flatten(1).sum(1).mean())
    constant = 2 * SMALL["latent_dim"]
    expected = mmd(codes, latents, lambda x, y: constant / (constant + squared_distances(x, y)))
    torch.testing.assert_close(loss.terms["mmd"], expected)
    torch.testing.assert_close(loss.total, loss.terms["reconstruction"] + 7 * expected)


@pytest.mark.parametrize("options", [{"mmd_weight": -1.0}, {"scales": ()}, {"scales": (1.0, 0.0)}])
def test_a_weight_or_scale_out_of_range_is_refused(options):
    [name] = options
    with pytest.raises(InputError, match=f"model.{name} is "):
        WAEMMD(SHAPE, **SMALL, **options)


# ---- codes are drawn to the prior

RATES = {"generator_lr": 3e-3, "discriminator_lr": 3e-3, "discriminator_hidden": (64,)}
HELD = [
    (WAEMMD, "mmd_weight", 10.0, {"lr": 3e-3}),
    (AdversarialAutoencoder, "adversarial_weight", 0.1, RATES),
]


@pytest.mark.parametrize(("model", "weight", "amount", "options"), HELD, ids=["WAEMMD", "AdversarialAutoencoder"])
def test_codes_come_nearer_the_prior_than_without_the_term(model, weight, amount, options, digits):
    def distance_from_prior(amount: float) -> float:
        torch.manual_seed(0)
        trained = model(SHAPE, network="mlp", hidden=(64,), latent_dim=4, **{weight: amount}, **options)
        trainer(max_epochs=5, limit_val_batches=0, use_distributed_sampler=False).fit(trained, digits)
        images = torch.cat([batch.images for batch in map(digits_batch, digits.val_dataloader())])
        kernel = partial(inverse_multiquadratic, constants=(2.0 * 4,))
        return mmd(trained.encode(images), trained.sample_latents(2000), kernel).item()

    def digits_batch(stored) -> Batch:
        return digits.on_after_batch_transfer(stored, 0)

    free, held = distance_from_prior(0.0), distance_from_prior(amount)
    assert held < 0.3 * free


# ---- the adversarial autoencoder


def test_its_discriminator_judges_codes():
    model = AdversarialAutoencoder(SHAPE, **SMALL, adversarial_weight=0.3)
    batch = next(iter(loader()))
    codes = model.generate(batch)
    assert codes.shape == (8, SMALL["latent_dim"])
    assert model.logits(codes).shape == (8,)
    for parameter in model.discriminator.parameters():
        torch.nn.init.zeros_(parameter)
    told, fooled = model.discriminator_loss(batch, codes), model.generator_loss(batch, codes)
    assert told.total.item() == pytest.approx(2 * math.log(2))
    assert fooled.terms["generator"].item() == pytest.approx(math.log(2))
    error = F.mse_loss(model.network.decode(codes), batch.images)
    torch.testing.assert_close(fooled.terms["reconstruction"], error)
    torch.testing.assert_close(fooled.total, error + 0.3 * fooled.terms["generator"])


def test_a_negative_adversarial_weight_is_refused():
    with pytest.raises(InputError, match=r"model.adversarial_weight is -1"):
        AdversarialAutoencoder(SHAPE, **SMALL, adversarial_weight=-1.0)
