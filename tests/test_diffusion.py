"""Schedules, processes and samplers against diffusers, closed forms and an exact denoiser."""

import itertools
import math

import diffusers
import pytest
import torch

from lightning_gen.diffusion.adaptive import solve
from lightning_gen.diffusion.coupling import optimal_transport
from lightning_gen.diffusion.guidance import guided
from lightning_gen.diffusion.preconditioning import EDMPreconditioning
from lightning_gen.diffusion.prediction import loss_weight, predicted_x0, prediction_target
from lightning_gen.diffusion.processes import DiscreteDiffusion, StraightPath, VarianceExploding, append_dims
from lightning_gen.diffusion.samplers import DDIM, Ancestral, DPMSolver, Euler, Heun, StochasticHeun, make_timestep
from lightning_gen.diffusion.schedules import make_betas
from lightning_gen.diffusion.times import discrete_times, level_times, path_times
from lightning_gen.errors import InputError

SHAPE = (4, 2, 3, 3)


@pytest.mark.parametrize(
    ("schedule", "theirs"), [("linear", "linear"), ("cosine", "squaredcos_cap_v2"), ("sigmoid", None)]
)
def test_schedules_against_diffusers_and_their_definition(schedule, theirs):
    betas = make_betas(schedule, 1000)
    assert betas.dtype == torch.float64
    if theirs:
        scheduler = diffusers.DDPMScheduler(1000, beta_schedule=theirs)
        torch.testing.assert_close(betas.float(), scheduler.betas, atol=1e-6, rtol=1e-5)
    abar = (1 - betas).cumprod(0)
    assert (abar[1:] < abar[:-1]).all()
    assert abar[0] > 0.99
    assert abar[-1] < 0.01
    if schedule == "sigmoid":
        u = torch.tensor([1000, 500, 100], dtype=torch.float64).div(1000)
        wanted = (torch.sigmoid(torch.tensor(3.0)) - torch.sigmoid(-3 + 6 * u)) / (
            2 * torch.sigmoid(torch.tensor(3.0)) - 1
        )
        torch.testing.assert_close(abar[torch.tensor([499, 99])], wanted[1:], atol=1e-6, rtol=1e-5)
    with pytest.raises(InputError, match="at least 2 times"):
        make_betas(schedule, 1)


def ddpm(num_times=1000, schedule="linear"):
    return DiscreteDiffusion(make_betas(schedule, num_times))


PROCESSES = {"ddpm": ddpm(), "edm": VarianceExploding(), "flow": StraightPath()}


def test_noisy_images_are_diffusers():
    clean, noise = torch.randn(2, *SHAPE)
    times = torch.tensor([0, 10, 500, 999])
    theirs = diffusers.DDPMScheduler(1000).add_noise(clean, noise, times)
    torch.testing.assert_close(PROCESSES["ddpm"].noisy(clean, noise, times.float()), theirs, atol=1e-5, rtol=0)
    assert PROCESSES["ddpm"].alpha_sigma(torch.tensor(-1.0)) == (1.0, 0.0)


@pytest.mark.parametrize("prediction", ["noise", "image", "v"])
def test_predictions_lead_back_to_the_image_and_their_errors_weigh_as_said(prediction):
    clean, noise = torch.randn(2, *SHAPE).double()
    times = torch.tensor([5.0, 100.0, 500.0, 900.0])
    process = PROCESSES["ddpm"]
    alpha, sigma = map(append_dims, process.alpha_sigma(times))
    noisy = process.noisy(clean, noise, times)
    target = prediction_target(prediction, clean, noise, alpha, sigma)
    torch.testing.assert_close(predicted_x0(prediction, target, noisy, alpha, sigma), clean)
    if prediction == "v":
        scheduler = diffusers.DDPMScheduler(1000)
        torch.testing.assert_close(target.float(), scheduler.get_velocity(clean, noise, times.long()).float())
    wrong = target + 0.1 * torch.randn_like(target)
    own = (wrong - target).square().mean((1, 2, 3))
    image = (predicted_x0(prediction, wrong, noisy, alpha, sigma) - clean).square().mean((1, 2, 3))
    snr = process.snr(times)
    for weighting, image_weight in (("snr", snr), ("min_snr", snr.clamp(max=5.0))):
        torch.testing.assert_close(loss_weight(weighting, prediction, snr) * own, image_weight * image)
    assert (loss_weight("simple", prediction, snr) == 1).all()


