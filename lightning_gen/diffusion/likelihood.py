r"""Log-likelihoods: of a flow by the change of variables, of a diffusion in discrete times by its variational bound.

A flow dx / dt = v(x, t) from images to noise changes a density by its divergence (Chen et al. 2018,
https://arxiv.org/abs/1806.07366, theorem 1), which Hutchinson's estimator finds without a bias (Grathwohl et al. 2019,
https://arxiv.org/abs/1810.01367; Song et al. 2021, https://arxiv.org/abs/2011.13456, appendix D.2):

    log p(x_s) = log N(x_1; 0, sigma_1^2) + int_s^1 div v(x_t, t) dt,    div v = E[e^T (dv / dx) e],  E[e e^T] = I

The bound of the process x_t = alpha_t x + sigma_t e at the times t = 0 ... T - 1 (Ho et al. 2020,
https://arxiv.org/abs/2006.11239, equation 5), whose reverse steps have the posterior's variance, is in terms of the
denoised image D and the signal-to-noise ratio r (Kingma et al. 2021, https://arxiv.org/abs/2107.00630, section 4):

    -log P(x) <= KL(q(x_{T-1} | x) || N(0, I)) + sum_t (r_{t-1} - r_t) / 2 E|x - D(x_t, t)|^2 - E log P(x | x_0)
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lightning_gen.diffusion.adaptive import State, Velocity, check_double, integrate, velocity_of
from lightning_gen.diffusion.processes import Denoise, DiscreteDiffusion, Process, Times
from lightning_gen.diffusion.samplers import Draw, point_of, posterior_sigma
from lightning_gen.images import LEVEL
from lightning_gen.types import Images

PerImage = Float64[Tensor, " batch"]
Probes = Float[Tensor, "probes batch channels height width"]
START = LEVEL / math.sqrt(12)
"""Where the flow of an image of 256 levels begins: at noise of the same variance as that which dequantises it. Whatever
the time, the density is one of the model's; earlier it would ask for details that no image of levels has."""
TOLERANCE = 1e-4
"""Error that a step of the solver may have: in units of [-1, 1], and in nats for each dimension."""


def with_divergence(velocity: Velocity, probes: Probes) -> Callable[[Images, Times], tuple[Images, PerImage]]:
    r"""A velocity, and the estimate of its divergence as a mean over dimensions, 1 / d e^T (dv / dx) e.

    Args:
        velocity: v.
        probes: e, of mean zero and unit variance; the estimate is their mean.

    Returns:
        A function of images and times, which records no graph.
    """

    def both(images: Images, times: Times) -> tuple[Images, PerImage]:
        with torch.enable_grad():
            at = images.detach().requires_grad_()
            found = velocity(at, times)
        total = torch.zeros(len(images), dtype=torch.float64, device=images.device)
        for left, probe in zip(reversed(range(len(probes))), probes, strict=True):
            [product] = torch.autograd.grad(found, at, probe, retain_graph=left > 0)
            total += (product * probe).double().flatten(1).mean(1)
        return found.detach(), total / len(probes)

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
    r"""Log-density of images under the probability flow, which is a normal distribution at the end of the noise.

    The density is that of y where alpha y = x_s is where the flow from the noise has come at the time s, so that images
    are neither shrunk nor moved: log p(y) = log p_s(alpha y) + d log alpha. Gradients are recorded inside, also under
    ``torch.inference_mode``, and none are left.

    Args:
        process: a variance-exploding process or a straight path.
        denoise: the denoiser.
        images: y, in units of [-1, 1]; stored images should be dequantised.
        probes: e of Hutchinson's estimator, the same ones all the way.
        first: s, above 0.
        last: the time at which x is taken to be N(0, sigma^2).
        tolerance: of the solver.

    Returns:
        Nats; a density, which can be positive.

    Raises:
        InputError: when a value is not finite, the solver gets nowhere, or the device has no float64.
    """
    check_double(images.device)
    begin, end = point_of(process, first), point_of(process, last)
    with torch.inference_mode(False), torch.no_grad():
        both = with_divergence(velocity_of(process, denoise), probes.clone())

        def slope(state: State, times: Times) -> State:
            return both(state[0], times)

        state = begin.alpha * images, torch.zeros(len(images), dtype=torch.float64, device=images.device)
        [noise, change], _ = integrate(slope, state, first, last, tolerance, tolerance)
        squares = (noise.double() / end.sigma).square().flatten(1)
        dimensions = squares.shape[1]
        normal = -0.5 * squares.sum(1) - dimensions * math.log(end.sigma * math.sqrt(2 * math.pi))
        return normal + dimensions * (change + math.log(begin.alpha))


