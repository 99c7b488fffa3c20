"""The alternating step of two-player models, once: a model supplies its players, fakes, losses and optimizers.

In each training batch the discriminator steps; in every ``n_critic``-th batch the generator steps too:

    fakes = generate(batch)
    descend on discriminator_loss(batch, fakes without their graph)
        + every penalty_every-th batch: penalty_every * discriminator_penalty(batch, fakes without their graph)
    every n_critic-th batch: descend on generator_loss(batch, fakes)

Goodfellow et al. 2014 (https://arxiv.org/abs/1406.2661), algorithm 1, and Arjovsky et al. 2017
(https://arxiv.org/abs/1701.07875), algorithm 1. The generator's step reuses the batch's fakes: its weights have not
changed since, so drawing others would cost a forward pass and give the same in expectation. A penalty that is computed
seldom and weighted up by the same factor has the same mean gradient (lazy regularisation, Karras et al. 2020,
https://arxiv.org/abs/1912.04958, section 3.1).

Gradients are averaged over the ranks here and not by DistributedDataParallel's hooks, which expect one backward pass
through all parameters in each step and so fail, or wait for ever, with several players.
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

from lightning_gen.distributed import average_over_ranks, running_statistics
from lightning_gen.errors import InputError
from lightning_gen.lightning_compat import exclude_from_global_step
from lightning_gen.models.base import GenerativeModule
from lightning_gen.types import Batch, Loss


class AdversarialModule(GenerativeModule):
    """Base of all models whose generator and discriminator step in turn.

    Args:
        n_critic: batches in which the discriminator steps for one in which the generator does.
        accumulate: parts that a batch is cut into, whose gradients are accumulated: one step with less memory.
        clip: largest 2-norm of each player's gradient, after unscaling under mixed precision; none when None.
        penalty_every: batches between two of the model's penalties, whose weight grows by the same factor.
        **kwargs: see :class:`GenerativeModule`.
    """

    def __init__(
        self,
        *,
        n_critic: int = 1,
        accumulate: int = 1,
        clip: float | None = None,
        penalty_every: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if n_critic < 1:
            raise InputError(f"model.n_critic is {n_critic}; it must be at least 1")
        if accumulate < 1:
            raise InputError(f"model.accumulate is {accumulate}; it must be at least 1")
        if clip is not None and clip <= 0:
            raise InputError(f"model.clip is {clip}; it must be above 0, or null for no clipping")
        if penalty_every < 1:
            raise InputError(f"model.penalty_every is {penalty_every}; it must be at least 1")
        if penalty_every > 1 and type(self).discriminator_penalty is AdversarialModule.discriminator_penalty:
            raise InputError(f"model.penalty_every is {penalty_every}, and {type(self).__name__} has no penalty")
        self.n_critic, self.accumulate, self.clip, self.penalty_every = n_critic, accumulate, clip, penalty_every
        self.automatic_optimization = False
        self.last_terms: dict[str, Tensor] = {}

    # ---- what a model supplies

    @abstractmethod
    def generators(self) -> Sequence[nn.Module]:
        """The networks that the first optimizer of :meth:`configure_optimizers` trains."""

    @abstractmethod
    def discriminators(self) -> Sequence[nn.Module]:
        """The networks that the second optimizer of :meth:`configure_optimizers` trains."""

    @abstractmethod
    def generate(self, batch: Batch) -> Any:
        """Generate the fakes of a batch.

        Args:
            batch: the batch.

        Returns:
            Tensors, or a tuple or dictionary of them, passed on to both losses.
        """

    @abstractmethod
    def discriminator_loss(self, batch: Batch, fakes: Any) -> Loss:
        """The discriminators' loss.

        Args:
            batch: real images.
            fakes: what :meth:`generate` gave, without its graph.

        Returns:
            The loss and its terms.
        """

    @abstractmethod
    def generator_loss(self, batch: Batch, fakes: Any) -> Loss:
        """The generators' loss.

        Args:
            batch: real images.
            fakes: what :meth:`generate` gave.

        Returns:
            The loss and its terms.
        """

    def discriminator_penalty(self, batch: Batch, fakes: Any) -> Loss | None:
        """A penalty on the discriminators, computed in every ``penalty_every``-th batch; none by default.

        It is called with automatic mixed precision switched off: a gradient's norm needs float32.

        Args:
            batch: real images.
            fakes: what :meth:`generate` gave, without its graph and in the type of the real images.

        Returns:
            The penalty and its terms.
        """
        return None

    def constrain(self) -> None:
        """Called after each step of the discriminators: where their weights are held in bounds; nothing by default."""

    # ---- the step

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Step the discriminators and, every ``n_critic``-th batch, the generators.

        Args:
            batch: the batch.
            batch_idx: its number in the epoch.
        """
        self.begin_batch()
        generator_optimizer, discriminator_optimizer = cast(list[LightningOptimizer], self.optimizers())
        exclude_from_global_step(generator_optimizer)  # the discriminator steps once in each batch, and is counted

        parts = split(batch, self.accumulate)
        generator_turn = (self.batches_seen + 1) % self.n_critic == 0
        penalty_turn = self.batches_seen % self.penalty_every == 0
        reuse = generator_turn and len(parts) == 1
        terms: dict[str, Tensor] = {}
        fakes: Any = None

        with self.descending(discriminator_optimizer, self.discriminators()):
            for part in parts:
                with torch.set_grad_enabled(reuse):
                    fakes = self.generate(part)
                detached = pytree.tree_map(torch.detach, fakes)
                self.add_gradient(self.discriminator_loss(part, detached), len(parts), terms)
                if penalty_turn and (penalty := self.penalise(part, detached)) is not None:
                    self.add_gradient(penalty, len(parts), terms)
        self.constrain()
        if generator_turn:
            with frozen(self.discriminators()), self.descending(generator_optimizer, self.generators()):
                for part in parts:
                    loss = self.generator_loss(part, fakes if reuse else self.generate(part))
                    self.add_gradient(loss, len(parts), terms)

        average_over_ranks(running_statistics(*self.generators(), *self.discriminators()))
        self.count(batch)
        if generator_turn:
            self.update_average()
        for scheduler in self.schedulers():
            scheduler.step()
        self.last_terms.update(terms)
        self.log_step(self.last_terms, batch)

    def penalise(self, batch: Batch, fakes: Any) -> Loss | None:
        """The penalty of a batch in full precision, weighted for the batches that go without.

        Args:
            batch: real images.
            fakes: the fakes, without their graph.

        Returns:
            The penalty, if the model has one; its terms are not weighted.
        """

        def full(value: Tensor) -> Tensor:
            return value.to(batch.images.dtype) if value.is_floating_point() else value

        with torch.autocast(self.device.type, enabled=False):
            penalty = self.discriminator_penalty(batch, pytree.tree_map(full, fakes))
        return penalty and Loss(penalty.total * self.penalty_every, penalty.terms)

    @contextmanager
    def descending(self, optimizer: LightningOptimizer, players: Sequence[nn.Module]) -> Iterator[None]:
        """Step an optimizer on the gradients that the block accumulates, averaged over the ranks.

        Args:
            optimizer: the players' optimizer.
            players: the networks that it trains.

        Yields:
            Nothing.
        """
        strategy = self.trainer.strategy
        optimizer.zero_grad()
        with strategy.block_backward_sync() if isinstance(strategy, ParallelStrategy) else nullcontext():
            yield
        parameters = [parameter for player in players for parameter in player.parameters()]
        average_over_ranks([parameter.grad for parameter in parameters if parameter.grad is not None])
        optimizer.step()

    def add_gradient(self, loss: Loss, parts: int, terms: dict[str, Tensor]) -> None:
        """Add the gradient of a part's loss, and its terms to those of the batch.

        Args:
            loss: a part's loss.
            parts: the number of parts in the batch.
            terms: the batch's terms, which grow.
        """
        self.manual_backward(loss.total / parts)
        for name, value in loss.terms.items():
            terms[name] = terms.get(name, torch.zeros_like(value)) + value.detach() / parts

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip a player's gradient. Lightning calls this after it has undone the scaling of fp16.

        Args:
            optimizer: the player's optimizer.
        """
        if self.clip is not None:
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.clip)

    def schedulers(self) -> list[Any]:
        """The learning-rate schedulers, stepped in each batch: Lightning steps none under manual optimisation."""
        schedulers = self.lr_schedulers()
        return schedulers if isinstance(schedulers, list) else [] if schedulers is None else [schedulers]


def split(batch: Batch, parts: int) -> list[Batch]:
    """Cut a batch into equal parts.

    Args:
        batch: the batch.
        parts: how many.

    Returns:
        The parts.

    Raises:
        InputError: when the batch cannot be cut into so many equal parts.
    """
    if parts == 1:
        return [batch]
    num = len(batch.images)
    if num % parts:
        raise InputError(f"model.accumulate is {parts} and does not divide the batch of {num} images")
    labels = batch.labels.chunk(parts) if batch.labels is not None else [None] * parts
    return [Batch(*part) for part in zip(batch.images.chunk(parts), labels, strict=True)]


@contextmanager
def frozen(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Let gradients pass through networks and not into them.

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
