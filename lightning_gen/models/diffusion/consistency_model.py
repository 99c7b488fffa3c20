r"""Consistency models: sampling in one or a few steps (Song et al. 2023, https://arxiv.org/abs/2303.01469).

    f(x; sigma) = c_skip x + c_out F(c_in x; c_noise),    f(x; sigma_min) = x

    loss = E d(f(x_(i+1); sigma_(i+1)), f(x_i; sigma_i)) / (sigma_(i+1) - sigma_i),    no gradient through the second

with d the pseudo-Huber distance. In consistency training, x_i and x_(i+1) are an image with the same noise at both
levels; in consistency distillation, x_i is computed from x_(i+1) by a step of Heun's method on the teacher's flow.
Levels, weights and distance are those of Song and Dhariwal 2024 (https://arxiv.org/abs/2310.14189) in both cases.
"""

from pathlib import Path
from typing import Any, ClassVar

import torch

from lightning_gen.checks import check_at_least
from lightning_gen.diffusion.consistency import heun_step, interval_probabilities, num_intervals, pseudo_huber
from lightning_gen.diffusion.denoiser import Denoiser
from lightning_gen.diffusion.preconditioning import ConsistencyPreconditioning, check_noise_levels
from lightning_gen.diffusion.processes import VarianceExploding
from lightning_gen.diffusion.times import RHO, level_times
from lightning_gen.errors import InputError
from lightning_gen.hashing import weights_hash
from lightning_gen.models.checkpoint import find_checkpoint, load_model
from lightning_gen.models.diffusion.generation import DenoisingGenerator
from lightning_gen.models.diffusion.probability_flow import ProbabilityFlowModule
from lightning_gen.noise import seed_global
from lightning_gen.types import Batch, Images, ImageShape, Loss, SamplingOptions


