r"""The probability flow run backwards: the noise that a deterministic sampler makes a given image of.

Along the flow x = alpha x_0 + sigma e moves by dx = x_0 dalpha + e dsigma, x_0 the denoiser's mean and e the noise that
it implies (Song et al. 2021, https://arxiv.org/abs/2011.13456, section 4.3; Song et al. 2021b,
https://arxiv.org/abs/2010.02502, section 4.3). From a time t to a noisier s, with the trapezoidal rule,

    x_s = x_t + (alpha_s - alpha_t) (x_0 + x_0') / 2 + (sigma_s - sigma_t) (e + e') / 2

where x_0' and e' are those at alpha_s x_0 + sigma_s e, which DDIM would take for x_s. For straight paths and for
variance-exploding processes this is Heun's method, and no term grows where sigma / alpha has no bound.
"""

from collections.abc import Sequence
from itertools import pairwise

from lightning_gen.diffusion.adaptive import solve
from lightning_gen.diffusion.processes import Denoise, Process
from lightning_gen.diffusion.samplers import Point, implied_noise, point_of
from lightning_gen.types import Images


def invert(process: Process, denoise: Denoise, images: Images, times: Sequence[float], paced: bool = True) -> Images:
    """Follow the flow from images to noise.

    Where there is no noise, the flow has no slope. It is entered at a time of little noise, where x = alpha x_0: the
    noise of an image is not known, and its mean is 0. That is an error of the order of sigma^2.

    Args:
        process: the noise process.
        denoise: the denoiser.
        images: x_0.
        times: rising, the first of little noise, though not of none.
        paced: whether to visit these times and no others; or else the first and the last, and between them those that
            the adaptive solver chooses, of a process whose coordinates are the image's own.

    Returns:
        The noise that would be standard normal, were the images drawn by the flow.
    """
    points = [point_of(process, time) for time in times]
    noisy = points[0].alpha * images
    if not paced:
        return solve(process, denoise, noisy, times[0], times[-1])[0] / points[-1].sigma

    def parts(noisy: Images, point: Point) -> tuple[Images, Images]:
        clean = denoise(noisy, noisy.new_full((len(noisy),), point.time))
        return clean, implied_noise(noisy, clean, point)

    for now, after in pairwise(points):
        clean, noise = parts(noisy, now)
        clean_then, noise_then = parts(after.alpha * clean + after.sigma * noise, after)
        moved = (after.alpha - now.alpha) * (clean + clean_then) + (after.sigma - now.sigma) * (noise + noise_then)
        noisy = noisy + moved / 2
    return noisy / points[-1].sigma
