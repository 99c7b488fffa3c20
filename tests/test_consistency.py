"""Consistency models: their parts against closed forms, their pairs, their teacher, and drawing in few steps."""

import math
from pathlib import Path

import pytest
import torch
from scipy.stats import norm

from lightning_gen.diffusion.consistency import (
    heun_step,
    interval_probabilities,
    num_intervals,
    pseudo_huber,
)
from lightning_gen.diffusion.preconditioning import ConsistencyPreconditioning, EDMPreconditioning
from lightning_gen.errors import InputError
from lightning_gen.models.checkpoint import load_model
from lightning_gen.models.diffusion.consistency_model import ConsistencyModel
from lightning_gen.models.diffusion.ddpm import DDPM
from lightning_gen.models.diffusion.edm import EDM
from lightning_gen.noise import image_generators, randn
from lightning_gen.types import Batch, DensityModel, Encoder, SamplingOptions
from tests.test_diffusion_models import SHAPE, TINY, awake, with_answer


def column(values):
    return values[:, None, None, None]


def gaussian(std):
    """E[x_0 | x] of normal pixels, and where the flow takes x from one level to another."""
    denoise = lambda noisy, sigma: noisy * column(std**2 / (std**2 + sigma.square()))  # noqa: E731
    follow = lambda noisy, now, after: noisy * column(((std**2 + after**2) / (std**2 + now**2)).sqrt())  # noqa: E731
    return denoise, follow


def test_at_the_least_level_the_function_is_the_identity_and_elsewhere_nearly_edms():
    torch.manual_seed(0)
    model = awake(ConsistencyModel(**TINY), std=0.1)
    noisy = torch.randn(3, *SHAPE)
    found = model.network(noisy, torch.full((3,), 0.002), None)
    torch.testing.assert_close(found, noisy)
    sigma = torch.tensor([1.0, 10.0, 80.0]).double()
    for own, edms in zip(
        ConsistencyPreconditioning(0.5, 0.002).coefficients(sigma),
        EDMPreconditioning(0.5).coefficients(sigma),
        strict=True,
    ):
        torch.testing.assert_close(own, edms, rtol=5e-3, atol=0)


def test_intervals_double_until_they_are_the_most():
    assert [num_intervals(seen, 10, 100, 1000) for seen in (0, 999, 1000, 2500, 3000, 4000, 10**15)] == [
        10,
        10,
        20,
        40,
        80,
        100,
        100,
    ]


def test_levels_are_trained_at_as_often_as_log_normal_ones_fall_between_them():
    levels = torch.tensor([0.002, 0.1, 0.5, 2.0, 80.0]).double()
    wanted = torch.tensor(norm(-1.1, 2.0).cdf(levels.log().numpy())).diff()
    torch.testing.assert_close(interval_probabilities(levels, -1.1, 2.0), wanted / wanted.sum())
    with pytest.raises(InputError, match="no training level lies between"):
        interval_probabilities(levels, 60.0, 1.0)


def test_the_distance_is_a_square_near_0_and_a_length_far_away():
    wanted = torch.zeros(2, *SHAPE).double()
    c = 0.00054 * math.sqrt(64)
    found = torch.stack([torch.full(SHAPE, 1e-6), torch.full(SHAPE, 3.0)]).double()
    near, far = pseudo_huber(found, wanted).tolist()
    assert near == pytest.approx(64 * 1e-12 / (2 * c), rel=1e-3)
    assert far == pytest.approx(3 * 8 - c, rel=1e-6)


def test_a_step_of_the_teachers_flow_is_of_second_order_each_image_from_its_own_level():
    denoise, follow = gaussian(0.5)
    noisy = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0)).double()
    now = torch.tensor([1.0, 3.0]).double()

    def error(share):
        after = now * (1 - share)
        return (heun_step(denoise, noisy, now, after) - follow(noisy, now, after)).flatten(1).norm(dim=1)

    assert ((error(0.1) / error(0.05)).log2() - 3).abs().max() < 0.3  # of one step; a whole way loses an order