class ConsistencyModel(DenoisingGenerator):
    """A function from noisy images of any level to the image at the end of their trajectory.

    Args:
        image_shape: (channels, height, width).
        teacher: checkpoint (or run) of an EDM with the same network, which is distilled: training starts from its
            weights and follows its flow. None for training without a teacher. It is only needed for training.
        sigma_data: standard deviation of a pixel of the data, in units of [-1, 1]; must equal the teacher's.
        level_mean: mean of the logarithm of the training levels.
        level_std: standard deviation of the logarithm.
        sigma_min: lowest level, at which an image counts as clean, above 0.
        sigma_max: highest level, from which images are sampled.
        least_intervals: initial number of intervals between training levels.
        most_intervals: final number of intervals.
        doubling_images: number of images after which the number of intervals doubles.
        **kwargs: see :class:`DenoisingGenerator`, :class:`DenoisingModule` and :class:`GenerativeModule`.

    Raises:
        InputError: if a value is out of range.
    """

    supports_guidance: ClassVar[bool] = False  # f is a sample and not an expectation, which guidance extrapolates
    spacings: ClassVar[tuple[str, ...]] = tuple(RHO)
    default_sampling: SamplingOptions = SamplingOptions("multistep", steps=1, spacing="karras", guidance=1.0, clip=True)

    def __init__(
        self,
        image_shape: ImageShape,
        teacher: str | None = None,
        sigma_data: float = 0.5,
        level_mean: float = -1.1,
        level_std: float = 2.0,
        sigma_min: float = 0.002,
        sigma_max: float = 80.0,
        least_intervals: int = 10,
        most_intervals: int = 1280,
        doubling_images: float = 20_000,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        check_noise_levels(sigma_data, level_std, sigma_min, sigma_max)
        if not 1 <= least_intervals <= most_intervals or doubling_images <= 0:
            raise InputError(
                f"model.least_intervals is {least_intervals}, most_intervals {most_intervals} and doubling_images "
                f"{doubling_images}; 1 <= least_intervals <= most_intervals and doubling_images above 0 are "
                "required"
            )
        self.process = VarianceExploding()
        self.sigma_data, self.level_mean, self.level_std = sigma_data, level_mean, level_std
        self.sigma_min, self.sigma_max = sigma_min, sigma_max
        self.least_intervals, self.most_intervals = least_intervals, most_intervals
        self.doubling_images = doubling_images
        self.teacher = teacher
        self.teacher_networks: tuple[Denoiser, ...] = ()  # a tuple, so that the teacher is neither trained nor saved
        self.teacher_hash: str | None = None
        self.set_network(self.make_network(ConsistencyPreconditioning(sigma_data, sigma_min)))
        self.save_hyperparameters()

    @property
    def samplers(self) -> tuple[str, ...]:
        """Multistep consistency sampling."""
        return ("multistep",)

    # ---- training

    def on_fit_start(self) -> None:
        """Load the teacher, and start from its weights.

        Raises:
            InputError: if the checkpoint is not of an EDM with the same network, or is another teacher than that of the
                resumed run.
        """
        if self.teacher is None:
            return
        path = find_checkpoint(Path(self.teacher))
        teacher = load_model(path)
        if not (isinstance(teacher, ProbabilityFlowModule) and isinstance(teacher.process, VarianceExploding)):
            raise InputError(f"model.teacher is {path}, of {type(teacher).__name__}; it must be of EDM")
        if (sigma_data := teacher.hparams.get("sigma_data")) != self.sigma_data:
            raise InputError(f"model.sigma_data is {self.sigma_data}, and the teacher's is {sigma_data}")
        if teacher.image_shape != self.image_shape or teacher.architecture != self.architecture:
            raise InputError(f"model.teacher is {path}, whose network or image size is not the model's")
        with teacher.inference_network() as network:
            current = weights_hash(network)
            if self.teacher_hash not in (None, current):
                raise InputError(f"model.teacher is {path}, which is not the teacher that this run began with")
            if self.teacher_hash is None:
                for student in [self.network] if self.ema is None else [self.network, self.ema.module]:
                    student.load_state_dict(network.state_dict())
            self.teacher_hash = current
        self.teacher_networks = (network.eval().to(self.device),)

    def loss(self, batch: Batch) -> Loss:
        """The weighted distance between f at a level and f at the next lower level."""
        clean, device = batch.images, batch.images.device
        num = num_intervals(self.images_seen, self.least_intervals, self.most_intervals, self.doubling_images)
        levels = torch.tensor(level_times(num + 1, self.sigma_min, self.sigma_max)[-2::-1], dtype=torch.float32)
        probabilities = interval_probabilities(levels, self.level_mean, self.level_std)
        interval = torch.multinomial(probabilities, len(clean), replacement=True)
        higher, lower = levels[interval + 1].to(device), levels[interval].to(device)
        noise, classes = torch.randn_like(clean), self.training_classes(batch)
        noisy = self.process.noisy(clean, noise, higher)
        with torch.no_grad():
            if self.teacher_networks and self.training:  # the held-out loss does not depend on a teacher
                [teacher] = self.teacher_networks
                less_noisy = heun_step(lambda x, t: teacher(x, t, classes), noisy, higher, lower)
            else:
                less_noisy = self.process.noisy(clean, noise, lower)
        seed = int(torch.randint(2**31, ()))
        seed_global(seed, device)
        denoised = self.network(noisy, higher, classes)
        seed_global(seed, device)  # the same dropout mask for both
        with torch.no_grad():
            target = self.network(less_noisy, lower, classes)
        distance = pseudo_huber(denoised, target)
        total = (distance / (higher - lower)).mean()
        return Loss(total, {"distance": distance.mean(), "intervals": total.new_tensor(float(num))})

    # ---- sampling

    def spaced_times(self, steps: int, spacing: str) -> list[float]:
        """Levels from the highest down, and 0, which replaces the lowest level."""
        check_at_least(1, steps=steps, prefix="")
        return [*level_times(steps + 1, self.sigma_min, self.sigma_max, RHO[spacing])[:-2], 0.0]

    def reject_noise(self) -> Images:
        """The noise source where a deterministic sampler is required; raises ``InputError``."""
        raise InputError(
            "every step after the first adds fresh noise, so an image is no function of its initial noise; use one step"
        )

    # ---- checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the hash of the teacher's weights."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["teacher_hash"] = self.teacher_hash

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the hash of the teacher's weights."""
        super().on_load_checkpoint(checkpoint)
        self.teacher_hash = checkpoint["teacher_hash"]
