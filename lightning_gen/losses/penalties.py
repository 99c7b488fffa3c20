"""Penalties on the gradient of a discriminator with respect to its input images.

The norm of a gradient is taken over all dimensions of the input of one logit (an image, or a pack of images). The
penalties are differentiable with respect to the discriminator's weights.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_gen.losses.adversarial import Logits, Scalar
from lightning_gen.types import Images

LogitFunction = Callable[[Images], Logits]
"""Maps images to logits, one per image or one per pack of consecutive images."""


def image_gradients(discriminator: LogitFunction, images: Images) -> Float[Tensor, "packs dims"]:
    """The gradient of each logit with respect to its images, flattened and differentiable in the weights."""
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        logits = discriminator(images)
        (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.reshape(len(logits), -1)


def gradient_penalty(discriminator: LogitFunction, real: Images, fake: Images, packing: int = 1) -> Scalar:
    """E[(|grad l(x)|_2 - 1)^2] at x = e real + (1 - e) fake with e uniform in [0, 1].

    Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028, equation 3.

    Args:
        discriminator: a function without BatchNorm, which would make a logit depend on the other images.
        real: real images.
        fake: generated images, as many as real ones.
        packing: number of images per pack; the images of a pack share e.

    Returns:
        The penalty, which is (|w| - 1)^2 for a linear discriminator with weights w.
    """
    weights = torch.rand(len(real) // packing, 1, 1, 1, device=real.device, dtype=real.dtype)
    interpolated = torch.lerp(fake, real, weights.repeat_interleave(packing, 0))
    norms = torch.linalg.vector_norm(image_gradients(discriminator, interpolated), dim=1)
    return (norms - 1).square().mean()


def r1_penalty(discriminator: LogitFunction, real: Images) -> Scalar:
    """E[|grad l(x)|_2^2] at real images x (R1 of Mescheder et al. 2018, https://arxiv.org/abs/1801.04406).

    The factor gamma / 2 is not included. For a linear discriminator with weights w it is |w|^2.
    """
    return image_gradients(discriminator, real).square().sum(1).mean()