def test_both_sides_of_a_pair_are_one_image_with_one_noise_at_neighbouring_levels():
    model = ConsistencyModel(**TINY, sigma_data=0.5, least_intervals=6)
    seen = []

    def network(noisy, level, classes):
        seen.append((noisy, (level * 4 / 100).exp(), torch.is_grad_enabled(), torch.get_rng_state()))
        return torch.zeros_like(noisy)

    with_answer(model, network)
    clean = torch.randn(5, *SHAPE)
    torch.manual_seed(0)
    terms = model.loss(Batch(clean)).terms
    assert terms["intervals"] == 6
    (high, now, recorded, state), (low, after, recorded_too, state_too) = seen
    assert (recorded, recorded_too) == (True, False)
    assert torch.equal(state, state_too)  # the same dropout
    levels = (0.002 ** (1 / 7) + torch.arange(7) / 6 * (80 ** (1 / 7) - 0.002 ** (1 / 7))) ** 7
    place = (levels.log()[:, None] - now.log()).abs().argmin(0)
    torch.testing.assert_close(now, levels[place], rtol=1e-3, atol=0)
    torch.testing.assert_close(after, levels[place - 1], rtol=1e-3, atol=0)
    noise = [
        (scaled * column((sigma**2 + 0.25).sqrt()) - clean) / column(sigma)
        for scaled, sigma in ((low, after), (high, now))
    ]
    torch.testing.assert_close(*noise, rtol=0, atol=2e-2)


def test_the_flows_own_function_has_next_to_no_loss_under_its_teacher():
    """Of normal images it is known, and so is F: neighbours differ by the error of Heun's step alone."""
    denoise, follow = gaussian(0.5)
    sigma_min = 0.002

    def network(noisy, level, classes):
        sigma = (level * 4 / 100).exp().double()
        c = ConsistencyPreconditioning(0.5, sigma_min).coefficients(sigma)
        x = noisy.double() / column(c.into)
        wanted = follow(x, sigma, torch.full_like(sigma, sigma_min))
        return ((wanted - column(c.skip) * x) / column(c.out).clamp(min=1e-12)).float()

    def distance(taught, intervals):
        model = with_answer(ConsistencyModel(**TINY, least_intervals=intervals), network).train()
        model.teacher_networks = (lambda x, t, classes: denoise(x, t),) if taught else ()
        torch.manual_seed(0)
        return model.loss(Batch(0.5 * torch.randn(2000, *SHAPE))).terms["distance"].item()

    assert distance(True, 80) < 0.02 * distance(False, 80)
    assert distance(True, 160) < 0.5 * distance(True, 80)


def saved(model, path):
    checkpoint = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}
    model.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, path)
    return str(path)


def test_a_distilled_model_begins_as_its_teacher_and_does_not_save_it(tmp_path):
    torch.manual_seed(0)
    edm = awake(EDM(**TINY, ema_half_life=100.0), std=0.1)
    torch.nn.init.normal_(edm.ema.module.backbone.out[-1].weight)
    path = saved(edm, tmp_path / "edm.ckpt")
    model = ConsistencyModel(**TINY, teacher=path, ema_half_life=50.0)
    names = list(model.state_dict())
    model.on_fit_start()
    assert list(model.state_dict()) == names
    for learner in (model.network, model.ema.module):
        for name, value in learner.state_dict().items():
            torch.testing.assert_close(value, edm.ema.module.state_dict()[name])
    noisy, sigma = torch.randn(2, *SHAPE), torch.tensor([0.3, 4.0])
    with torch.no_grad():
        torch.testing.assert_close(
            model.teacher_networks[0](noisy, sigma), edm.ema.module(noisy, sigma), atol=1e-6, rtol=1e-5
        )
    begun = saved(awake(model), tmp_path / "begun.ckpt")
    again = load_model(Path(begun))
    again.on_fit_start()  # a run that goes on
    assert torch.equal(again.network.backbone.out[-1].weight, model.network.backbone.out[-1].weight)
    saved(awake(edm), tmp_path / "edm.ckpt")
    again.on_fit_start()
    torch.nn.init.normal_(edm.ema.module.backbone.out[-1].weight)
    saved(edm, tmp_path / "edm.ckpt")
    with pytest.raises(InputError, match="not the teacher that this run began with"):
        again.on_fit_start()


