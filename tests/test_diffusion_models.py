"""Diffusion models and flows: their losses against closed forms, conditions, and drawing as it is asked for."""

import math

import pytest
import torch

from lightning_gen.diffusion.coupling import optimal_transport
from lightning_gen.diffusion.denoiser import Denoiser
from lightning_gen.errors import InputError
from lightning_gen.models.diffusion import generation
from lightning_gen.models.diffusion.ddpm import DDPM
from lightning_gen.models.diffusion.edm import EDM
from lightning_gen.models.diffusion.flow_matching import FlowMatching
from lightning_gen.noise import image_generators
from lightning_gen.types import Batch, IterativeGenerator, SamplingOptions

SHAPE = (1, 8, 8)
TINY = {"image_shape": SHAPE, "width": 8, "multipliers": (1, 2), "blocks": 1, "attention": ()}
models = pytest.mark.parametrize("kind", [DDPM, EDM, FlowMatching])


def awake(model, std=0.03):
    """A network whose last layers are no longer zero."""
    for parameter in model.network.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return model.eval()


def loss(model, images, seed=100):
    torch.manual_seed(seed)
    return model.loss(Batch(images)).total.item()


class Answer(torch.nn.Module):
    """A function of (noisy images, noise, classes) as a network."""

    def __init__(self, answer):
        super().__init__()
        self.forward = answer


def with_answer(model, answer):
    model.network.backbone = Answer(answer)
    return model


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        ("noise", 1.0),
        ("image", 0.25),
        ("v", None),
    ],
)
def test_a_network_that_says_nothing_has_the_loss_of_its_targets(prediction, expected):
    torch.manual_seed(0)
    images = 0.5 * torch.randn(1500, *SHAPE)  # E x^2 = 0.25
    model = DDPM(**TINY, prediction=prediction)
    abar = model.process.abar[1:]
    expected = expected or float((abar + (1 - abar) * 0.25).mean())  # E v^2 = alpha^2 + sigma^2 E x^2
    assert loss(model, images) == pytest.approx(expected, rel=0.02)
    assert loss(EDM(**TINY, sigma_data=0.5), images) == pytest.approx(1.0, rel=0.02)
    assert loss(FlowMatching(**TINY), images) == pytest.approx(1.25, rel=0.02)


@pytest.mark.parametrize("weighting", ["simple", "snr", "min_snr"])
@pytest.mark.parametrize("prediction", ["noise", "image", "v"])
def test_the_perfect_network_has_no_loss_and_gives_the_image_back(prediction, weighting):
    torch.manual_seed(1)
    clean = torch.rand(6, *SHAPE) * 2 - 1
    noise = torch.randn(6, *SHAPE)
    model = DDPM(**TINY, prediction=prediction, weighting=weighting, schedule="cosine", num_times=200)
    times = torch.tensor([0.0, 1.0, 50.0, 100.0, 150.0, 198.0])
    alpha, sigma = (share.float()[:, None, None, None] for share in model.process.alpha_sigma(times))
    answers = {"noise": noise, "image": clean, "v": alpha * noise - sigma * clean}
    seen = []

    def network(noisy, time, classes):
        seen.append(time)
        return answers[prediction]

    found = Denoiser(Answer(network), model.network.preconditioning)(
        model.process.noisy(clean, noise, times), times, None
    )
    torch.testing.assert_close(found, clean, atol=2e-3, rtol=0)
    torch.testing.assert_close(seen[0], times * 5)  # the network's unit is a thousandth of the schedule


def test_weights_of_the_times_are_of_each_images_own_time():
    model = DDPM(**TINY, prediction="image", weighting="snr", num_times=2)
    torch.manual_seed(2)
    images = torch.randn(64, *SHAPE)
    torch.manual_seed(3)
    times = torch.randint(2, (64,)).float()
    expected = (model.process.snr(times) * images.square().mean((1, 2, 3))).mean()  # the network says 0
    assert loss(model, images, seed=3) == pytest.approx(float(expected), rel=1e-5)


