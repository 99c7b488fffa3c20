"""Penalties on the gradient of a discriminator with respect to the images that it judges.

A gradient is taken over all dimensions of what one logit judges (an image, or a pack of them), never along one axis.
The penalties are differentiable with respect to the discriminator's weights.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_gen.losses.adversarial import Logits, Scalar
from lightning_gen.types import Images

Critic = Callable[[Images], Logits]


def image_gradients(critic: Critic, images: Images) -> Float[Tensor, "judged dims"]:
    """The gradient of each logit with respect to the images behind it.

    Args:
        critic: images to logits, one logit for each image or for each run of images that are judged together.
        images: where the gradient is taken.

    Returns:
        One flat gradient a logit, with a graph to the critic's weights.
    """
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        logits = critic(images)
        (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.reshape(len(logits), -1)


def gradient_penalty(critic: Critic, real: Images, fake: Images, packing: int = 1) -> Scalar:
    """E[(|grad critic(x)|_2 - 1)^2] at x = e real + (1 - e) fake with e uniform in [0, 1].

    Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028, equation 3.

    Args:
        critic: images to logits, without BatchNorm (which would make a logit depend on the other images).
        real: real images.
        fake: as many generated images.
        packing: images that are judged together, which share their e.

    Returns:
        The penalty, at least 0; (|w| - 1)^2 for a linear critic with weights w.
    """
    share = torch.rand(len(real) // packing, 1, 1, 1, device=real.device, dtype=real.dtype)
    between = torch.lerp(fake, real, share.repeat_interleave(packing, 0))
    norms = torch.linalg.vector_norm(image_gradients(critic, between), dim=1)
    return (norms - 1).square().mean()


def r1(critic: Critic, real: Images) -> Scalar:
    """E[|grad critic(x)|_2^2] at real images (R1 of Mescheder et al. 2018, https://arxiv.org/abs/1801.04406).

    Args:
        critic: images to logits.
        real: real images.

    Returns:
        The penalty without its factor gamma / 2, at least 0; |w|^2 for a linear critic with weights w.
    """
    return image_gradients(critic, real).square().sum(1).mean()