def test_what_cannot_teach_is_one_clear_line(tmp_path):
    small = {**TINY, "width": 4}
    for teacher, words in (
        (DDPM(**TINY), "of DDPM; it must be of EDM"),
        (EDM(**small), "whose network or image size is not the model's"),
        (EDM(**{**TINY, "image_shape": (1, 16, 16)}), "whose network or image size is not the model's"),
        (EDM(**TINY, heads=2), "whose network or image size is not the model's"),  # of which no weight tells
        (EDM(**TINY, sigma_data=0.7), "model.sigma_data is 0.5, and the teacher's is 0.7"),
    ):
        path = saved(teacher, tmp_path / "teacher.ckpt")
        with pytest.raises(InputError, match=words) as error:
            ConsistencyModel(**TINY, teacher=path).on_fit_start()
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="no checkpoint at"):
        ConsistencyModel(**TINY, teacher=str(tmp_path / "absent")).on_fit_start()


def test_one_step_is_the_function_of_pure_noise_and_the_next_corrects_the_image():
    torch.manual_seed(0)
    model = awake(ConsistencyModel(**TINY), std=0.1)
    model.sampling = SamplingOptions(clip=False)
    at = lambda level: torch.full((2,), level)  # noqa: E731

    def f(noisy, level):
        with torch.no_grad():
            return model.network(noisy, at(level), None)

    noise, fresh = (randn(2, *SHAPE, generator=own) for own in [image_generators(0, range(2))] for _ in range(2))
    first = f(80 * noise, 80.0)
    torch.testing.assert_close(model.sample(2, generator=image_generators(0, range(2))), first.clamp(-1, 1))
    middle = ((80 ** (1 / 7) + 0.002 ** (1 / 7)) / 2) ** 7
    model.sampling = SamplingOptions(steps=2, clip=False)
    second = f(first + middle * fresh, middle)
    torch.testing.assert_close(
        model.sample(2, generator=image_generators(0, range(2))), second.clamp(-1, 1), atol=1e-5, rtol=1e-4
    )
    assert model.spaced_times(2, "exponential")[1] == pytest.approx(math.sqrt(80 * 0.002))
    assert model.spaced_times(2, "quartic")[1] == pytest.approx(((80**0.25 + 0.002**0.25) / 2) ** 4)


def test_latents_lead_to_images_in_one_step_alone_and_nothing_leads_back():
    torch.manual_seed(0)
    model = awake(ConsistencyModel(**TINY))
    latents = model.sample_latents(3, generator=image_generators(0, range(3)))
    assert torch.equal(model.decode(latents), model.sample(3, generator=image_generators(0, range(3))))
    model.sampling = SamplingOptions(steps=2)
    with pytest.raises(InputError, match="use one step"):
        model.decode(latents)
    assert not isinstance(model, Encoder)
    assert not isinstance(model, DensityModel)  # f is no mean, so there is no flow to follow


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"least_intervals": 0}, "model.least_intervals is 0"),
        ({"least_intervals": 20, "most_intervals": 10}, "most_intervals 10"),
        ({"doubling_images": 0.0}, "doubling_images 0.0"),
        ({"sigma_min": 0.0}, "sigma_min 0.0"),
    ],
)
def test_what_cannot_be_built_is_one_clear_line(options, words):
    with pytest.raises(InputError, match=words) as error:
        ConsistencyModel(**TINY, **options)
    assert "\n" not in str(error.value)


def test_what_cannot_be_drawn_is_one_clear_line():
    model = ConsistencyModel(**TINY)
    with pytest.raises(InputError, match="heun does not support ConsistencyModel; those that do are multistep"):
        model.sampling = SamplingOptions(sampler="heun")
    with pytest.raises(InputError, match="steps is 0"):
        model.sampling = SamplingOptions(steps=0)


def test_guidance_is_refused_but_for_the_conditional_and_the_unconditional_model():
    model = ConsistencyModel(**TINY, num_classes=2, conditional=True)
    for guidance in (0.0, 1.0):
        model.sampling = SamplingOptions(guidance=guidance)
        assert model.sample(2, labels=torch.tensor([0, 1])).isfinite().all()
    for guidance in (0.5, 3.0):
        with pytest.raises(InputError, match=f"guidance is {guidance:g}, which is undefined for ConsistencyModel"):
            model.sampling = SamplingOptions(guidance=guidance)