def test_edm_learns_at_log_normal_levels_and_its_first_guess_is_the_best_linear_one():
    model = EDM(**TINY, sigma_data=0.5, level_mean=-0.4, level_std=0.7)
    seen = []

    def network(noisy, level, classes):
        seen.append(level)
        return torch.zeros_like(noisy)

    with_answer(model, network)
    loss(model, torch.zeros(20_000, *SHAPE))
    logs = seen[0] * 4 / 100  # c_noise is a quarter of the logarithm, in hundredths
    assert logs.mean() == pytest.approx(-0.4, abs=0.02)
    assert logs.std() == pytest.approx(0.7, abs=0.02)
    noisy, sigma = torch.randn(3, *SHAPE), torch.tensor([0.1, 0.5, 4.0])
    share = (0.25 / (0.25 + sigma.square()))[:, None, None, None]
    torch.testing.assert_close(
        Denoiser(Answer(network), model.network.preconditioning)(noisy, sigma, None), share * noisy
    )


def test_flow_matching_pairs_noise_and_images_as_asked():
    torch.manual_seed(4)
    images = torch.randn(16, *SHAPE)
    torch.manual_seed(5)
    noise = torch.randn(16, *SHAPE)
    apart = (noise - images).square().mean()
    near = (optimal_transport(images, noise) - images).square().mean()
    assert near < apart
    assert loss(FlowMatching(**TINY), images, seed=5) == pytest.approx(float(apart), rel=1e-5)
    paired = FlowMatching(**TINY, coupling="optimal_transport")
    assert loss(paired, images, seed=5) == pytest.approx(float(near), rel=1e-5)


def test_logit_normal_times_are_logistic_functions_of_normal_numbers():
    seen = []

    def network(noisy, time, classes):
        seen.append(time / 1000)
        return torch.zeros_like(noisy)

    model = with_answer(FlowMatching(**TINY, training_times="logit_normal", logit_mean=0.5, logit_std=0.8), network)
    loss(model, torch.zeros(20_000, *SHAPE))
    assert seen[0].logit().mean() == pytest.approx(0.5, abs=0.03)
    assert seen[0].logit().std() == pytest.approx(0.8, abs=0.03)


@models
def test_a_share_of_the_classes_is_hidden_in_training_and_none_in_validation(kind):
    model = kind(**TINY, conditional=True, num_classes=4, label_dropout=0.25)
    batch = Batch(torch.zeros(8000, *SHAPE), torch.arange(8000) % 4)
    torch.manual_seed(0)
    classes = model.train().training_classes(batch)
    shown = classes.sum(1)
    assert shown.unique().tolist() == [0, 1]
    assert 1 - shown.mean() == pytest.approx(0.25, abs=0.02)
    assert torch.equal(classes[shown > 0].argmax(1), batch.labels[shown > 0])
    assert model.eval().training_classes(batch).sum() == 8000
    with pytest.raises(InputError, match="the batch has none"):
        model.training_classes(Batch(batch.images))


@models
def test_guidance_of_1_is_the_conditional_model_of_0_the_unconditional_one_and_more_leads_on(kind):
    torch.manual_seed(0)
    model = awake(kind(**TINY, conditional=True, num_classes=3), std=0.1)
    generators = lambda: image_generators(0, range(4))  # noqa: E731
    labels = torch.tensor([0, 1, 2, 0])

    def drawn(asked_labels=labels, **asked):
        model.sampling = SamplingOptions(steps=3, **asked)
        return model.sample(4, labels=asked_labels, generator=generators())

    assert torch.equal(drawn(), drawn(guidance=1.0))
    torch.testing.assert_close(drawn(guidance=0.0), drawn(labels.flip(0), guidance=0.0))
    assert not torch.allclose(drawn(guidance=1.0), drawn(labels.flip(0), guidance=1.0), atol=1e-4)
    assert not torch.allclose(drawn(guidance=1.0), drawn(guidance=3.0), atol=1e-4)
    assert torch.equal(drawn(guidance=1.0), drawn(guidance=3.0, guidance_interval=(1e-9, 1e-8)))
    torch.testing.assert_close(drawn(guidance=3.0), drawn(guidance=3.0, guidance_interval=(0.0, math.inf)))