def bound(
    process: DiscreteDiffusion, denoise: Denoise, images: Images, places: Float[Tensor, "batch num"], draw: Draw
) -> PerImage:
    r"""A lower bound of the log-probability of images of 256 levels, without a bias.

    The sum over the T - 1 times after the first is estimated at ``num`` of them, one in each of as many equal parts;
    with num = T - 1 each time is visited once. Of the step to the image itself the posterior's variance is 0, and
    P(x | x_0) would be a point; as in the published code it has that of the step before.

    Args:
        process: the process.
        denoise: the denoiser.
        images: x, levels in [-1, 1].
        places: where in its part each time lies, uniform on [0, 1).
        draw: where fresh noise comes from, num + 1 times.

    Returns:
        Nats, at most 0 but for the noise.

    Raises:
        InputError: when the device has no float64.
    """
    check_double(images.device)
    steps, num = process.num_times - 1, places.shape[1]
    clean = images.double()

    def denoised(times: Tensor) -> Float64[Tensor, "batch channels height width"]:
        times = times.to(images.dtype)
        return denoise(process.noisy(images, draw(), times), times).double()

    now, after = point_of(process, 1.0), point_of(process, 0.0)
    at_first = denoised(torch.zeros(len(images), device=images.device))
    total = level_log_likelihood(at_first, posterior_sigma(now, after), clean)
    total -= prior_kl(clean, *process.mixture(torch.tensor(steps)))
    for part in range(num):
        times = 1 + ((part + places[:, part].double()) * (steps / num)).floor()
        weight = (process.snr(times - 1) - process.snr(times)) / 2 * (steps / num)
        total -= weight * (clean - denoised(times)).square().flatten(1).sum(1)
    return total


def prior_kl(clean: Float64[Tensor, "batch channels height width"], alpha: Tensor, sigma: Tensor) -> PerImage:
    r"""KL(N(alpha x, sigma^2) || N(0, I)) = 1/2 sum_i alpha^2 x_i^2 + sigma^2 - 1 - log sigma^2.

    Args:
        clean: x.
        alpha: share of the image at the last time.
        sigma: share of the noise.

    Returns:
        Nats, at least 0.
    """
    variance = sigma.square().to(clean)
    return 0.5 * (alpha.to(clean) * clean).square().add(variance - 1 - variance.log()).flatten(1).sum(1)


def level_log_likelihood(
    mean: Float64[Tensor, "batch channels height width"],
    sigma: float,
    levels: Float64[Tensor, "batch channels height width"],
) -> PerImage:
    r"""Log-probability of levels: N(m, sigma^2) over each level's width (Ho et al. 2020, equation 13).

    sum_i log(Phi((x_i + w / 2 - m_i) / sigma) - Phi((x_i - w / 2 - m_i) / sigma)),    w = 2 / 255

    where the lowest and the highest level reach to infinity. It does not underflow far from the mean.

    Args:
        mean: m.
        sigma: standard deviation.
        levels: x, out of the 256 levels in [-1, 1].

    Returns:
        Nats, at most 0.
    """
    above = torch.where(levels > 1 - LEVEL / 2, math.inf, (levels + LEVEL / 2 - mean) / sigma)
    below = torch.where(levels < -1 + LEVEL / 2, -math.inf, (levels - LEVEL / 2 - mean) / sigma)
    # in the upper tail both are almost 1: there the lower tail is looked at, which is its mirror image
    above, below = torch.where(above + below > 0, torch.stack([-below, -above]), torch.stack([above, below]))
    upper, lower = torch.special.log_ndtr(above), torch.special.log_ndtr(below)
    return (upper + torch.log(-torch.expm1(lower - upper))).flatten(1).sum(1)
