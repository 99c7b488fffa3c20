r"""A latent-variable model p(x, z | y) = p(x | z, y) N(z; 0, I) with an amortised posterior q(z | x, y).

Kingma and Welling 2014 (https://arxiv.org/abs/1312.6114); given a class y, Sohn et al. 2015. In nats per image,

    log p(x) >= E_q[log w],    w = p(x, z) / q(z | x)
    q(z | x) = N(m(x), diag s(x)^2),    z = m + s e,    e ~ N(0, I)

All likelihoods are sums over the pixels. A mean over pixels would change the weight of the KL term by the number of
pixels, and the ELBO could not be compared with any paper.
"""

import math
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_gen.distributed import average_over_ranks, rank_and_world_size
from lightning_gen.losses.softplus import softplus
from lightning_gen.noise import randn
from lightning_gen.types import Classes, Images, Labels, LogWeights, RandomSource

Likelihood = Literal["bernoulli", "gaussian"]
PerImage = Float[Tensor, " batch"]
Moments = Float[Tensor, "batch latent"]
Samples = Float[Tensor, "num batch latent"]


class Posterior(NamedTuple):
    """q(z | x) = N(m, diag s^2), float32, by its mean m and log variance log s^2."""

    mean: Moments
    log_var: Moments

    def sample(self, num: int = 1, generator: RandomSource = None) -> Samples:
        """Draw ``num`` reparameterised samples z = m + s e per image."""
        batch, latent = self.mean.shape
        noise = randn(batch, num, latent, generator=generator, device=self.mean.device).transpose(0, 1)
        return self.mean + (0.5 * self.log_var).exp() * noise

    def kl(self) -> Moments:
        r"""KL(q || N(0, I)) of each dimension in nats: 1/2 (m^2 + s^2 - 1 - log s^2), at least 0.

        The divergence of an image is the sum over its dimensions (Kingma and Welling 2014, appendix B).
        """
        return 0.5 * (self.mean.square() + self.log_var.exp() - 1 - self.log_var)

    def log_ratio(self, latents: Samples) -> LogWeights:
        r"""Log N(z; 0, I) - log q(z | x) = 1/2 sum_j (z_j - m_j)^2 / s_j^2 + log s_j^2 - z_j^2, in nats."""
        return 0.5 * ((latents - self.mean).square() * (-self.log_var).exp() + self.log_var - latents.square()).sum(2)

    def detach(self) -> "Posterior":
        """The posterior with constant moments."""
        return Posterior(self.mean.detach(), self.log_var.detach())


class VariationalAutoencoder(nn.Module):
    """Encoder, decoder and likelihood.

    With classes, the encoder receives one plane per class beside the image's channels, and the decoder receives the
    class behind the latents. Classes y are rows of class weights (batch, num_classes).

    Args:
        encoder: images to the moments (batch, 2 latent_dim).
        decoder: latents (batch, latent_dim + num_classes) to logits or means of the pixels; its last layer is
            ``decoder.layers[-1]``.
        likelihood: ``bernoulli`` on pixels in [0, 1], or ``gaussian`` on pixels in [-1, 1].
        sigma: standard deviation of the Gaussian likelihood in units of [-1, 1]; None for one learned value, shared by
            all pixels (Rybkin et al. 2021, https://arxiv.org/abs/2006.13202).
        num_classes: number of classes; 0 for an unconditional model.
    """

    log_sigma: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: Likelihood = "bernoulli",
        sigma: float | None = None,
        num_classes: int = 0,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.likelihood, self.num_classes = likelihood, num_classes
        log_sigma = torch.tensor(math.log(sigma or 1.0))
        if likelihood == "gaussian" and sigma is None:
            self.log_sigma = nn.Parameter(log_sigma)
        else:
            self.register_buffer("log_sigma", log_sigma)

    def classes_of(self, labels: Labels | None) -> Classes | None:
        """One-hot rows of labels, on the weights' device; None for an unconditional model."""
        if labels is None or not self.num_classes:
            return None
        return F.one_hot(labels.to(self.log_sigma.device), self.num_classes).to(torch.get_default_dtype())

    def posterior(self, images: Images, classes: Classes | None = None) -> Posterior:
        """q(z | x, y)."""
        if classes is not None:
            planes = classes.to(images.dtype)[:, :, None, None].expand(-1, -1, *images.shape[2:])
            images = torch.cat([images, planes], 1)
        return Posterior(*self.encoder(images).float().chunk(2, dim=1))

    def decode(self, latents: Moments, classes: Classes | None = None) -> Images:
        """E[x | z, y], in [-1, 1]."""
        output = self.pixel_parameters(latents, classes)
        return output.sigmoid() * 2 - 1 if self.likelihood == "bernoulli" else output.clamp(-1, 1)

    def pixel_parameters(self, latents: Moments, classes: Classes | None = None) -> Images:
        """Logits of the Bernoulli likelihood, or means of the Gaussian one."""
        if classes is not None:
            latents = torch.cat([latents, classes.to(latents.dtype)], 1)
        return self.decoder(latents)

    def log_likelihood(self, images: Images, latents: Samples, classes: Classes | None = None) -> LogWeights:
        """Log p(x | z, y) in nats, for several latents of each image in [-1, 1]."""
        num = len(latents)
        if num > 1:
            images = images.repeat(num, 1, 1, 1)
            classes = classes.repeat(num, 1) if classes is not None else None
        output = self.pixel_parameters(latents.flatten(0, 1), classes).float()
        if self.likelihood == "bernoulli":
            nats = bernoulli_log_likelihood(output, (images + 1) / 2)
        else:
            nats = gaussian_log_likelihood(output, self.log_sigma, images)
        return nats.unflatten(0, (num, -1))

    @torch.no_grad()
    def initialise_output(self, images: Images) -> None:
        """Set the bias of the decoder's last layer to the mean image of a batch, so that latents need not encode it.

        Args:
            images: this rank's images; the mean is over all ranks.
        """
        decoder: Any = self.decoder
        bias: Tensor = decoder.layers[-1].bias
        mean = images.float().mean(0).reshape(len(bias), -1).mean(1)  # of each pixel, or of each channel
        average_over_ranks([mean])
        if self.likelihood == "bernoulli":
            mean = ((mean + 1) / 2).logit(eps=0.5 / (len(images) * rank_and_world_size()[1]))
        bias.copy_(mean)


def bernoulli_log_likelihood(logits: Images, images: Images) -> PerImage:
    r"""Log p(x) = sum_i x_i l_i - softplus(l_i) in nats, for logits l and pixels x in [0, 1].

    For grey values strictly between 0 and 1 this is the customary relaxation, an unnormalised density.
    """
    return (images * logits - softplus(logits)).flatten(1).sum(1)


def gaussian_log_likelihood(mean: Images, log_sigma: Float[Tensor, ""], images: Images) -> PerImage:
    r"""Log p(x) = sum_i log N(x_i; m_i, sigma^2) in nats; a density, which can be positive."""
    squares = ((images - mean) * (-log_sigma).exp()).square().flatten(1)
    return -0.5 * squares.sum(1) - squares.shape[1] * (log_sigma + 0.5 * math.log(2 * math.pi))
