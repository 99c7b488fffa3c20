"""What every model shares: progress in images, noise that resumes, named terms in the log, EMA, safe checkpoints."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lightning_gen.distributed import average_over_ranks, running_statistics
from lightning_gen.errors import InputError
from lightning_gen.models.ema import ImageEMA
from lightning_gen.noise import mix_seed, seed_global
from lightning_gen.types import Batch, ImageShape, Loss

Schedule = Literal["constant", "linear"]
PROGRESS = ("images_seen", "batches_seen", "ema_images_seen", "noise_seed")


class GenerativeModule(LightningModule, ABC):
    """Base of all models: progress is counted in images, and losses are logged by name.

    A subclass names its :meth:`producer`, saves its hyper-parameters and calls :meth:`follow` once it is
    built. Noise in training is a function of (seed, rank, batch), so ranks differ and a resumed run goes on exactly.

    Args:
        image_shape: (channels, height, width); the command line takes it from the data.
        ema_half_life: half-life in images of the moving average of the weights, which is then sampled from; none
            when None.
        lr_schedule: learning rate over the run, ``constant`` or ``linear`` to zero.
        warmup_images: images over which the learning rate first rises from 0; none when 0.
    """

    num_classes: int = 0
    """Classes that samples can be asked for; a conditional model takes them as a hyper-parameter, from the data."""

    def __init__(
        self,
        image_shape: ImageShape,
        ema_half_life: float | None = None,
        lr_schedule: Schedule = "constant",
        warmup_images: int = 0,
    ) -> None:
        super().__init__()
        if ema_half_life is not None and ema_half_life <= 0:
            raise InputError(f"model.ema_half_life is {ema_half_life} images; it must be above 0, or null for no EMA")
        if warmup_images < 0:
            raise InputError(f"model.warmup_images is {warmup_images}; it must not be negative")
        self.image_shape: ImageShape = (image_shape[0], image_shape[1], image_shape[2])
        self.ema_half_life = ema_half_life
        self.lr_schedule = lr_schedule
        self.warmup_images = warmup_images
        self.ema: ImageEMA | None = None
        self.use_ema = True
        self.images_seen = 0
        self.batches_seen = 0
        self.ema_images_seen = 0
        self.noise_seed: int | None = None

    # ---- what a model supplies

    @abstractmethod
    def producer(self) -> nn.Module:
        """The network that makes images, as it is being trained; the moving average follows it."""

    # ---- optimisation

    def scheduled(self, *optimizers: Optimizer) -> Any:
        """Put optimizers on the model's learning-rate schedule, which counts training batches.

        Args:
            *optimizers: the optimizers.

        Returns:
            What ``configure_optimizers`` returns.

        Raises:
            InputError: when the schedule needs to know when the run ends and it does not.
        """
        total: float = math.inf
        if self.lr_schedule == "linear":
            total = self.trainer.estimated_stepping_batches
            if not 0 < total < math.inf:
                raise InputError(
                    "model.lr_schedule is linear and the run has no known end; set trainer.max_epochs or max_steps"
                )
        elif not self.warmup_images:
            return list(optimizers)

        def factor(step: int) -> float:
            warm = min(1.0, self.images_seen / self.warmup_images) if self.warmup_images else 1.0
            return warm * max(0.0, 1.0 - step / total)

        return list(optimizers), [
            {"scheduler": LambdaLR(optimizer, factor), "interval": "step"} for optimizer in optimizers
        ]

    def on_train_start(self) -> None:
        """Refuse what torch would refuse in the middle of the first step.

        Raises:
            InputError: when BatchNorm is to be synchronised between processes on the CPU.
        """
        if self.device.type == "cpu" and any(isinstance(module, nn.SyncBatchNorm) for module in self.modules()):
            raise InputError("trainer.sync_batchnorm needs an accelerator: torch synchronises no BatchNorm on the CPU")

    # ---- progress, noise, log

    def begin_batch(self) -> None:
        """Seed torch's global generators from (run's seed, rank, number of the batch)."""
        if self.noise_seed is None:
            self.noise_seed = torch.initial_seed() % 2**63
        seed_global(mix_seed(self.noise_seed, self.global_rank, self.batches_seen), self.device)

    def count(self, batch: Batch) -> None:
        """Count a batch, on all ranks together.

        Args:
            batch: this rank's batch.
        """
        self.batches_seen += 1
        self.images_seen += len(batch.images) * self.trainer.world_size

    def log_step(self, terms: Mapping[str, Tensor], batch: Batch) -> None:
        """Log the terms of a training batch as ``loss/name``, in the batches in which Lightning writes them.

        Args:
            terms: scalars by name.
            batch: the batch that they are means over.
        """
        # a call of log costs a third of a millisecond, which a small network would feel in every step
        trainer: Any = self.trainer
        if trainer.accumulate_grad_batches > 1 or self.batches_seen % max(1, trainer.log_every_n_steps) == 0:
            self.log_terms("loss", terms, batch)

    def log_terms(self, prefix: str, terms: Mapping[str, Tensor], batch: Batch, **options: Any) -> None:
        """Log terms as ``prefix/name``, and ``images_seen`` beside them as their axis.

        Args:
            prefix: ``loss``, or ``val_loss``.
            terms: scalars by name.
            batch: the batch that they are means over.
            **options: further arguments of ``log_dict``.
        """
        self.log_dict(
            {f"{prefix}/{name}": value.detach() for name, value in terms.items()},
            batch_size=len(batch.images),
            **options,
        )
        self.log("images_seen", float(self.images_seen), batch_size=len(batch.images), reduce_fx="max")

    def log_held_out(
        self, prefix: str, terms: Callable[[Batch], Mapping[str, Tensor]], batch: Batch, batch_idx: int
    ) -> None:
        """Log terms of images that are not trained on, with noise that is the same each time.

        Args:
            prefix: what the terms' names begin with.
            terms: gives the terms of a batch.
            batch: the batch.
            batch_idx: its number.
        """
        seed_global(mix_seed("held out", self.global_rank, batch_idx), self.device)
        self.log_terms(prefix, terms(batch), batch, sync_dist=True)

    # ---- the moving average

    def follow(self) -> None:
        """Begin the moving average of :meth:`producer`, if the model was asked for one; called once it is built."""
        if self.ema_half_life is not None:
            self.ema = ImageEMA(self.producer(), self.ema_half_life)

    def update_average(self) -> None:
        """Step the moving average by the images seen since its last step."""
        if self.ema is not None:
            decay = self.ema.decay(self.images_seen - self.ema_images_seen, self.images_seen)
            self.ema.update(self.producer(), decay)
            self.ema_images_seen = self.images_seen

    @contextmanager
    def producing(self) -> Iterator[Any]:
        """The network to sample with: the averaged one where there is one and ``use_ema`` is set.

        It is in eval mode, so that an image never depends on its batch-mates, and records no gradient. The mode is
        restored.

        Yields:
            The network.
        """
        network = self.producer() if self.ema is None or not self.use_ema else self.ema.module
        modes = {module: module.training for module in network.modules()}
        network.eval()
        try:
            with torch.no_grad():
                yield network
        finally:
            for module, training in modes.items():
                module.training = training

    # ---- checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the model's class and its progress, as plain values.

        Args:
            checkpoint: what is saved.
        """
        checkpoint["model_class"] = f"{type(self).__module__}.{type(self).__qualname__}"
        checkpoint["progress"] = {name: getattr(self, name) for name in PROGRESS}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the progress up again.

        Args:
            checkpoint: what was saved.
        """
        for name, value in checkpoint["progress"].items():
            setattr(self, name, value)


class DescentModule(GenerativeModule):
    """A model that is trained by gradient descent on one loss; a subclass gives :meth:`loss`."""

    @abstractmethod
    def loss(self, batch: Batch) -> Loss:
        """The loss of a batch and its terms.

        Args:
            batch: images in [-1, 1] and labels.

        Returns:
            The total, which is minimised, and its named terms.
        """

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step of gradient descent on :meth:`loss`.

        Args:
            batch: the batch.
            batch_idx: its number in the epoch.

        Returns:
            The total loss.
        """
        self.begin_batch()
        loss = self.loss(batch)
        self.count(batch)
        self.log_step({**loss.terms, "total": loss.total}, batch)
        return loss.total

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the same loss of held-out images as ``val_loss/name``.

        Args:
            batch: the batch.
            batch_idx: its number.
        """
        self.log_held_out("val_loss", self.terms, batch, batch_idx)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the same loss of test images as ``test_loss/name``.

        Args:
            batch: the batch.
            batch_idx: its number.
        """
        self.log_held_out("test_loss", self.terms, batch, batch_idx)

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of the loss of a batch, and its total."""
        loss = self.loss(batch)
        return {**loss.terms, "total": loss.total}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step the optimizer, then the moving average: before any callback can save a checkpoint.

        Args:
            *args: Lightning's.
            **kwargs: Lightning's.
        """
        super().optimizer_step(*args, **kwargs)
        average_over_ranks(running_statistics(self.producer()))
        self.update_average()
