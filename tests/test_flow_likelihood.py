"""Likelihoods of flows and of diffusions in discrete times, against exact densities and closed forms."""

import itertools
import json
import math

import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from lightning_gen.cli import main
from lightning_gen.diffusion.adaptive import check_float64, velocity_of
from lightning_gen.diffusion.likelihood import (
    START,
    flow_log_prob,
    level_log_likelihood,
    variational_bound,
    with_divergence,
)
from lightning_gen.diffusion.processes import DiscreteDiffusion, StraightPath, VarianceExploding
from lightning_gen.diffusion.samplers import Ancestral, make_timestep, posterior_sigma
from lightning_gen.errors import InputError
from lightning_gen.evaluation.likelihood import score_likelihood
from lightning_gen.images import LEVEL, to_float
from lightning_gen.models.diffusion.ddpm import DDPM
from lightning_gen.models.diffusion.edm import EDM
from lightning_gen.models.diffusion.flow_matching import FlowMatching
from lightning_gen.models.gans.dcgan import DCGAN
from lightning_gen.noise import image_generators, mix_seed, randn, uniform
from lightning_gen.types import DensityModel
from tests.test_cli import CONFIGS, lines_of
from tests.test_diffusion import MEANS, SHARES, STDS, exact
from tests.test_variational import Stored

CONTINUOUS = {"edm": (VarianceExploding(), 1e4), "flow": (StraightPath(), 1.0)}
"""Process, and the time at which its x is normal: with so much noise that the images' mean does not show."""
TINY = {"width": 4, "multipliers": (1, 1), "blocks": 1, "attention": ()}


def signs(num, *shape, seed=0):
    draws = torch.rand(num, *shape, generator=torch.Generator().manual_seed(seed))
    return torch.where(draws < 0.5, -1.0, 1.0).double()


# ---- the flow


