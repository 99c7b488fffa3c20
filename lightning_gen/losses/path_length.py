r"""Path length regularisation of StyleGAN2 (Karras et al. 2020, https://arxiv.org/abs/1912.04958, section 3.2).

    E_w E_y (|J_w^T y|_2 - a)^2,    J_w = dG(w) / dw,    y ~ N(0, I)

with a moving average a of the lengths. A generator with a constant length maps steps of w to
image steps of about the same length everywhere. Here y is divided by the square root of the number of pixels, and with
one w per layer the squared norm is averaged over the layers.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_gen.types import Images, Styles


def path_lengths(images: Images, styles: Styles) -> Float[Tensor, " batch"]:
    r"""The length |J^T y| of each image, for one normal y per image; differentiable in the generator's weights.

    For an image A w of a linear generator with k orthonormal columns scaled by s, one layer and N pixels, its mean is
    :math:`s \sqrt{2 / N}\, \Gamma((k + 1) / 2) / \Gamma(k / 2)`.

    Args:
        images: generated images.
        styles: the styles that they were generated from, which require gradients.

    Returns:
        Lengths.
    """
    noise = torch.randn_like(images) / math.sqrt(images.shape[2] * images.shape[3])
    (gradients,) = torch.autograd.grad((images * noise).sum(), styles, create_graph=True)
    return gradients.square().sum(2).mean(1).sqrt()
