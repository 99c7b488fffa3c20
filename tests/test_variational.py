"""Variational models: bounds against an exact likelihood, gradients against closed forms, schedules, classes."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

from lightning_gen.errors import InputError
from lightning_gen.evaluation.likelihood import LEVEL, score_likelihood
from lightning_gen.images import to_float
from lightning_gen.models.autoencoders.beta_vae import BetaVAE
from lightning_gen.models.autoencoders.conditional_vae import ConditionalVAE
from lightning_gen.models.autoencoders.iwae import IWAE
from lightning_gen.models.autoencoders.vae import VAE
from lightning_gen.networks.variational import Posterior
from lightning_gen.noise import image_generators, mix_seed, uniform
from lightning_gen.types import Batch, LikelihoodModel
from tests.helpers import loader

LATENT, SIGMA, SHAPE = 2, 0.5, (1, 2, 3)


class Flat(nn.Module):
    """A linear layer on flattened images, or to images."""

    def __init__(self, layer: nn.Linear, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layers, self.shape = nn.Sequential(layer), shape

    def forward(self, x):
        return self.layers(x.flatten(1)).unflatten(1, self.shape)


def linear_gaussian(model_class=VAE, off: float = 0.0, **options):
    """A model x = W z + b + sigma e whose encoder is the exact posterior, or is off by some amount; and p(x)."""
    torch.manual_seed(0)
    model = model_class(
        (1, 8, 8), latent_dim=LATENT, network="mlp", hidden=(), likelihood="gaussian", sigma=SIGMA, **options
    )
    decoder = nn.Linear(LATENT, 6)
    weight, bias = decoder.weight.detach(), decoder.bias.detach()
    covariance = weight @ weight.T + SIGMA**2 * torch.eye(6)
    posterior = (torch.eye(LATENT) + weight.T @ weight / SIGMA**2).inverse()
    # the encoder's variances are diagonal: turn the latents so that the posterior's covariance is
    variances, rotation = torch.linalg.eigh(posterior)
    weight = weight @ rotation
    decoder.weight.data = weight
    encoder = nn.Linear(6, 2 * LATENT)
    encoder.weight.data = torch.cat([torch.diag(variances) @ weight.T / SIGMA**2, torch.zeros(LATENT, 6)])
    encoder.bias.data = torch.cat([-torch.diag(variances) @ weight.T @ bias / SIGMA**2, variances.log()])
    encoder.bias.data[:LATENT] += off
    model.network.encoder, model.network.decoder = Flat(encoder, (2 * LATENT,)), Flat(decoder, SHAPE)
    return model, MultivariateNormal(bias, covariance)


class Stored:
    """A few images as they are stored."""

    def __init__(self, images, labels=None, name="made/test"):
        self.images, self.labels, self.name, self.key = images, labels, name, "0"

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[torch.from_numpy(index) if isinstance(index, np.ndarray) else index]


def stored(num: int = 12) -> Stored:
    return Stored(torch.randint(256, (num, *SHAPE), generator=torch.Generator().manual_seed(0)).to(torch.uint8))


def test_the_bound_is_tight_at_the_exact_posterior_and_below_elsewhere():
    images = torch.randn(5, *SHAPE)

    def bound(model, num=20_000):
        with torch.no_grad():
            repeated = images.repeat_interleave(num, 0)
            posterior = model.network.posterior(repeated)
            [log_likelihood] = model.network.log_likelihood(repeated, posterior.sample())
        return (log_likelihood - posterior.kl().sum(1)).unflatten(0, (5, num)).mean(1)

    model, exact = linear_gaussian()
    torch.testing.assert_close(bound(model), exact.log_prob(images.flatten(1)), atol=0.05, rtol=0)
    model, exact = linear_gaussian(off=0.5)
    assert (bound(model) < exact.log_prob(images.flatten(1)) - 0.1).all()


def test_weights_of_the_exact_posterior_are_the_likelihood_whatever_the_latent():
    model, exact = linear_gaussian()
    assert isinstance(model, LikelihoodModel)
    images = torch.randn(5, *SHAPE)
    weights = model.log_weights(images, 7)
    assert weights.shape == (7, 5)
    assert not weights.requires_grad
    torch.testing.assert_close(weights, exact.log_prob(images.flatten(1)).expand(7, 5), atol=1e-4, rtol=0)


def test_likelihood_rises_with_the_samples_from_the_elbo_to_the_exact_value():
    images = stored()
    for off in (0.0, 0.4):
        model, exact = linear_gaussian(off=off)
        cards = {k: score_likelihood(model, images, importance_samples=k) for k in (1, 10, 5000)}
        generators = image_generators(mix_seed(0, "dequantise"), range(len(images)))
        noisy = to_float(images[:]) + LEVEL * (uniform(len(images), *SHAPE, generator=generators) - 0.5)
        truth = -(exact.log_prob(noisy.flatten(1)) + 6 * math.log(LEVEL)).mean().item()
        found = [cards[k].scores["nll"] for k in (1, 10, 5000)]
        if off:
            assert found[0] > found[1] > found[2]
            assert -cards[5000].scores["elbo"] > found[1]
        assert found[2] == pytest.approx(truth, abs=0.02 if off else 1e-4)
        assert cards[1].scores["nll"] == pytest.approx(-cards[1].scores["elbo"])
        assert cards[10].scores["bits_per_dim"] == pytest.approx(found[1] / (6 * math.log(2)))


def test_likelihood_does_not_depend_on_the_batch_size_and_disturbs_nothing():
    model, _ = linear_gaussian(off=0.5)
    images = stored()
    state = torch.get_rng_state()
    whole = score_likelihood(model, images, importance_samples=120)
    assert torch.equal(state, torch.get_rng_state())
    assert whole.scores["nll_sem"] > 0
    assert whole.protocol == {"elbo": "elbo12_test@120 samples", "nll": "nll12_test@120 samples"}
    parts = score_likelihood(model, images, importance_samples=120, batch_size=5)
    assert parts.scores == pytest.approx(whole.scores, rel=1e-6)


def test_weak_likelihoods_are_flagged_and_senseless_ones_refused():
    torch.manual_seed(0)
    model = VAE((1, 8, 8), width=2, latent_dim=3)
    grey = Stored(torch.full((4, 1, 8, 8), 100, dtype=torch.uint8))
    card = score_likelihood(model, grey, importance_samples=3)
    assert "relaxation" in card.flags["elbo"]
    assert all(word in card.flags["nll"] for word in ("relaxation", "loose"))
    broken = VAE((1, 8, 8), width=2, latent_dim=3)
    nn.init.constant_(broken.network.decoder.layers[-1].bias, math.nan)
    with pytest.raises(InputError, match="likelihoods of 4 of 4 images are not finite"):
        score_likelihood(broken, grey, importance_samples=3)
    black = score_likelihood(model, Stored(torch.zeros(4, 1, 8, 8, dtype=torch.uint8)), importance_samples=3)
    assert "loose" in black.flags["nll"]
    assert "elbo" not in black.flags
    for options, words in (
        ({"importance_samples": 0}, "importance_samples is 0"),
        ({"metrics": ("fid",)}, "no likelihood"),
        ({"num_images": 1}, "2 images"),
    ):
        with pytest.raises(InputError, match=words):
            score_likelihood(model, grey, **options)


def test_reparameterised_gradients_are_the_analytic_ones():
    """For f(z) = a z^2 + b z: dE f / dm = 2 a m + b and dE f / d log s^2 = a s^2."""
    torch.manual_seed(0)
    mean = torch.tensor([[0.3, -1.0]], requires_grad=True)
    log_var = torch.tensor([[0.2, -0.7]], requires_grad=True)
    a, b = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 3.0])
    latents = Posterior(mean, log_var).sample(400_000)
    (a * latents.square() + b * latents).sum(2).mean().backward()
    torch.testing.assert_close(mean.grad, 2 * a * mean.detach() + b, atol=0.03, rtol=0)
    torch.testing.assert_close(log_var.grad, a * log_var.detach().exp(), atol=0.03, rtol=0)


def gradients(estimator: str, images: torch.Tensor, repeats: int) -> dict[str, torch.Tensor]:
    model, _ = linear_gaussian(IWAE, off=0.5, num_importance=4, estimator=estimator)
    torch.manual_seed(1)
    model.loss(Batch(images.repeat(repeats, 1, 1, 1))).total.backward()
    return {name: p.grad for name, p in model.network.named_parameters()}


def test_both_gradients_of_the_importance_weighted_bound_agree_and_dreg_varies_less():
    images = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(3))
    standard, dreg = (gradients(estimator, images, 200_000) for estimator in ("standard", "dreg"))
    for name, gradient in standard.items():
        torch.testing.assert_close(gradient, dreg[name], atol=0.02, rtol=0.02)

    def spread(estimator):
        found = []
        for seed in range(200):
            model, _ = linear_gaussian(IWAE, num_importance=64, estimator=estimator)  # at the exact posterior
            torch.manual_seed(seed)
            model.loss(Batch(images)).total.backward()
            found.append(model.network.encoder.layers[0].bias.grad)
        return torch.stack(found).std(0).sum().item()

    assert spread("dreg") < 1e-4 < spread("standard")  # there every path derivative is zero


def test_the_importance_weighted_loss_is_the_log_mean_of_the_weights():
    model, exact = linear_gaussian(IWAE, num_importance=8)
    images = torch.randn(5, *SHAPE)
    loss = model.loss(Batch(images))
    truth = exact.log_prob(images.flatten(1)).mean()
    for value in (-loss.total, loss.terms["bound"], loss.terms["elbo"]):
        torch.testing.assert_close(value, truth, atol=1e-4, rtol=0)
    model, _ = linear_gaussian(IWAE, off=0.7, num_importance=50)
    terms = model.loss(Batch(images.repeat(100, 1, 1, 1))).terms
    assert terms["elbo"] < terms["bound"] - 0.1 < truth


def test_the_loss_is_the_negative_elbo_in_nats():
    torch.manual_seed(0)
    loss = VAE((1, 8, 8), width=2, latent_dim=3).loss(Batch(torch.rand(3, 1, 8, 8) * 2 - 1))
    torch.testing.assert_close(loss.total, -loss.terms["elbo"])
    torch.testing.assert_close(loss.terms["elbo"], -loss.terms["reconstruction"] - loss.terms["kl"])


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({}, {0: 1.0, 500: 1.0}),
        ({"kl_schedule": "linear", "kl_images": 100}, {0: 0.0, 25: 0.25, 100: 1.0, 1000: 1.0}),
        ({"kl_schedule": "cyclical", "kl_images": 100}, {0: 0.0, 25: 0.5, 50: 1.0, 99: 1.0, 100: 0.0, 225: 0.5}),
    ],
)
def test_kl_schedules(options, weights):
    torch.manual_seed(0)
    model = VAE((1, 8, 8), width=2, latent_dim=3, **options)
    images = torch.rand(3, 1, 8, 8) * 2 - 1
    for seen, weight in weights.items():
        model.images_seen = seen
        assert model.kl_weight() == pytest.approx(weight)
        loss = model.loss(Batch(images))
        torch.testing.assert_close(loss.total, loss.terms["reconstruction"] + weight * loss.terms["kl"])


def test_free_bits_are_free_for_each_dimension():
    kl = torch.tensor([[0.1, 3.0], [0.3, 1.0]])
    assert VAE((1, 8, 8), width=2).regulariser(kl).item() == pytest.approx(2.2)
    assert VAE((1, 8, 8), width=2, free_bits=0.5).regulariser(kl).item() == pytest.approx(2.5)


def test_beta_weighs_the_kl_and_capacity_is_its_target():
    kl = torch.tensor([[0.5, 3.0], [0.5, 1.0]])  # 2.5 nats an image
    assert BetaVAE((1, 8, 8), width=2, beta=4.0).regulariser(kl).item() == pytest.approx(10.0)
    model = BetaVAE((1, 8, 8), width=2, beta=10.0, capacity=5.0, capacity_images=100)
    for seen, distance in ((0, 2.5), (50, 0.0), (100, 2.5), (1000, 2.5)):
        model.images_seen = seen
        assert model.regulariser(kl).item() == pytest.approx(10 * distance)


def test_sigma_is_learned_for_a_gaussian_likelihood_and_only_then():
    def log_sigma(**options):
        return VAE((1, 8, 8), width=2, **options).network.log_sigma

    assert isinstance(log_sigma(likelihood="gaussian"), nn.Parameter)
    fixed = log_sigma(likelihood="gaussian", sigma=0.1)
    assert not isinstance(fixed, nn.Parameter)
    assert fixed.exp().item() == pytest.approx(0.1)
    assert not isinstance(log_sigma(), nn.Parameter)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_training_begins_with_the_mean_image(network, likelihood):
    torch.manual_seed(0)
    model = VAE((1, 16, 16), network=network, hidden=(8,), width=2, latent_dim=3, likelihood=likelihood)
    images = next(iter(loader(size=64))).images
    model.network.initialise_output(images)
    for module in model.network.decoder.layers[:-1].modules():
        if hasattr(module, "weight"):
            nn.init.zeros_(module.weight)
    model.network.decoder.layers[-1].weight.data.zero_()
    decoded = model.decode(torch.randn(2, 3))
    mean = images.mean(0) if network == "mlp" else images.mean().expand(1, 16, 16)
    torch.testing.assert_close(decoded, mean.expand(2, 1, 16, 16))


def test_a_conditional_vae_encodes_with_the_class_and_draws_what_it_is_asked_for():
    torch.manual_seed(0)
    model = ConditionalVAE((1, 16, 16), num_classes=3, width=4, latent_dim=5)
    images, labels = torch.rand(4, 1, 16, 16) * 2 - 1, torch.tensor([0, 1, 2, 1])
    latents = model.encode(images, labels=labels)
    assert latents.shape == (4, 8)
    assert torch.equal(latents[:, 5:], nn.functional.one_hot(labels, 3).float())
    other = model.encode(images, labels=(labels + 1) % 3)
    assert not torch.allclose(latents[:, :5], other[:, :5])
    torch.testing.assert_close(model.decode(latents), model.reconstruct(images, labels=labels))
    assert model.log_weights(images, 6, labels=labels).shape == (6, 4)
    for needs in (model.encode, model.reconstruct, lambda x: model.log_weights(x, 2)):
        with pytest.raises(InputError, match="needs the classes"):
            needs(images)


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (VAE, {"kl_schedule": "linear"}, "a length in images"),
        (VAE, {"kl_images": 10}, "a length in images"),
        (VAE, {"free_bits": -1.0}, "must not be negative"),
        (VAE, {"sigma": 0.0}, "must be above 0"),
        (VAE, {"latent_dim": 0}, "at least 1"),
        (BetaVAE, {"beta": -1.0}, "must not be negative"),
        (BetaVAE, {"capacity": 5.0}, "at least 0 and 1"),
        (BetaVAE, {"capacity_images": 5}, "both or neither"),
        (BetaVAE, {"capacity": 5.0, "capacity_images": 5, "free_bits": 0.1}, "replaces"),
        (IWAE, {"num_importance": 0}, "at least 1"),
        (ConditionalVAE, {"num_classes": 0}, "has none"),
    ],
)
def test_senseless_hyper_parameters_are_one_clear_line(model, options, words):
    with pytest.raises(InputError, match=words) as error:
        model((1, 8, 8), width=2, **options)
    assert "\n" not in str(error.value)
