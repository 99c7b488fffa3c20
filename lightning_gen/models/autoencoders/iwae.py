r"""The importance weighted autoencoder (Burda et al. 2016, https://arxiv.org/abs/1509.00519).

    log p(x) >= L_k = E[ log 1/k sum_i w_i ],    w_i = p(x, z_i) / q(z_i | x),    z_1 ... z_k ~ q(z | x)

which increases with k to log p(x). The signal-to-noise ratio of its encoder's gradient falls with k (Rainforth et al.
2018); the doubly reparameterised estimator (DReG: Tucker et al. 2019, https://arxiv.org/abs/1810.04152, equation 8) has
the same mean,

    grad_phi L_k = E[ sum_i v_i^2 d log w_i / d z_i  d z_i / d phi ],    v_i = w_i / sum_j w_j

with the moments of log q held constant. For the decoder both estimators are sum_i v_i grad log w_i.
"""

import math
from typing import Any, Literal

from lightning_gen.checks import check_at_least
from lightning_gen.models.autoencoders.variational import VariationalModule
from lightning_gen.types import Batch, ImageShape, Loss

Estimator = Literal["standard", "dreg"]


class IWAE(VariationalModule):
    """A VAE trained on the bound of k samples.

    Args:
        image_shape: (channels, height, width).
        num_importance: k, number of samples of the latents per image.
        estimator: estimator of the encoder's gradient, ``standard`` or ``dreg``.
        **kwargs: see :class:`VariationalModule` and :class:`GenerativeModule`.
    """

    def __init__(
        self, image_shape: ImageShape, num_importance: int = 5, estimator: Estimator = "standard", **kwargs: Any
    ) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        check_at_least(1, num_importance=num_importance)
        self.num_importance, self.estimator = num_importance, estimator
        self.set_network(self.make_network())
        self.save_hyperparameters()

    def loss(self, batch: Batch) -> Loss:
        """The negative bound; ``bound`` is L_k and ``elbo`` is L_1, in nats per image."""
        posterior = self.network.posterior(batch.images)
        latents = posterior.sample(self.num_importance)
        dreg = self.estimator == "dreg"
        log_likelihood = self.network.log_likelihood(batch.images, latents)
        log_weights = log_likelihood + (posterior.detach() if dreg else posterior).log_ratio(latents)
        bound = (log_weights.detach().logsumexp(0) - math.log(self.num_importance)).mean()
        # the gradient of log(mean w) is the mean of the gradients of log w under the normalised weights
        normalised = log_weights.detach().softmax(0)
        if dreg and latents.requires_grad:
            latents.register_hook(lambda gradient: normalised[..., None] * gradient)
        surrogate = (normalised * log_weights).sum(0).mean()
        terms = {"bound": bound, "elbo": log_weights.detach().mean()}
        return Loss(surrogate.detach() - surrogate - bound, terms)