@pytest.mark.parametrize("name", CONTINUOUS)
def test_the_log_density_of_a_mixture_is_exact_also_under_inference_mode(name):
    """Of a mixture of two Gaussians in each pixel, whose Jacobian is diagonal: one probe is exact."""
    process, last = CONTINUOUS[name]
    begin = make_timestep(process, START)
    blurred = Normal(MEANS, (STDS**2 + (begin.sigma / begin.alpha) ** 2).sqrt())
    truth = MixtureSameFamily(Categorical(SHARES), blurred)
    images = torch.randn(6, 1, 2, 3, generator=torch.Generator().manual_seed(0)).double()
    wanted = truth.log_prob(images).flatten(1).sum(1)
    with torch.inference_mode():
        found = flow_log_prob(process, exact(process), images.clone(), signs(1, *images.shape), START, last)
    torch.testing.assert_close(found, wanted, atol=0.03, rtol=0)
    assert not found.requires_grad
    close = flow_log_prob(process, exact(process), images, signs(1, *images.shape), START, last, tolerance=1e-6)
    torch.testing.assert_close(close, wanted, atol=1e-3, rtol=0)
    alone = [
        flow_log_prob(process, exact(process), images[[i]], signs(1, *images.shape)[:, [i]], START, last)
        for i in (0, 5)
    ]
    torch.testing.assert_close(torch.cat(alone), found[[0, 5]], atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_the_log_density_of_correlated_pixels_is_exact_and_probes_only_scatter_about_it(name):
    process, last = CONTINUOUS[name]
    covariance = torch.tensor([[0.5, 0.3, 0.0], [0.3, 0.4, -0.1], [0.0, -0.1, 0.2]]).double()
    mean = torch.tensor([0.2, -0.4, 0.1]).double()

    def denoise(noisy, times):  # E[x_0 | x_t] of a Gaussian
        alpha, sigma = (share[:, None, None] for share in process.alpha_sigma(times.double()))
        gain = alpha * covariance @ (alpha**2 * covariance + sigma**2 * torch.eye(3)).inverse()
        return (mean + (gain @ (noisy.flatten(1) - alpha[..., 0] * mean)[..., None])[..., 0]).reshape(noisy.shape)

    images = torch.randn(4, 1, 1, 3, generator=torch.Generator().manual_seed(0)).double()
    blur = START / (1 - START) if name == "flow" else START
    truth = torch.distributions.MultivariateNormal(mean, covariance + blur**2 * torch.eye(3))
    wanted = truth.log_prob(images.flatten(1))
    # all signs there are: their mean has no error
    every = torch.tensor([*itertools.product((-1.0, 1.0), repeat=3)]).double()[:, None, None, None]
    whole = flow_log_prob(process, denoise, images, every.expand(8, 4, 1, 1, 3), START, last)
    torch.testing.assert_close(whole, wanted, atol=3e-3, rtol=0)
    single = flow_log_prob(
        process,
        denoise,
        images.repeat(8, 1, 1, 1),
        every.reshape(8, 1, 1, 3).repeat_interleave(4, 0)[None],
        START,
        last,
    )
    single = single.unflatten(0, (8, 4))
    assert single.std(0).min() > 0.05
    torch.testing.assert_close(single.mean(0), wanted, atol=3e-3, rtol=0)


def test_the_divergence_of_a_linear_field_is_its_trace():
    matrix = torch.randn(6, 6, generator=torch.Generator().manual_seed(0)).double()
    images = torch.randn(2, 1, 2, 3).double()

    def velocity(images, times):
        return (images.flatten(1) @ matrix.T).reshape(images.shape) * times[:, None, None, None]

    times = torch.tensor([1.0, 0.5]).double()
    every = torch.tensor([*itertools.product((-1.0, 1.0), repeat=6)]).double().reshape(64, 1, 1, 2, 3)
    found, divergence = with_divergence(velocity, every.expand(64, 2, 1, 2, 3))(images, times)
    torch.testing.assert_close(found, velocity(images, times))
    torch.testing.assert_close(divergence * 6, matrix.trace() * times)
    gaussian = torch.randn(20_000, 2, 1, 2, 3, generator=torch.Generator().manual_seed(1)).double()
    _, divergence = with_divergence(velocity, gaussian)(images, times)
    torch.testing.assert_close(divergence * 6, matrix.trace() * times, atol=0.15, rtol=0)


def test_the_velocity_is_the_probability_flows_own():
    """Against -sigma score of a Gaussian, in the variance-exploding process."""
    process = VarianceExploding()
    noisy = torch.randn(3, 1, 1, 2).double().requires_grad_()
    times = torch.tensor([0.1, 1.0, 5.0]).double()
    variance = times[:, None, None, None].square() + 0.25

    def denoise(noisy, times):
        return noisy * 0.25 / variance

    [score] = torch.autograd.grad((-0.5 * noisy.square() / variance).sum(), noisy)
    wanted = -times[:, None, None, None] * score
    torch.testing.assert_close(velocity_of(process, denoise)(noisy, times), wanted)


# ---- the bound


def geometric(num, least=1e-3, most=8.0):
    """A process whose ratios sigma / alpha rise by one factor."""
    noise = torch.logspace(math.log10(least), math.log10(most), num).double()
    abar = 1 / (1 + noise.square())
    return DiscreteDiffusion(1 - abar / torch.cat([torch.ones(1).double(), abar[:-1]]))


ATOMS = torch.tensor([0, 90, 91, 255])[:, None, None, None]
"""Images of one pixel, two of them of neighbouring levels."""
MASSES = torch.tensor([0.4, 0.3, 0.2, 0.1]).double()


def exact_of_levels(process):
    values = to_float(ATOMS.to(torch.uint8)).double().flatten()

    def denoise(noisy, times):
        alpha, sigma = (share[:, None, None, None, None] for share in process.alpha_sigma(times))
        share = (MASSES.log() - 0.5 * ((noisy[..., None] - alpha * values) / sigma).square()).softmax(-1)
        return (share * values).sum(-1)

    return denoise


def bound_of_levels(num_times, num=None, images=2000, seed=0):
    process = geometric(num_times)
    generator = torch.Generator().manual_seed(seed)
    clean = to_float(ATOMS.repeat(images, 1, 1, 1).to(torch.uint8)).double()
    places = torch.rand(len(clean), num or num_times - 1, generator=generator)
    found = variational_bound(
        process,
        exact_of_levels(process),
        clean,
        places,
        lambda: torch.randn(clean.shape, generator=generator, dtype=torch.float64),
    )
    return found.unflatten(0, (images, len(ATOMS)))


def test_the_bound_of_an_exact_denoiser_is_below_log_p_and_tight_with_many_times():
    gaps = [(MASSES.log() - bound_of_levels(num).mean(0)) @ MASSES for num in (5, 20, 200)]
    assert gaps[0] > gaps[1] > gaps[2] > -0.02
    assert gaps[1] > 0.5
    assert gaps[2] < 0.1


def test_a_few_times_estimate_the_whole_bound_without_a_bias():
    """With a denoiser that always gives one image only the times are random, and all their places can be tried."""
    process, tries = geometric(20, least=0.1), 20_000
    clean = to_float(torch.full((tries, 1, 1, 1), 200, dtype=torch.uint8)).double()

    def of(places):
        images = clean[: len(places)]
        return variational_bound(process, lambda noisy, times: images / 2, images, places, lambda: images)

    whole = of(torch.rand(1, 19)).item()
    places = (torch.arange(tries).double() + 0.5) / tries
    for num in (1, 6, 19, 40):
        some = of(places[:, None].expand(-1, num))
        assert some.mean().item() == pytest.approx(whole, rel=1e-3), num
        assert (some.std() < 1e-9) == (num == 19)


def test_each_term_is_the_divergence_of_ancestral_steps():
    """Ho et al. 2020, equation 5, with means from the sampler's own step and the divergence of torch.distributions."""
    process = geometric(3, least=0.1)
    clean = to_float(torch.randint(256, (2, 1, 2, 2), dtype=torch.uint8)).double()
    noises = [torch.randn_like(clean) for _ in range(3)]

    def denoise(noisy, times):
        return torch.tanh(noisy) * (1 + times[:, None, None, None].double()) / 4

    def step(image, noisy, now, after):
        """What the sampler makes of an image in place of the denoiser's, without noise, and its standard deviation."""
        mean = Ancestral().bind(process, lambda *_: image, lambda: torch.zeros_like(noisy)).step(noisy, now, after)
        return Independent(Normal(mean, posterior_sigma(now, after)), 3)

    points = [make_timestep(process, float(time)) for time in (0, 1, 2)]
    noisy = [point.alpha * clean + point.sigma * noise for point, noise in zip(points, noises, strict=True)]
    denoised = [denoise(image, torch.full((2,), float(time))) for time, image in enumerate(noisy)]
    last = Independent(Normal(points[2].alpha * clean, points[2].sigma), 3)
    wanted = kl_divergence(last, Independent(Normal(torch.zeros_like(clean), 1.0), 3))
    for time in (1, 2):
        now, after = points[time], points[time - 1]
        wanted += kl_divergence(step(clean, noisy[time], now, after), step(denoised[time], noisy[time], now, after))
    wanted -= level_log_likelihood(denoised[0], posterior_sigma(points[1], points[0]), clean)
    found = variational_bound(process, denoise, clean, torch.rand(2, 2), iter(noises).__next__)
    torch.testing.assert_close(found, -wanted)


def test_the_levels_probabilities_add_up_and_do_not_underflow():
    levels = to_float(torch.arange(256).to(torch.uint8)[:, None, None, None]).double()
    for mean, sigma in ((0.3, 0.05), (-1.2, 0.3), (1.0, 0.004)):
        found = level_log_likelihood(torch.full_like(levels, mean), sigma, levels)
        assert found.exp().sum().item() == pytest.approx(1, abs=1e-6)  # levels are float32
        normal = Normal(torch.tensor(mean).double(), sigma)
        middle = levels[100].flatten()
        inside = normal.cdf(middle + LEVEL / 2) - normal.cdf(middle - LEVEL / 2)
        assert found[100].exp().item() == pytest.approx(inside.item(), rel=1e-6, abs=1e-12)
    for mean in (-1.0, 1.0):  # 500 standard deviations away: about -x^2 / 2
        far = level_log_likelihood(torch.tensor(mean).double().expand(1, 1, 1, 1), 0.004, -mean * levels[-1:])
        assert far.item() == pytest.approx(-(((2 - LEVEL / 2) / 0.004) ** 2) / 2, rel=1e-3)


# ---- models and scoring


def images_of(num=6, labels=None):
    generator = torch.Generator().manual_seed(0)
    return Stored(torch.randint(256, (num, 1, 8, 8), generator=generator).to(torch.uint8), labels)


def untrained(model_class, **options):
    """A model whose network gives nothing, as it does before training, so that its flow is known."""
    torch.manual_seed(0)
    return model_class((1, 8, 8), **TINY, **options)


def test_models_before_training_have_the_likelihood_of_a_normal_distribution():
    images = images_of()
    generators = image_generators(mix_seed(0, "dequantise"), range(6))
    noisy = (to_float(images[:]) + LEVEL * (uniform(6, 1, 8, 8, generator=generators) - 0.5)).double()
    for model, variance in (
        (untrained(FlowMatching), 1 / (1 - START) ** 2),  # the velocity is 0, so that x stays where it is
        (untrained(EDM, sigma_data=0.6, sigma_max=1e3), 0.6**2 + START**2),  # D is that of N(0, 0.6^2)
    ):
        assert isinstance(model, DensityModel)
        card = score_likelihood(model, images)
        exact = Normal(0.0, math.sqrt(variance)).log_prob(noisy).flatten(1).sum(1) + 64 * math.log(LEVEL)
        assert card.scores["nll"] == pytest.approx(-exact.mean().item(), abs=0.05)
        assert card.scores["bits_per_dim"] == pytest.approx(-exact.mean().item() / 64 / math.log(2), abs=1e-3)
        assert card.scores["nll_sem"] == pytest.approx(exact.std().item() / math.sqrt(6), abs=0.01)
        assert card.protocol == {"nll": "nll6_test@flow ODE to 0.0001, 1 probe"}
        assert card.notes == ("density of dequantised images",)
        assert torch.is_grad_enabled()


class Rough(nn.Module):
    """A network that depends on everything that it is given, and mixes the pixels."""

    def __init__(self, classes=0):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.classes = nn.Linear(64, 64), nn.Linear(max(1, classes), 64)

    def forward(self, images, noise, classes=None):
        hidden = self.layer(images.flatten(1)) + torch.sin(noise / 200)[:, None]
        return torch.tanh(hidden + (0 if classes is None else self.classes(classes))).reshape(images.shape)


def rough(model_class, classes=0, **options):
    model = untrained(model_class, num_classes=classes, conditional=classes > 0, **options)
    model.network = Rough(classes)
    return model


@pytest.mark.parametrize(
    ("model_class", "options"), [(FlowMatching, {}), (EDM, {}), (DDPM, {"num_times": 12, "schedule": "cosine"})]
)
def test_an_image_counts_the_same_alone_and_in_a_batch_and_given_its_class(model_class, options):
    labels = torch.arange(6).numpy() % 3
    images = images_of(labels=labels)
    model = rough(model_class, classes=3, **options)
    whole = score_likelihood(model, images)
    single = score_likelihood(model, images, batch_size=1)
    assert single.scores["nll"] == pytest.approx(whole.scores["nll"], rel=1e-4)
    assert score_likelihood(model, images, seed=1).scores["nll"] != pytest.approx(whole.scores["nll"], rel=1e-4)
    other = score_likelihood(model, images_of(labels=(labels + 1) % 3))
    assert other.scores["nll"] != pytest.approx(whole.scores["nll"], rel=1e-4)
    with pytest.raises(InputError, match="needs the images' classes"):
        score_likelihood(model, images_of())
    with pytest.raises(InputError, match="classes are 0 to 2"):
        score_likelihood(model, images_of(labels=labels + 1))


def test_ddpms_bound_is_of_levels_by_all_its_times_or_some():
    model = rough(DDPM, num_times=30, prediction="v", schedule="cosine")
    images = images_of(40)
    whole = score_likelihood(model, images)
    assert whole.protocol == {"nll": "nll40_test@bound over all 30 times"}
    assert whole.notes == ("probability of the 256 levels",)
    some = score_likelihood(model, images, importance_samples=10)
    assert some.protocol == {"nll": "nll40_test@bound over 10 of 30 times"}
    assert some.scores["nll"] == pytest.approx(whole.scores["nll"], rel=0.1)
    assert some.scores["nll"] != whole.scores["nll"]
    batch = to_float(images[:])
    generators = image_generators(mix_seed(0, "latents"), range(40))
    places = uniform(40, 29, generator=generators)
    with torch.no_grad():
        clipped = variational_bound(
            model.process,
            lambda noisy, times: model.network(noisy, times, None).clamp(-1, 1),
            batch,
            places,
            lambda: randn(*batch.shape, generator=generators),
        )
    assert whole.scores["nll"] == pytest.approx(-clipped.mean().item())


def test_more_probes_scatter_less():
    model, images = rough(FlowMatching), images_of(2)
    batch = to_float(images[:])[:1]

    def scatter(num):
        found = [model.log_prob(batch, num, generator=[torch.Generator().manual_seed(i)]).item() for i in range(6)]
        return torch.tensor(found).std().item()

    assert scatter(16) < 0.6 * scatter(1)
    assert score_likelihood(model, images, importance_samples=2).protocol["nll"].endswith("2 probes")


def test_likelihoods_that_a_model_does_not_have_are_refused():
    images = images_of()
    with pytest.raises(InputError, match="elbo needs a model with latents; FlowMatching has nll, by its flow ODE"):
        score_likelihood(untrained(FlowMatching), images, metrics=("elbo", "nll"))
    with pytest.raises(
        InputError, match="elbo needs a model with latents; DDPM has nll, by its bound over all 1,000 times"
    ):
        score_likelihood(untrained(DDPM), images, metrics=("elbo",))
    with pytest.raises(InputError, match="importance_samples is 0"):
        score_likelihood(untrained(DDPM), images, importance_samples=0)
    assert not isinstance(DCGAN((1, 8, 8), width=2), DensityModel)


def test_evaluate_gives_bits_of_a_trained_flow(tmp_path, capsys):
    out = tmp_path / "bits.json"
    options = [f"--runs={tmp_path}", f"--data.root={tmp_path}", "--trainer.accelerator=cpu", "--trainer.max_epochs=1"]
    options += ["--fidelity.features=null", "--trainer.enable_progress_bar=false"]
    options += ["--model.warmup_images=0", "--model.lr=0.01", "--model.width=8", "--model.multipliers=[1,1]"]
    options += ["--model.ema_half_life=null", "--model.attention=[]", "--model.coupling=independent"]
    assert main(["fit", "--config", str(CONFIGS / "flow_matching_digits.yaml"), "--name=flow", *options]) == 0
    ask = ["evaluate", "--ckpt", str(tmp_path / "flow"), "--split", "test", "--num_samples", "4", "--metrics"]
    assert main([*ask, "nll", "--out", str(out)]) == 0
    card = json.loads(out.read_text())
    assert card["scores"].keys() == {"nll", "nll_sem", "bits_per_dim"}
    assert 1 < card["scores"]["bits_per_dim"] < 8
    assert card["protocol"]["nll"] == "nll4_test@flow ODE to 0.0001, 1 probe"
    capsys.readouterr()
    assert main([*ask, "fid", "elbo"]) == 2
    assert "elbo needs a model with latents" in lines_of(capsys)
    assert main([*ask, "nll", "--steps", "5"]) == 2
    assert "does not depend on how images are sampled" in lines_of(capsys)


def test_a_device_without_float64_is_one_clear_line():
    check_float64(torch.device("cpu"))
    with pytest.raises(InputError, match="float64, which mps does not support"):
        check_float64(torch.device("mps"))
