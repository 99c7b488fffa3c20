r"""Inversion of a deterministic sampler: the noise from which it generates a given image.

Along the probability flow, x = alpha x_0 + sigma e changes by dx = x_0 dalpha + e dsigma, with x_0 the denoised image
and e the implied noise (Song et al. 2021, https://arxiv.org/abs/2011.13456, section 4.3; Song et al. 2021b,
https://arxiv.org/abs/2010.02502, section 4.3). From a time t to a noisier time s, with the trapezoidal rule,

    x_s = x_t + (alpha_s - alpha_t) (x_0 + x_0') / 2 + (sigma_s - sigma_t) (e + e') / 2

where x_0' and e' are those at alpha_s x_0 + sigma_s e, DDIM's estimate of x_s. For straight paths and
variance-exploding processes this is Heun's method, and every term stays bounded where sigma / alpha is not.
"""

from collections.abc import Sequence
from itertools import pairwise

from lightning_gen.diffusion.adaptive import solve
from lightning_gen.diffusion.processes import Denoise, Process
from lightning_gen.diffusion.samplers import Timestep, implied_noise, make_timestep
from lightning_gen.types import Images


def invert(
    process: Process, denoise: Denoise, images: Images, times: Sequence[float], fixed_timesteps: bool = True
) -> Images:
    """Follow the probability flow from images to noise.

    The slope is not defined at sigma = 0. The flow starts at a low noise level with x = alpha x_0, since the mean of
    the unknown noise is 0; the error is of order sigma^2.

    Args:
        process: the noise process.
        denoise: the denoiser.
        images: x_0.
        times: increasing times, the first with little noise, but not zero.
        fixed_timesteps: True to visit these times; False to let the adaptive solver choose the times between the first
            and the last (for processes with scale 1).

    Returns:
        The noise, which is standard normal if the images are distributed like the flow's samples.
    """
    steps = [make_timestep(process, time) for time in times]
    noisy = steps[0].alpha * images
    if not fixed_timesteps:
        return solve(process, denoise, noisy, times[0], times[-1])[0] / steps[-1].sigma

    def clean_and_noise(noisy: Images, at: Timestep) -> tuple[Images, Images]:
        clean = denoise(noisy, noisy.new_full((len(noisy),), at.time))
        return clean, implied_noise(noisy, clean, at)

    for now, after in pairwise(steps):
        clean, noise = clean_and_noise(noisy, now)
        next_clean, next_noise = clean_and_noise(after.alpha * clean + after.sigma * noise, after)
        change = (after.alpha - now.alpha) * (clean + next_clean) + (after.sigma - now.sigma) * (noise + next_noise)
        noisy = noisy + change / 2
    return noisy / steps[-1].sigma