def test_preconditioning_keeps_unit_variance_in_and_out():
    torch.manual_seed(0)
    sigma = torch.tensor([0.002, 0.1, 0.5, 3.0, 80.0]).double()
    c = EDMPreconditioning(0.5).coefficients(sigma)
    clean, noise = 0.5 * torch.randn(5, 200_000).double(), torch.randn(5, 200_000).double()
    noisy = clean + sigma[:, None] * noise
    target = (clean - c.skip[:, None] * noisy) / c.out[:, None]
    ones = torch.ones(5).double()
    torch.testing.assert_close((c.into[:, None] * noisy).var(1), ones, atol=0.02, rtol=0)
    torch.testing.assert_close(target.var(1), ones, atol=0.02, rtol=0)
    torch.testing.assert_close(c.noise, sigma.log() / 4)


class Network:
    """A fixed smooth function in place of a network; what it gives is taken for the noise."""

    def __init__(self, process):
        self.process = process

    def noise(self, noisy, times):
        return torch.tanh(noisy * 1.3 + append_dims(times) / 1000) * 0.9

    def __call__(self, noisy, times):
        alpha, sigma = (append_dims(share).to(noisy.dtype) for share in self.process.alpha_sigma(times))
        return predicted_x0("noise", self.noise(noisy, times), noisy, alpha, sigma)


def walk(scheduler, network, start, **options):
    """What diffusers makes of the same network."""
    noisy = start
    for time in scheduler.timesteps:
        times = torch.full((len(noisy),), float(time), dtype=noisy.dtype)
        noisy = scheduler.step(network.noise(noisy, times), time, noisy, **options, return_dict=False)[0]
    return noisy


PLAIN = {"clip_sample": False}


def test_ddim_and_dpm_solver_step_as_diffusers_do():
    process = ddpm()
    network, start = Network(process), torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)).double()

    def ours(sampler, times):
        return sampler().bind(process, network, lambda: pytest.fail("draws")).run(start, [*map(float, times), -1.0])

    theirs = diffusers.DDIMScheduler(1000, **PLAIN)
    theirs.set_timesteps(20)
    torch.testing.assert_close(ours(DDIM, theirs.timesteps), walk(theirs, network, start), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours(Euler, theirs.timesteps), ours(DDIM, theirs.timesteps), atol=1e-9, rtol=1e-9)
    theirs = diffusers.DPMSolverMultistepScheduler(1000, final_sigmas_type="zero", lower_order_final=False)
    theirs.set_timesteps(20)
    torch.testing.assert_close(ours(DPMSolver, theirs.timesteps), walk(theirs, network, start), atol=1e-5, rtol=1e-5)


