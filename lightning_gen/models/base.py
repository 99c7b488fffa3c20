"""Base classes of all models: the network object and its EMA, progress in images, reproducible noise, checkpoints."""

import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Generic, Literal, TypeVar, cast

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lightning_gen.checks import check_above, check_at_least, check_fraction
from lightning_gen.distributed import average_running_statistics, gather_on_first_rank
from lightning_gen.errors import InputError
from lightning_gen.inference import eval_mode
from lightning_gen.lightning_compat import (
    attached_trainer,
    restore_loader,
    resume_exactly,
    scales_gradients,
    unwritten_row,
)
from lightning_gen.logger_types import RowLogger
from lightning_gen.models.checkpoint_contents import check_optimizer
from lightning_gen.models.classes import class_name
from lightning_gen.models.compilation import compile_networks, eagerly
from lightning_gen.models.construction import CheckedConstruction
from lightning_gen.models.ema import ImageEMA
from lightning_gen.models.held_out import HeldOutLoss
from lightning_gen.models.hub import HubModel
from lightning_gen.models.plain_batches import PlainBatches
from lightning_gen.noise import mix_seed, seed_global
from lightning_gen.types import Batch, ImageShape, Loss

Schedule = Literal["constant", "linear", "cosine", "step"]
STEP_FRACTIONS = (0.125, 0.25, 0.5, 0.75)
"""The fractions of the run at which the schedule ``step`` halves the learning rate; those of ESRGAN's training
(Wang et al. 2018, https://arxiv.org/abs/1809.00219)."""
Network = TypeVar("Network", bound=nn.Module)


