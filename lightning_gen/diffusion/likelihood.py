r"""Log-likelihoods: the change of variables for a flow, the variational bound for a diffusion in discrete time.

A flow dx / dt = v(x, t) from images to noise changes a density by its divergence (Chen et al. 2018,
https://arxiv.org/abs/1806.07366, theorem 1). Hutchinson's estimator of the divergence is unbiased (Grathwohl et al.
2019, https://arxiv.org/abs/1810.01367; Song et al. 2021, https://arxiv.org/abs/2011.13456, appendix D.2):

    log p(x_s) = log N(x_1; 0, sigma_1^2) + int_s^1 div v(x_t, t) dt,    div v = E[e^T (dv / dx) e],  E[e e^T] = I

The variational bound of the process x_t = alpha_t x + sigma_t e at the times t = 0 ... T - 1 (Ho et al. 2020,
https://arxiv.org/abs/2006.11239, equation 5), with reverse steps of the posterior's variance, in terms of the
denoised image D and the signal-to-noise ratio r (Kingma et al. 2021, https://arxiv.org/abs/2107.00630, section 4):

    -log P(x) <= KL(q(x_{T-1} | x) || N(0, I)) + sum_t (r_{t-1} - r_t) / 2 E|x - D(x_t, t)|^2 - E log P(x | x_0)
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lightning_gen.diffusion.adaptive import State, Velocity, check_float64, integrate, velocity_of
from lightning_gen.diffusion.processes import Denoise, DiscreteDiffusion, Process, Times
from lightning_gen.diffusion.samplers import DrawNoise, make_timestep, posterior_sigma
from lightning_gen.images import LEVEL
from lightning_gen.types import Images

PerImage = Float64[Tensor, " batch"]
Probes = Float[Tensor, "probes batch channels height width"]
START = LEVEL / math.sqrt(12)
"""Noise level at which the flow starts: the standard deviation of the uniform dequantisation noise. Below it the flow
would model details that no image with 256 levels has."""
TOLERANCE = 1e-4
"""Tolerance of a solver step: in units of [-1, 1] for the image, in nats per dimension for the log-density."""


def with_divergence(velocity: Velocity, probes: Probes) -> Callable[[Images, Times], tuple[Images, PerImage]]:
    r"""A velocity with an estimate of its divergence per dimension, 1 / d e^T (dv / dx) e.

    Args:
        velocity: v.
        probes: e, with zero mean and unit variance; the estimate is the mean over the probes.

    Returns:
        A function of images and times that records no graph.
    """

    def both(images: Images, times: Times) -> tuple[Images, PerImage]:
        with torch.enable_grad():
            at = images.detach().requires_grad_()
            value = velocity(at, times)
        total = torch.zeros(len(images), dtype=torch.float64, device=images.device)
        for remaining, probe in zip(reversed(range(len(probes))), probes, strict=True):
            [product] = torch.autograd.grad(value, at, probe, retain_graph=remaining > 0)
            total += (product * probe).double().flatten(1).mean(1)
        return value.detach(), total / len(probes)

    return both


def flow_log_prob(
    process: Process,
    denoise: Denoise,
    images: Images,
    probes: Probes,
    first: float,
    last: float,
    tolerance: float = TOLERANCE,
) -> PerImage:
    r"""Log-density of images under the probability flow, which ends in a normal distribution.

    The density is that of y = x_s / alpha, so that images are not rescaled: log p(y) = log p_s(alpha y) + d log alpha.
    Gradients are recorded internally, also under ``torch.inference_mode``; the result has none.

    Args:
        process: a variance-exploding process or a straight path.
        denoise: the denoiser.
        images: y, dequantised, in units of [-1, 1].
        probes: e of Hutchinson's estimator, the same for all times.
        first: s, above 0.
        last: the time at which x is assumed to be N(0, sigma^2).
        tolerance: tolerance of the solver.

    Returns:
        Nats per image; a density, which can be positive.

    Raises:
        InputError: if a value is not finite, the solver does not finish, or the device has no float64.
    """
    check_float64(images.device)
    start, end = make_timestep(process, first), make_timestep(process, last)
    with torch.inference_mode(False), torch.no_grad():
        with_trace = with_divergence(velocity_of(process, denoise), probes.clone())

        def slope(state: State, times: Times) -> State:
            return with_trace(state[0], times)

        state = start.alpha * images, torch.zeros(len(images), dtype=torch.float64, device=images.device)
        [noise, change], _ = integrate(slope, state, first, last, tolerance, tolerance)
        squares = (noise.double() / end.sigma).square().flatten(1)
        dimensions = squares.shape[1]
        normal = -0.5 * squares.sum(1) - dimensions * math.log(end.sigma * math.sqrt(2 * math.pi))
        return normal + dimensions * (change + math.log(start.alpha))


def variational_bound(
    process: DiscreteDiffusion,
    denoise: Denoise,
    images: Images,
    offsets: Float[Tensor, "batch num"],
    draw_noise: DrawNoise,
) -> PerImage:
    r"""An unbiased estimate of a lower bound of the log-probability of images with 256 levels.

    The sum over the T - 1 times after the first is estimated by stratified sampling: one time from each of ``num``
    equal intervals; with num = T - 1 every time is visited once. The posterior of the last step, to the image itself,
    has variance 0; as in the published code, that of the step before is used.

    Args:
        process: the process.
        denoise: the denoiser.
        images: x, levels in [-1, 1].
        offsets: position of each time in its interval, uniform on [0, 1).
        draw_noise: source of fresh noise, called num + 1 times.

    Returns:
        Nats per image.

    Raises:
        InputError: if the device has no float64.
    """
    check_float64(images.device)
    steps, num = process.num_times - 1, offsets.shape[1]
    clean = images.double()

    def denoised(times: Tensor) -> Float64[Tensor, "batch channels height width"]:
        times = times.to(images.dtype)
        return denoise(process.noisy(images, draw_noise(), times), times).double()

    now, after = make_timestep(process, 1.0), make_timestep(process, 0.0)
    first = denoised(torch.zeros(len(images), device=images.device))
    total = level_log_likelihood(first, posterior_sigma(now, after), clean)
    total -= prior_kl(clean, *process.alpha_sigma(torch.tensor(steps)))
    for interval in range(num):
        times = 1 + ((interval + offsets[:, interval].double()) * (steps / num)).floor()
        weight = (process.snr(times - 1) - process.snr(times)) / 2 * (steps / num)
        total -= weight * (clean - denoised(times)).square().flatten(1).sum(1)
    return total


def prior_kl(clean: Float64[Tensor, "batch channels height width"], alpha: Tensor, sigma: Tensor) -> PerImage:
    r"""KL(N(alpha x, sigma^2) || N(0, I)) = 1/2 sum_i alpha^2 x_i^2 + sigma^2 - 1 - log sigma^2.

    Args:
        clean: x.
        alpha: alpha of the last time.
        sigma: sigma of the last time.

    Returns:
        Nats per image, at least 0.
    """
    variance = sigma.square().to(clean)
    return 0.5 * (alpha.to(clean) * clean).square().add(variance - 1 - variance.log()).flatten(1).sum(1)


def level_log_likelihood(
    mean: Float64[Tensor, "batch channels height width"],
    sigma: float,
    levels: Float64[Tensor, "batch channels height width"],
) -> PerImage:
    r"""Log-probability of image levels: N(m, sigma^2) integrated over each level's width (Ho et al. 2020, equation 13).

    sum_i log(Phi((x_i + w / 2 - m_i) / sigma) - Phi((x_i - w / 2 - m_i) / sigma)),    w = 2 / 255

    where the lowest and the highest level extend to infinity. The result does not underflow far from the mean.

    Args:
        mean: m.
        sigma: standard deviation.
        levels: x, values of the 256 levels in [-1, 1].

    Returns:
        Nats per image, at most 0.
    """
    above = torch.where(levels > 1 - LEVEL / 2, math.inf, (levels + LEVEL / 2 - mean) / sigma)
    below = torch.where(levels < -1 + LEVEL / 2, -math.inf, (levels - LEVEL / 2 - mean) / sigma)
    # in the upper tail both are almost 1, so the mirrored lower tail is used
    above, below = torch.where(above + below > 0, torch.stack([-below, -above]), torch.stack([above, below]))
    upper, lower = torch.special.log_ndtr(above), torch.special.log_ndtr(below)
    return (upper + torch.log(-torch.expm1(lower - upper))).flatten(1).sum(1)