def test_ancestral_steps_are_diffusers_and_ddims_with_eta_1():
    process = ddpm()
    network, start = Network(process), torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)).double()

    def draws():
        generator = torch.Generator().manual_seed(1)
        return lambda: torch.randn(SHAPE, generator=generator, dtype=torch.float64)

    theirs = diffusers.DDPMScheduler(1000, **PLAIN)
    theirs.set_timesteps(50)
    times = [*map(float, theirs.timesteps), -1.0]
    ours = Ancestral().bind(process, network, draws()).run(start, times)
    generator = torch.Generator().manual_seed(1)
    torch.testing.assert_close(ours, walk(theirs, network, start, generator=generator), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(DDIM(eta=1.0).bind(process, network, draws()).run(start, times), ours)


def test_the_posterior_is_that_of_a_gaussian():
    """q(x_s | x_t, x_0) by completing the square, from q(x_s | x_0) and q(x_t | x_s)."""
    process = ddpm()
    now, after = make_timestep(process, 600.0), make_timestep(process, 350.0)
    ratio = now.alpha / after.alpha
    between = now.sigma**2 - ratio**2 * after.sigma**2
    precision = 1 / after.sigma**2 + ratio**2 / between
    clean, noisy = 0.3, -0.8
    mean = (after.alpha * clean / after.sigma**2 + ratio * noisy / between) / precision
    sampler = Ancestral().bind(process, lambda x, t: torch.full_like(x, clean), lambda: torch.ones(1, 1, 1, 1))
    found = sampler.step(torch.full((1, 1, 1, 1), noisy), now, after).item()
    assert found == pytest.approx(mean + 1 / math.sqrt(precision), rel=1e-6)


# ---- an exact denoiser: a mixture of two Gaussians in each of two pixels

MEANS, STDS, SHARES = (
    torch.tensor([-1.0, 1.5]).double(),
    torch.tensor([0.3, 0.5]).double(),
    torch.tensor([0.4, 0.6]).double(),
)
MEAN = float((SHARES * MEANS).sum())
VARIANCE = float((SHARES * (STDS**2 + MEANS**2)).sum()) - MEAN**2


def exact(process):
    def denoise(noisy, times):
        alpha, sigma = (append_dims(share)[..., None].double() for share in process.alpha_sigma(times.double()))
        variance = alpha**2 * STDS**2 + sigma**2
        error = noisy[..., None] - alpha * MEANS
        share = (SHARES.log() - 0.5 * variance.log() - 0.5 * error**2 / variance).softmax(-1)
        return (share * (MEANS + alpha * STDS**2 / variance * error)).sum(-1)

    return denoise


def grid_of(name, steps):
    """Times from noise to image, the last of them without noise."""
    if name == "ddpm":
        return [*torch.linspace(999, 0, steps).round().unique().flip(0).tolist(), -1.0]
    if name == "edm":
        ramp = torch.linspace(0, 1, steps).double()
        return [*((80 ** (1 / 7) + ramp * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7).tolist(), 0.0]
    return torch.linspace(1, 0, steps + 1).double().tolist()


def start_of(name, num):
    noise = torch.randn(num, 1, 1, 2, generator=torch.Generator().manual_seed(0)).double()
    return noise * (80 if name == "edm" else 1)


@pytest.mark.parametrize(
    ("name", "sampler", "steps"),
    [
        ("ddpm", Ancestral, 500),
        ("ddpm", DDIM, 200),
        ("ddpm", DPMSolver, 50),
        ("ddpm", Heun, 40),
        ("edm", Euler, 200),
        ("edm", Heun, 40),
        ("edm", DPMSolver, 50),
        ("edm", StochasticHeun, 60),
        ("edm", Ancestral, 400),
        ("flow", Euler, 200),
        ("flow", Heun, 40),
    ],
)
def test_every_sampler_recovers_a_mixture(name, sampler, steps):
    torch.manual_seed(0)
    process, start = PROCESSES[name], start_of(name, 20_000)
    found = sampler().bind(process, exact(process), lambda: torch.randn_like(start)).run(start, grid_of(name, steps))
    assert found.mean().item() == pytest.approx(MEAN, abs=0.04)
    assert found.var().item() == pytest.approx(VARIANCE, rel=0.04)
    assert (found < 0).double().mean().item() == pytest.approx(float(SHARES[0]), abs=0.02)


@pytest.mark.parametrize(("sampler", "order"), [(Euler, 1), (Heun, 2)])
@pytest.mark.parametrize(
    ("name", "first", "last", "finest"), [("ddpm", 960, 320, 640), ("edm", 5.0, 0.5, 2048), ("flow", 0.9, 0.3, 2048)]
)
def test_the_error_falls_at_the_methods_order(name, first, last, finest, sampler, order):
    """Between two times with noise, where everything is smooth."""
    process, start = PROCESSES[name], start_of(name, 50)

    def end(sampler, steps):
        times = torch.linspace(first, last, steps + 1).double().tolist()
        return (
            sampler().bind(process, exact(process), lambda: None).run(start / 80 * 5 if name == "edm" else start, times)
        )

    truth = end(Heun, finest)
    errors = [(end(sampler, steps) - truth).abs().mean().item() for steps in (32, 64)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)


# ---- times, guidance, couplings, the adaptive solver


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("steps", [1, 7, 50, 1000])
def test_spacings_are_diffusers(spacing, steps):
    theirs = diffusers.DDIMScheduler(1000, timestep_spacing=spacing)
    theirs.set_timesteps(steps)
    if (spacing, steps) == ("linspace", 1):  # theirs begins at time 0, where there is no noise
        assert discrete_times(1000, 1, "linspace") == [999, -1]
        return
    assert discrete_times(1000, steps, spacing) == [*theirs.timesteps.tolist(), -1]


def test_levels_and_path_times_begin_and_end_where_they_should():
    levels = level_times(18, 0.002, 80.0)
    assert levels[0] == pytest.approx(80)
    assert levels[-2:] == pytest.approx([0.002, 0.0])
    assert levels[9] == pytest.approx((80 ** (1 / 7) + 9 / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7)
    assert path_times(4) == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert path_times(2, shift=3.0) == pytest.approx([1.0, 0.75, 0.0])
    for make in (lambda: discrete_times(10, 11), lambda: level_times(0, 0.1, 1.0), lambda: path_times(0)):
        with pytest.raises(InputError, match="steps is"):
            make()
    with pytest.raises(InputError, match="shift is"):
        path_times(2, 0.0)


def test_guidance_mixes_the_conditional_and_the_unconditional_image_within_its_interval():
    seen = []

    def denoise(noisy, times, classes):
        seen.append(len(noisy))
        return noisy * 0 + append_dims(10 - classes @ torch.tensor([9.0, 8.0, 6.0]))

    noisy, classes = torch.randn(3, 1, 2, 2), torch.eye(3).flip(0)  # 4, 2 and 1; without a class 10
    times = torch.tensor([0.2, 0.5, 0.9])

    def result(**options):
        return guided(denoise, PROCESSES["flow"], classes, **options)(noisy, times)[:, 0, 0, 0].tolist()

    assert result(scale=1.0) == [4, 2, 1]
    assert result(scale=0.0) == [10, 10, 10]
    assert result(scale=3.0) == [-8, -14, -17]
    assert seen == [3, 6, 6]
    at_noise = guided(denoise, PROCESSES["flow"], classes, scale=3.0)(noisy, torch.ones(3))
    assert at_noise[:, 0, 0, 0].tolist() == [-8, -14, -17]
    seen.pop()
    assert result(scale=3.0, interval=(0.5, 2.0)) == [4, -14, 1]  # sigma / alpha is 0.25, 1 and 9
    assert result(scale=3.0, interval=(100.0, 200.0)) == [4, 2, 1]
    assert seen == [3, 6, 6, 6, 3]


def test_the_coupling_is_the_best_of_all_pairings():
    clean, noise = torch.randn(2, 6, 1, 2, 2)
    paired = optimal_transport(clean, noise)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(optimal_transport(clean, noise), paired)
    costs = [(clean - noise[list(order)]).square().sum() for order in itertools.permutations(range(6))]
    torch.testing.assert_close((clean - paired).square().sum(), min(costs))
    assert {tuple(row) for row in paired.flatten(1).tolist()} == {tuple(row) for row in noise.flatten(1).tolist()}


def test_the_adaptive_solver_keeps_its_tolerance_and_each_image_its_own_steps():
    process, start = PROCESSES["flow"], start_of("flow", 8)
    truth = (
        Heun().bind(process, exact(process), lambda: None).run(start, torch.linspace(1, 1e-3, 4097).double().tolist())
    )
    errors, calls = [], []
    for tolerance in (1e-3, 1e-6):
        found, num = solve(process, exact(process), start, 1.0, 1e-3, tolerance, tolerance)
        errors.append((found - truth).abs().max().item())
        calls.append(num)
    assert 1e-4 < errors[0] < 5e-2
    assert errors[1] < 1e-4
    assert calls[0] < calls[1]
    alone = torch.cat([solve(process, exact(process), one, 1.0, 1e-3)[0] for one in start.split(1)])
    torch.testing.assert_close(solve(process, exact(process), start, 1.0, 1e-3)[0], alone, atol=1e-10, rtol=0)
    with pytest.raises(InputError, match="above 0"):
        solve(process, exact(process), start, 1.0, 1e-3, rtol=0.0)