class GenerativeModule(HubModel, PlainBatches, LightningModule, Generic[Network], metaclass=CheckedConstruction):
    """Base class of all models.

    A model owns one network object, ``network``: a plain ``nn.Module`` that implements the model's mathematics and
    works without Lightning. The EMA is a copy of it, and samples and scores are computed by one of the two
    (:meth:`inference_network`). Every constructor stores its hyper-parameters, calls ``super().__init__``, builds the
    network (:meth:`set_network`) and calls ``save_hyperparameters()``.

    Progress is counted in training batches and images. Noise in training is a function of (seed, rank, batch), so ranks
    differ and a resumed run continues exactly.

    Args:
        image_shape: (channels, height, width); the command line takes it from the data.
        ema_half_life: half-life of the EMA of the weights, in images; None for no EMA.
        lr_schedule: learning rate over the run: ``constant``, ``linear`` or ``cosine`` decay to zero, or ``step``,
            which halves it after 1/8, 1/4, 1/2 and 3/4.
        decay_start: fraction of the run, in [0, 1), after which the schedule begins; 0.5 with ``linear`` is CycleGAN's.
        warmup_images: number of images over which the learning rate rises linearly from 0; 0 for no warm-up.
    """

    num_classes: int = 0
    """Number of classes of a conditional model; 0 for an unconditional one."""
    progress: ClassVar[tuple[str, ...]] = ("images_seen", "batches_seen", "ema_images_seen", "noise_seed")
    """The attributes that a checkpoint keeps and a resumed run restores, each an int or None."""
    network: Network
    compile_training: bool = False
    """Whether the networks of training steps are compiled; set before the fit. It is no hyper-parameter."""
    rank_buffers: tuple[str, ...] = ()
    """Names of the buffers that each rank keeps for itself; checkpoints contain those of all ranks."""

    def __init__(
        self,
        image_shape: ImageShape,
        ema_half_life: float | None = None,
        lr_schedule: Schedule = "constant",
        decay_start: float = 0.0,
        warmup_images: int = 0,
    ) -> None:
        super().__init__()
        check_fraction(decay_start=decay_start)
        if decay_start and lr_schedule == "constant":
            raise InputError(f"model.decay_start is {decay_start}, and a constant lr_schedule has no decay")
        check_above(0, ema_half_life=ema_half_life, note=", or null for no EMA")
        check_at_least(0, warmup_images=warmup_images)
        self.image_shape: ImageShape = (image_shape[0], image_shape[1], image_shape[2])
        self.ema_half_life = ema_half_life
        self.lr_schedule: Schedule = lr_schedule
        self.decay_start = decay_start
        self.warmup_images = warmup_images
        self.ema: ImageEMA | None = None
        self.use_ema = True
        self.images_seen = 0
        self.batches_seen = 0
        self.ema_images_seen = 0
        self.noise_seed: int | None = None
        self.saved_optimizers: int | None = None
        self._saved_log: dict[str, Any] | None = None

    # ---- the network object and its moving average

    def set_network(self, network: Network) -> None:
        """Set the network object and, if ``ema_half_life`` is given, start its EMA."""
        self.network = network
        if self.ema_half_life is not None:
            self.ema = ImageEMA(network, self.ema_half_life)

    def update_ema(self) -> None:
        """Update the EMA by the images seen since its last update."""
        if self.ema is not None:
            decay = self.ema.decay(self.images_seen - self.ema_images_seen, self.images_seen)
            self.ema.update(self.network, decay)
            self.ema_images_seen = self.images_seen

    @contextmanager
    def inference_network(self) -> Iterator[Network]:
        """The network for sampling and scoring, in eval mode and without gradients; the mode is restored.

        Yields:
            The averaged network if there is one and ``use_ema`` is set, else the trained one.
        """
        network = self.network if self.ema is None or not self.use_ema else cast(Network, self.ema.module)
        with eagerly(self.compile_training), eval_mode(network), torch.no_grad():
            yield network

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the network object computes, in eval mode and without gradients: ``model(...)``.

        A GAN maps latents (and classes) to images, an autoencoder reconstructs images, a denoiser maps noisy images and
        times (and classes) to its estimate of the clean images, and a model that makes images from images translates.
        For gradients, call ``model.network``.

        Args:
            *args: arguments of the network object.
            **kwargs: its other arguments.

        Returns:
            Its output.
        """
        with self.inference_network() as network:
            return network(*args, **kwargs)

    def training_networks(self) -> Sequence[nn.Module]:
        """The networks whose calls in training steps are compiled with ``compile_training``."""
        return [self.network]

    # ---- optimisation

    @abstractmethod
    def configure_optimizers(self) -> Any:
        """The optimizers, passed through :meth:`with_lr_schedule`."""

    def adam(self, parameters: Iterable[Any], lr: float, betas: tuple[float, float] = (0.9, 0.999)) -> Adam:
        """An Adam that computes its step in one pass over the weights (``fused``), which takes a third of the time.

        With fp16 it is not fused, because a fused Adam unscales the gradients after they are clipped.

        Args:
            parameters: parameters, or groups of parameters.
            lr: learning rate.
            betas: decays of the first and of the second moment.

        Returns:
            The optimizer.
        """
        return Adam(parameters, lr, betas, fused=not scales_gradients(self))

    def with_lr_schedule(self, *optimizers: Optimizer) -> Any:
        """Attach the model's learning-rate schedule, which counts training batches, to optimizers.

        Args:
            *optimizers: the optimizers.

        Returns:
            The return value of ``configure_optimizers``.

        Raises:
            InputError: if the schedule depends on the length of the run, and that is unknown.
        """
        total: float = math.inf
        if self.lr_schedule != "constant":
            total = self.trainer.estimated_stepping_batches
            if not 0 < total < math.inf:
                raise InputError(
                    f"model.lr_schedule is {self.lr_schedule} and the run has no known end; set trainer.max_epochs or "
                    "max_steps"
                )
        elif not self.warmup_images:
            return list(optimizers)

        def factor(step: int) -> float:
            warmup = min(1.0, self.images_seen / self.warmup_images) if self.warmup_images else 1.0
            return warmup * self.decay(step / total)

        return list(optimizers), [
            {"scheduler": LambdaLR(optimizer, factor), "interval": "step"} for optimizer in optimizers
        ]

    def decay(self, progress: float) -> float:
        """The factor of the learning rate after a fraction ``progress`` of the run, without warm-up."""
        progress = min(1.0, max(0.0, progress - self.decay_start) / (1.0 - self.decay_start))
        match self.lr_schedule:
            case "constant":
                return 1.0
            case "linear":
                return 1.0 - progress
            case "cosine":
                return (1.0 + math.cos(math.pi * progress)) / 2
            case "step":
                return 0.5 ** sum(progress >= fraction for fraction in STEP_FRACTIONS)

    def on_train_start(self) -> None:
        """Reject what the first step would reject, compile networks, and resume the data and the loggers.

        Raises:
            InputError: if BatchNorm is to be synchronised on the CPU, an optimizer's state does not fit, or there is no
                compiler.
        """
        optimizers = self.trainer.optimizers
        if self.saved_optimizers is not None and self.saved_optimizers != len(optimizers):
            raise InputError(f"the checkpoint has {self.saved_optimizers} optimizers; the model has {len(optimizers)}")
        for optimizer in optimizers:
            check_optimizer(optimizer)
        if self.device.type == "cpu" and any(isinstance(module, nn.SyncBatchNorm) for module in self.modules()):
            raise InputError("trainer.sync_batchnorm needs an accelerator: torch synchronises no BatchNorm on the CPU")
        if isinstance(self.trainer.model, DistributedDataParallel):
            self.trainer.model.broadcast_buffers = False  # every model averages its running statistics itself
        if self.compile_training:
            compile_networks(self.training_networks(), self.device, self.trainer.accumulate_grad_batches)
        restore_loader(self.trainer)
        log, self._saved_log = self._saved_log, None
        for logger in self.trainer.loggers:
            if log is not None and isinstance(logger, RowLogger):
                logger.rewind(log["rows"])
                if log["row"]:
                    logger.log_metrics(log["row"], step=log["step"])

    # ---- progress, noise, log

    def begin_batch(self) -> None:
        """Seed torch's global generators by (seed of the run, rank, batch)."""
        if self.noise_seed is None:
            self.noise_seed = torch.initial_seed() % 2**63
        seed_global(mix_seed("train", self.noise_seed, self.global_rank, self.batches_seen), self.device)

    def count(self, batch: Batch) -> None:
        """Count a batch over all ranks; ``batch`` is this rank's."""
        self.batches_seen += 1
        if batch.global_size is None:
            self.images_seen += len(batch.images) * self.trainer.world_size
        else:
            self.images_seen += batch.global_size

    def log_step(self, terms: Mapping[str, Tensor], batch: Batch) -> None:
        """Log scalar terms of a training batch as ``loss/<name>``, in the batches in which Lightning writes them."""
        # a call of log takes a third of a millisecond, which would slow down every step of a small network
        trainer: Any = self.trainer
        if trainer.accumulate_grad_batches > 1 or self.batches_seen % max(1, trainer.log_every_n_steps) == 0:
            self.log_terms("loss", terms, len(batch.images))

    def log_terms(self, prefix: str, terms: Mapping[str, Tensor], num: int, **options: Any) -> None:
        """Log terms as ``<prefix>/<name>``, with ``images_seen`` as their x-axis.

        Args:
            prefix: ``loss``, ``val_loss`` or ``test_loss``.
            terms: scalars by name, means over images.
            num: the number of these images.
            **options: further arguments of ``log_dict``.
        """
        self.log_dict(
            {f"{prefix}/{name}": value.detach() for name, value in terms.items()},
            batch_size=num,
            **options,
        )
        self.log("images_seen", float(self.images_seen), batch_size=num, reduce_fx="max")

    # ---- checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the model's class, its progress and what the loggers have written, as plain values."""
        checkpoint["model_class"] = class_name(type(self))
        checkpoint["progress"] = {name: getattr(self, name) for name in self.progress}
        if self.rank_buffers:
            own = {name: value.cpu() for name, value in self.named_buffers() if name in self.rank_buffers}
            checkpoint["rank_buffers"] = gather_on_first_rank(own)
        trainer = attached_trainer(self)
        for logger in trainer.loggers if trainer else ():
            if isinstance(logger, RowLogger):
                checkpoint["log"] = logger.position(*unwritten_row(trainer))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the progress and this rank's buffers, and let a trainer in ``fit`` continue at the next batch.

        With more ranks than the checkpoint has, the others start with the buffers of the first.

        Args:
            checkpoint: the checkpoint's dictionary.

        Raises:
            InputError: if the checkpoint's progress has other entries than this class.
        """
        progress = checkpoint["progress"]
        if set(progress) != set(self.progress):
            raise InputError(f"the checkpoint's progress has {sorted(progress)}; it must have {sorted(self.progress)}")
        for name in self.progress:
            setattr(self, name, progress[name])
        for buffers in checkpoint.get("rank_buffers", [])[self.global_rank : self.global_rank + 1]:
            checkpoint["state_dict"].update({name: buffers[name] for name in self.rank_buffers})
        self.saved_optimizers = len(checkpoint.get("optimizer_states", ()))
        self._saved_log = checkpoint.get("log")
        resume_exactly(self, checkpoint)


class DescentModule(HeldOutLoss, GenerativeModule[Network]):
    """A model trained by gradient descent on one loss."""

    @abstractmethod
    def loss(self, batch: Batch) -> Loss:
        """The loss of a batch of images in [-1, 1] and labels: the total, which is minimised, and its named terms."""

    def training_loss(self, batch: Batch) -> Loss:
        """The loss of a training batch: :meth:`loss`, unless a model also updates state that has no gradient."""
        return self.loss(batch)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Compute the loss, count the batch and log the terms; Lightning steps the optimizer."""
        self.begin_batch()
        loss = self.training_loss(batch)
        self.count(batch)
        self.log_step({**loss.terms, "total": loss.total}, batch)
        return loss.total

    def held_out_terms(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of :meth:`loss`, and its total."""
        loss = self.loss(batch)
        return {**loss.terms, "total": loss.total}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step the optimizer, then the EMA, before any callback can save a checkpoint."""
        super().optimizer_step(*args, **kwargs)
        average_running_statistics(self.network)
        self.update_ema()
