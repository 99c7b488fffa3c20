"""The unrolled GAN (Metz et al. 2017, https://arxiv.org/abs/1611.02163)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import Optimizer

from lightning_gen.checks import check_at_least
from lightning_gen.losses.adversarial import NON_SATURATING, Logits
from lightning_gen.models.gans.latent_gan import LatentGAN
from lightning_gen.types import Batch, Images, ImageShape, Loss

Weights = dict[str, Tensor]


class UnrolledGAN(LatentGAN):
    """The generator's loss is computed against the discriminator after ``unrolled_steps`` further steps.

    L_G(g) = L_G(g, d_k) with d_0 = d and d_{i+1} = d_i - Adam(grad_d L_D(g, d_i)), the gradient passing through all k
    steps: the generator takes the discriminator's response into account, which counters mode collapse. The steps are
        those
    of the discriminator's own Adam with its current moments; the weights and statistics of the discriminator do not
    change.

    Args:
        image_shape: (channels, height, width).
        unrolled_steps: k; 0 is the ordinary GAN.
        **kwargs: see :class:`LatentGAN`, :class:`AdversarialModule` and :class:`GenerativeModule`.
    """

    def __init__(self, image_shape: ImageShape, unrolled_steps: int = 5, **kwargs: Any) -> None:
        super().__init__(objective=NON_SATURATING, image_shape=image_shape, **kwargs)
        check_at_least(0, unrolled_steps=unrolled_steps)
        self.unrolled_steps = unrolled_steps
        self.discriminator_optimizer: Optimizer | None = None
        self.set_network(self.make_generator())
        self.discriminator = self.make_discriminator()
        self.save_hyperparameters()

    def configure_optimizers(self) -> Any:
        """One Adam per player; the unrolled steps start from the discriminator's moments."""
        configured = super().configure_optimizers()
        optimizers = configured[0] if isinstance(configured, tuple) else configured
        self.discriminator_optimizer = optimizers[1]
        return configured

    def training_networks(self) -> Sequence[nn.Module]:
        """The generator: unrolled steps differentiate the discriminator's gradient, which cannot be compiled."""
        return self.generators()

    def generator_loss(self, batch: Batch, fakes: Images) -> Loss:
        """The generator's loss against the unrolled discriminator."""
        weights = {name: p.detach().requires_grad_() for name, p in self.discriminator.named_parameters()}
        buffers = {name: buffer.clone() for name, buffer in self.discriminator.named_buffers()}

        def logits(images: Images) -> Logits:
            inputs = self.discriminator_input(images, batch.labels)
            return functional_call(self.discriminator, (weights, buffers), (inputs,))[:, 0]

        adam = DifferentiableAdam(self.discriminator, self.discriminator_optimizer, self.discriminator_lr, self.betas)
        for _ in range(self.unrolled_steps):
            loss = self.objective.discriminator_loss(logits(batch.images), logits(fakes))
            gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
            weights = adam.step(weights, dict(zip(weights, gradients, strict=True)))
        total = self.objective.generator_loss(logits(fakes))
        return Loss(total, {"generator": total})


class DifferentiableAdam:
    """Adam with differentiable steps (Kingma and Ba 2015, https://arxiv.org/abs/1412.6980, algorithm 1).

    Args:
        network: the network whose weights are updated.
        optimizer: an Adam of that network, whose moments are the initial ones; it is not changed. None for zero
            moments.
        lr: learning rate if ``optimizer`` is None.
        betas: decays of the moments.
    """

    eps = 1e-8

    def __init__(self, network: nn.Module, optimizer: Optimizer | None, lr: float, betas: tuple[float, float]) -> None:
        self.lr = optimizer.param_groups[0]["lr"] if optimizer is not None else lr
        self.betas = betas
        self.steps = 0.0
        self.means: Weights = {}
        self.squares: Weights = {}
        for name, parameter in network.named_parameters():
            state = optimizer.state.get(parameter, {}) if optimizer is not None else {}
            self.means[name] = state.get("exp_avg", torch.zeros_like(parameter))
            self.squares[name] = state.get("exp_avg_sq", torch.zeros_like(parameter))
            self.steps = float(state.get("step", 0.0))

    def step(self, weights: Weights, gradients: Weights) -> Weights:
        """Return the weights after one step, differentiable in the old weights and the gradients (dicts by name)."""
        self.steps += 1
        beta1, beta2 = self.betas
        stepped = {}
        for name, gradient in gradients.items():
            self.means[name] = beta1 * self.means[name] + (1 - beta1) * gradient
            self.squares[name] = beta2 * self.squares[name] + (1 - beta2) * gradient.square()
            mean = self.means[name] / (1 - beta1**self.steps)
            square = self.squares[name] / (1 - beta2**self.steps)
            # eps^2 inside the square root: the derivative of the square root at 0 is infinite
            stepped[name] = weights[name] - self.lr * mean / ((square + self.eps**2).sqrt() + self.eps)
        return stepped
