r"""The importance weighted autoencoder (Burda et al. 2016, https://arxiv.org/abs/1509.00519).

    log p(x) >= L_k = E[ log 1/k sum_i w_i ],    w_i = p(x, z_i) / q(z_i | x),    z_1 ... z_k ~ q(z | x)

which rises with k to log p(x). The gradient of its encoder grows noisier with k (Rainforth et al. 2018); the doubly
reparameterised estimator (DReG: Tucker et al. 2019, https://arxiv.org/abs/1810.04152, equation 8) has the same mean,

    grad_phi L_k = E[ sum_i v_i^2 d log w_i / d z_i  d z_i / d phi ],    v_i = w_i / sum_j w_j

with log q taken at fixed moments. For the decoder both are sum_i v_i grad log w_i.
"""

import math
from typing import Any, Literal

from lightning_gen.errors import InputError
from lightning_gen.losses.likelihood import gaussian_log_ratio
from lightning_gen.models.variational import Posterior, VariationalModule
from lightning_gen.types import Batch, ImageShape, Loss

Estimator = Literal["standard", "dreg"]


class IWAE(VariationalModule):
    """A VAE that is trained on the bound of several samples.

    Args:
        image_shape: (channels, height, width).
        num_importance: k, samples of the latents for each image.
        estimator: of the encoder's gradient, ``standard`` or ``dreg``.
        **kwargs: see :class:`VariationalModule` and :class:`GenerativeModule`.
    """

    def __init__(
        self, image_shape: ImageShape, num_importance: int = 5, estimator: Estimator = "standard", **kwargs: Any
    ) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        self.save_hyperparameters()
        if num_importance < 1:
            raise InputError(f"model.num_importance is {num_importance}; it must be at least 1")
        self.num_importance, self.estimator = num_importance, estimator
        self.build()

    def loss(self, batch: Batch) -> Loss:
        """The negative bound; ``bound`` is that of k samples, ``elbo`` that of one, in nats for an image."""
        posterior = self.posterior(self.networks, batch)
        latents = posterior.sample(self.num_importance)
        dreg = self.estimator == "dreg"
        moments = Posterior(*(moment.detach() for moment in posterior)) if dreg else posterior
        log_weights = self.log_likelihood(self.networks, latents, batch) + gaussian_log_ratio(latents, *moments)
        bound = (log_weights.detach().logsumexp(0) - math.log(self.num_importance)).mean()
        # the gradient of the log-mean is the mean of the logs' gradients under the normalised weights
        share = log_weights.detach().softmax(0)
        if dreg and latents.requires_grad:
            latents.register_hook(lambda gradient: share[..., None] * gradient)
        surrogate = (share * log_weights).sum(0).mean()
        terms = {"bound": bound, "elbo": log_weights.detach().mean()}
        return Loss(surrogate.detach() - surrogate - bound, terms)
