"""The alternating training step of all models with a generator and a discriminator.

In each training batch the discriminator takes a step; in every ``n_critic``-th batch the generator takes one too:

    fakes = generate(batch)
    discriminator: descend on discriminator_loss(batch, detached fakes)
        + in every penalty_every-th batch: penalty_every * discriminator_penalty(batch, detached fakes)
    generator, in every n_critic-th batch: descend on generator_loss(batch, fakes)
        + in every generator_penalty_every-th of these: generator_penalty_every * generator_penalty(batch)

Goodfellow et al. 2014 (https://arxiv.org/abs/1406.2661), algorithm 1, and Arjovsky et al. 2017
(https://arxiv.org/abs/1701.07875), algorithm 1. The generator's step reuses the fakes of the discriminator's step: the
generator's weights have not changed in between, so the expected gradient is the same and a forward pass is saved. A
penalty computed in every k-th batch with k times the weight has the same mean gradient (lazy regularisation, Karras et
al. 2020, https://arxiv.org/abs/1912.04958, section 3.1).

Gradients are averaged over the ranks here and not by the hooks of DistributedDataParallel, which expect one backward
pass through all parameters per step and fail or deadlock with several optimizers.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, cast

import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.strategies import ParallelStrategy
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils import _pytree as pytree

from lightning_gen.checks import check_above, check_at_least
from lightning_gen.distributed import average_over_ranks, average_running_statistics
from lightning_gen.errors import InputError
from lightning_gen.lightning_compat import exclude_from_global_step
from lightning_gen.models.base import GenerativeModule, Network
from lightning_gen.models.compilation import eagerly
from lightning_gen.types import Batch, Loss


class AdversarialModule(GenerativeModule[Network]):
    """Base class of models whose generators and discriminators are trained by alternating steps.

    The network object is what the EMA averages and samples are drawn from; the discriminators stand beside it. Each
    player has one Adam with the learning rate and the decays that the model sets as attributes.

    Args:
        n_critic: number of discriminator steps per generator step.
        accumulate: number of parts that a batch is split into to accumulate gradients: one step with less memory.
        clip: maximum 2-norm of each player's gradient, after unscaling under mixed precision; None for no clipping.
        penalty_every: number of batches between two penalties of the discriminators, whose weight is multiplied by the
            same number.
        generator_penalty_every: number of generator steps between two penalties of the generators, whose weight is
            multiplied by the same number.
        **kwargs: see :class:`GenerativeModule`.
    """

    generator_lr: float
    """Learning rate of the generators."""
    discriminator_lr: float
    """Learning rate of the discriminators."""
    betas: tuple[float, float]
    """Adam's decays of the first and of the second moment."""

    def __init__(
        self,
        *,
        n_critic: int = 1,
        accumulate: int = 1,
        clip: float | None = None,
        penalty_every: int = 1,
        generator_penalty_every: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_at_least(1, n_critic=n_critic, accumulate=accumulate)
        check_at_least(1, penalty_every=penalty_every, generator_penalty_every=generator_penalty_every)
        check_above(0, clip=clip, note=", or null for no clipping")
        if penalty_every > 1 and type(self).discriminator_penalty is AdversarialModule.discriminator_penalty:
            raise InputError(f"model.penalty_every is {penalty_every}, and {type(self).__name__} has no penalty")
        if generator_penalty_every > 1 and type(self).generator_penalty is AdversarialModule.generator_penalty:
            raise InputError(
                f"model.generator_penalty_every is {generator_penalty_every}, and the generator of "
                f"{type(self).__name__} has no penalty"
            )
        self.n_critic, self.accumulate, self.clip = n_critic, accumulate, clip
        self.penalty_every, self.generator_penalty_every = penalty_every, generator_penalty_every
        self.automatic_optimization = False
        self.last_terms: dict[str, Tensor] = {}

    # ---- defined by a model

    def generators(self) -> Sequence[nn.Module]:
        """Networks trained by the first optimizer of ``configure_optimizers``; the network object by default."""
        return [self.network]

    @abstractmethod
    def discriminators(self) -> Sequence[nn.Module]:
        """Networks trained by the second optimizer of ``configure_optimizers``."""

    @abstractmethod
    def generate(self, batch: Batch) -> Any:
        """Generate the fakes of a batch: a tensor, or a tuple or dictionary of tensors, passed to both losses."""

    @abstractmethod
    def discriminator_loss(self, batch: Batch, fakes: Any) -> Loss:
        """The discriminators' loss, given a batch of real images and the detached fakes."""

    @abstractmethod
    def generator_loss(self, batch: Batch, fakes: Any) -> Loss:
        """The generators' loss, given a batch of real images and the fakes with their graph."""

    def discriminator_penalty(self, batch: Batch, fakes: Any) -> Loss | None:
        """A penalty on the discriminators, computed in every ``penalty_every``-th batch; None by default.

        It is called with autocast disabled, because the norm of a gradient needs float32, and with detached fakes in
        the dtype of the real images.
        """
        return None

    def generator_penalty(self, batch: Batch) -> Loss | None:
        """A penalty on the generators, computed in every ``generator_penalty_every``-th step; None by default.

        It is called with autocast disabled, after the generators' loss, in batches in which the generators are trained.
        """
        return None

    def constrain_discriminators(self) -> None:
        """Project the discriminators' weights after each of their steps; does nothing by default."""

    def update_state(self, batch: Batch, terms: dict[str, Tensor]) -> None:
        """Update state that has no gradient after a training batch was counted; does nothing by default.

        Args:
            batch: this rank's batch.
            terms: the terms of both losses, means over the batch, which are logged; terms may be added.
        """

    def training_networks(self) -> Sequence[nn.Module]:
        """The networks of both players."""
        return [*self.generators(), *self.discriminators()]

    # ---- the optimizers and the step

    def configure_optimizers(self) -> Any:
        """One Adam for the generators and one for the discriminators, in this order."""
        return self.with_lr_schedule(
            *(
                self.adam([parameter for network in networks for parameter in network.parameters()], lr, self.betas)
                for networks, lr in (
                    (self.generators(), self.generator_lr),
                    (self.discriminators(), self.discriminator_lr),
                )
            )
        )

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Step the discriminators and, in every ``n_critic``-th batch, the generators."""
        self.begin_batch()
        generator_optimizer, discriminator_optimizer = cast(list[LightningOptimizer], self.optimizers())
        exclude_from_global_step(generator_optimizer)  # global_step counts the discriminator's steps: one per batch

        parts = split(batch, self.accumulate)
        train_generator = (self.batches_seen + 1) % self.n_critic == 0
        penalise = self.batches_seen % self.penalty_every == 0
        penalise_generator = self.batches_seen // self.n_critic % self.generator_penalty_every == 0
        reuse = train_generator and len(parts) == 1
        terms: dict[str, Tensor] = {}
        fakes: Any = None

        with self.optimizer_step_on(discriminator_optimizer, self.discriminators()):
            for part in parts:
                with torch.set_grad_enabled(reuse):
                    fakes = self.generate(part)
                detached = pytree.tree_map(torch.detach, fakes)
                self.add_gradient(self.discriminator_loss(part, detached), len(parts), terms)
                if penalise and (penalty := self.weighted_penalty(part, detached)) is not None:
                    self.add_gradient(penalty, len(parts), terms)
        self.constrain_discriminators()
        if train_generator:
            with frozen(self.discriminators()), self.optimizer_step_on(generator_optimizer, self.generators()):
                for part in parts:
                    loss = self.generator_loss(part, fakes if reuse else self.generate(part))
                    self.add_gradient(loss, len(parts), terms)
                    if penalise_generator and (penalty := self.weighted_generator_penalty(part)) is not None:
                        self.add_gradient(penalty, len(parts), terms)

        average_running_statistics(*self.generators(), *self.discriminators())
        self.count(batch)
        self.update_state(batch, terms)
        if train_generator:
            self.update_ema()
        for scheduler in self.schedulers():
            scheduler.step()
        self.last_terms.update(terms)
        self.log_step(self.last_terms, batch)

    def weighted_penalty(self, batch: Batch, fakes: Any) -> Loss | None:
        """The penalty of a batch in full precision, multiplied by ``penalty_every``; its terms are not multiplied."""

        def full_precision(value: Tensor) -> Tensor:
            return value.to(batch.images.dtype) if value.is_floating_point() else value

        with torch.autocast(self.device.type, enabled=False), eagerly(self.compile_training):
            penalty = self.discriminator_penalty(batch, pytree.tree_map(full_precision, fakes))
        return penalty and Loss(penalty.total * self.penalty_every, penalty.terms)

    def weighted_generator_penalty(self, batch: Batch) -> Loss | None:
        """As :meth:`weighted_penalty`, of the generators."""
        with torch.autocast(self.device.type, enabled=False), eagerly(self.compile_training):
            penalty = self.generator_penalty(batch)
        return penalty and Loss(penalty.total * self.generator_penalty_every, penalty.terms)

    @contextmanager
    def optimizer_step_on(self, optimizer: LightningOptimizer, networks: Sequence[nn.Module]) -> Iterator[None]:
        """Zero the gradients, run the block, average the gradients over the ranks and step the optimizer.

        Args:
            optimizer: the optimizer.
            networks: the networks that it trains.

        Yields:
            Nothing.
        """
        strategy = self.trainer.strategy
        optimizer.zero_grad()
        with strategy.block_backward_sync() if isinstance(strategy, ParallelStrategy) else nullcontext():
            yield
        parameters = [parameter for network in networks for parameter in network.parameters()]
        average_over_ranks([parameter.grad for parameter in parameters if parameter.grad is not None])
        optimizer.step()

    def add_gradient(self, loss: Loss, parts: int, terms: dict[str, Tensor]) -> None:
        """Accumulate the gradient and the terms of one of the batch's ``parts``; ``terms`` is changed in place."""
        self.manual_backward(loss.total / parts)
        for name, value in loss.terms.items():
            terms[name] = terms.get(name, torch.zeros_like(value)) + value.detach() / parts

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip the gradient. Lightning calls this after unscaling the gradients of fp16."""
        if self.clip is not None:
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.clip)

    def on_train_start(self) -> None:
        """Move the terms of a resumed run to the device."""
        super().on_train_start()
        self.last_terms = {name: value.to(self.device) for name, value in self.last_terms.items()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the newest terms, which a batch without a step of the generators or a penalty logs again."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["last_terms"] = {name: float(value) for name, value in self.last_terms.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the newest terms."""
        super().on_load_checkpoint(checkpoint)
        self.last_terms = {name: torch.tensor(value) for name, value in checkpoint.get("last_terms", {}).items()}

    def schedulers(self) -> list[Any]:
        """The learning-rate schedulers; Lightning steps none under manual optimisation."""
        schedulers = self.lr_schedulers()
        return schedulers if isinstance(schedulers, list) else [] if schedulers is None else [schedulers]


def split(batch: Batch, parts: int) -> list[Batch]:
    """Split a batch into equal parts.

    Args:
        batch: the batch.
        parts: number of parts.

    Returns:
        The parts.

    Raises:
        InputError: if ``parts`` does not divide the batch.
    """
    if parts == 1:
        return [batch]
    num = len(batch.images)
    if num % parts:
        raise InputError(f"model.accumulate is {parts} and does not divide the batch of {num} images")
    labels, inputs = ([None] * parts if value is None else value.chunk(parts) for value in (batch.labels, batch.inputs))
    chunks = zip(batch.images.chunk(parts), labels, inputs, strict=True)
    return [Batch(images, part_labels, inputs=part_inputs) for images, part_labels, part_inputs in chunks]


@contextmanager
def frozen(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Disable gradients of the networks' parameters; gradients still flow through the networks.

    Args:
        networks: the networks.

    Yields:
        Nothing.
    """
    parameters = [p for network in networks for p in network.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