@models
def test_every_sampler_of_a_model_draws_and_says_how_far_it_is(kind):
    torch.manual_seed(0)
    model = awake(kind(**TINY))
    assert isinstance(model, IterativeGenerator)
    pictures = {}
    for name in model.samplers:
        done = []
        model.progress_callback = done.append
        model.sampling = SamplingOptions(sampler=name, steps=None if name == "adaptive" else 6)
        pictures[name] = model.sample(3, generator=image_generators(1, range(3)))
        assert sum(done) == pytest.approx(3)
        assert pictures[name].isfinite().all()
        assert pictures[name].abs().max() <= 1
    torch.testing.assert_close(pictures["ddim"], pictures["euler"], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(pictures["ddim"], pictures["ancestral"], atol=1e-2)
    model.sampling = SamplingOptions(sampler="ddim", steps=6, eta=1.0)
    torch.testing.assert_close(
        model.sample(3, generator=image_generators(1, range(3))), pictures["ancestral"], atol=1e-4, rtol=1e-4
    )


@models
def test_clipping_keeps_every_guess_in_the_images_range(kind):
    torch.manual_seed(0)
    model = awake(kind(**TINY, conditional=True, num_classes=3), std=0.1)
    noisy, times = 3 * torch.randn(4, *SHAPE), torch.full((4,), 0.9)
    for classes in (None, torch.eye(3)[[0, 1, 2, 0]]):
        found = []
        for clip in (False, True):
            model.sampling = SamplingOptions(clip=clip, guidance=3.0)
            with model.sampler(classes, model.reject_noise) as sampler:
                found.append(sampler.denoise(noisy, times))
        assert found[0].abs().max() > 1
        assert torch.equal(found[1], found[0].clamp(-1, 1))


@models
def test_samples_are_the_same_in_whatever_parts_they_are_drawn(kind, monkeypatch):
    torch.manual_seed(0)
    model = awake(kind(**TINY, conditional=True, num_classes=3))
    model.sampling = SamplingOptions(sampler="ancestral", steps=3)
    labels = torch.tensor([0, 1, 2, 1, 0])
    for asked in (None, labels):
        whole = model.sample(5, labels=asked, generator=image_generators(0, range(5)))
        monkeypatch.setattr(generation, "SAMPLING_BATCH", 2)
        parts = model.sample(5, labels=asked, generator=image_generators(0, range(5)))
        monkeypatch.undo()
        torch.testing.assert_close(whole, parts, atol=1e-5, rtol=1e-4)
    assert model.sample(0).shape == (0, *SHAPE)


@models
def test_latents_are_the_noise_that_a_deterministic_sampler_starts_from(kind):
    torch.manual_seed(0)
    plain, conditional = awake(kind(**TINY)), awake(kind(**TINY, conditional=True, num_classes=3))
    latents = plain.sample_latents(3, generator=image_generators(0, range(3)))
    assert latents.shape == (3, 64)
    assert torch.equal(plain.decode(latents), plain.sample(3, generator=image_generators(0, range(3))))
    latents = conditional.sample_latents(3, generator=image_generators(0, range(3)))
    assert latents.shape == (3, 67)
    assert torch.equal(conditional.decode(latents), conditional.sample(3, generator=image_generators(0, range(3))))
    plain.sampling = SamplingOptions(sampler="ancestral")
    with pytest.raises(InputError, match="ancestral draws fresh noise"):
        plain.decode(torch.randn(2, 64))


@pytest.mark.parametrize(
    ("kind", "asked", "words"),
    [
        (DDPM, {"sampler": "adaptive"}, "adaptive does not support DDPM; those that do are ancestral, ddim"),
        (FlowMatching, {"sampler": "dpm_solver"}, "dpm_solver does not support FlowMatching"),
        (EDM, {"sampler": "nonsense"}, "nonsense does not support EDM"),
        (DDPM, {"steps": 101}, "steps is 101; the model's schedule has 100 times"),
        (FlowMatching, {"steps": 0}, "steps is 0; it must be at least 1"),
        (DDPM, {"spacing": "karras"}, "DDPM has no spacing karras; it has leading, trailing, linspace"),
        (EDM, {"sampler": "adaptive", "steps": 5}, "adaptive chooses its own steps"),
        (DDPM, {"eta": 0.5}, "the sampler dpm_solver has no eta"),
        (EDM, {"sampler": "heun", "churn": 3.0}, "the sampler heun has no churn"),
        (DDPM, {"sampler": "ddim", "eta": -1.0}, "eta is -1.0"),
        (DDPM, {"sampler": "ddim", "eta": 1.5}, "eta is 1.5; it must lie between 0"),
        (FlowMatching, {"guidance": 2.0}, "guidance is given, and this FlowMatching is unconditional"),
        (EDM, {"guidance_interval": (0.1, 1.0)}, "guidance_interval is given, and this EDM is unconditional"),
    ],
)
def test_what_cannot_be_drawn_is_one_clear_line_and_changes_nothing(kind, asked, words):
    model = kind(**TINY, **({"num_times": 100} if kind is DDPM else {}))
    before = model.sampling
    with pytest.raises(InputError, match=words) as error:
        model.sampling = SamplingOptions(**asked)
    assert "\n" not in str(error.value)
    assert model.sampling == before


def test_what_is_not_asked_for_is_the_models_own_choice():
    model = EDM(**TINY)
    assert model.sampling == EDM.default_sampling
    model.sampling = SamplingOptions(sampler="stochastic_heun", steps=7)
    assert (model.sampling.sampler, model.sampling.steps, model.sampling.spacing) == ("stochastic_heun", 7, "karras")
    model.sampling = SamplingOptions()
    assert model.sampling == EDM.default_sampling
    with pytest.raises(InputError, match="guidance_interval is 2 to 1"):
        EDM(**TINY, conditional=True, num_classes=2).sampling = SamplingOptions(
            guidance=2.0, guidance_interval=(2.0, 1.0)
        )
    with pytest.raises(InputError, match="guidance is 1, which is no guidance"):
        EDM(**TINY, conditional=True, num_classes=2).sampling = SamplingOptions(guidance_interval=(1.0, 2.0))
    sure = EDM(**TINY, conditional=True, num_classes=2, label_dropout=0.0)
    with pytest.raises(InputError, match="this EDM was trained with label_dropout 0"):
        sure.sampling = SamplingOptions(guidance=2.0)
    sure.sampling = SamplingOptions(guidance=1.0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DDPM(**TINY, num_times=1), "at least 2 times"),
        (lambda: DDPM(**TINY, gamma=0.0), "model.gamma is 0.0"),
        (lambda: EDM(**TINY, sigma_min=1.0, sigma_max=0.5), "sigma_min below sigma_max"),
        (lambda: FlowMatching(**TINY, logit_std=0.0), "model.logit_std is 0.0"),
        (lambda: EDM(**TINY, conditional=True), "the data has none"),
        (lambda: EDM(**TINY, label_dropout=1.0), "model.label_dropout is 1.0"),
        (lambda: EDM(**{**TINY, "image_shape": (1, 9, 9)}), "cannot be halved"),
        (lambda: EDM(**TINY, warmup_images=-1), "model.warmup_images is -1"),
        (lambda: EDM(**TINY).sample(1, labels=torch.zeros(1, dtype=torch.long)), "not conditional"),
    ],
)
def test_what_cannot_be_built_is_one_clear_line(make, words):
    with pytest.raises(InputError, match=words) as error:
        make()
    assert "\n" not in str(error.value)


def test_a_conditional_flow_refuses_optimal_transport():
    """Paired without regard to classes, the noise of a class is not the noise that its samples start from."""
    with pytest.raises(InputError, match=r"model.coupling is optimal_transport"):
        FlowMatching(**TINY, num_classes=2, conditional=True, coupling="optimal_transport")
    assert FlowMatching(**TINY, num_classes=2, coupling="optimal_transport").num_classes == 0
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 2
    clean = (2.0 * labels - 1)[:, None, None, None] * torch.ones(64, *SHAPE)
    paired = optimal_transport(clean, torch.randn(64, *SHAPE, generator=random))
    means = [paired[labels == label].mean().item() for label in (0, 1)]
    assert means[1] - means[0] > 5 * (2 / paired[0].numel() / 32) ** 0.5
