r"""Consistency models: images in one step, or in two (Song et al. 2023, https://arxiv.org/abs/2303.01469).

    f(x; sigma) = c_skip x + c_out F(c_in x; c_noise),    f(x; sigma_min) = x

    loss = E d(f(x_(i+1); sigma_(i+1)), f(x_i; sigma_i)) / (sigma_(i+1) - sigma_i),    no gradient through the second

with d the pseudo-Huber distance. Trained alone, x_i and x_(i+1) are an image with the same noise at both levels; with a
teacher, x_i is where a step of Heun's method on its flow leads from x_(i+1). Levels, weights and distance are those of
Song and Dhariwal 2024 (https://arxiv.org/abs/2310.14189), for both.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar
from zlib import crc32

import torch
from torch import nn

from lightning_gen.diffusion.consistency import (
    boundary_preconditioning,
    flow_step,
    interval_shares,
    num_intervals,
    pseudo_huber,
)
from lightning_gen.diffusion.preconditioning import check_levels, preconditioned
from lightning_gen.diffusion.processes import Denoise, Times, VarianceExploding
from lightning_gen.diffusion.times import RHO, check_steps, level_times
from lightning_gen.errors import InputError
from lightning_gen.models.checkpoint import find_checkpoint, load_model
from lightning_gen.models.denoiser import DenoiserModule
from lightning_gen.models.probability_flow import ProbabilityFlowModule
from lightning_gen.noise import seed_global
from lightning_gen.types import Batch, Classes, Images, ImageShape, Loss, Sampling


class ConsistencyModel(DenoiserModule):
    """A function from noise of any level to the image at the end of its path.

    Args:
        image_shape: (channels, height, width).
        teacher: checkpoint (or run) of an EDM with the same network, which is distilled: its weights are the first, and
            its flow is followed; the model is trained alone when None. It is needed for training only.
        sigma_data: standard deviation of a pixel of the data, in units of [-1, 1]; the teacher's own, of a distilled
            model.
        level_mean: mean of the training levels' logarithm.
        level_std: its standard deviation.
        sigma_min: the least level, which counts as none, above 0.
        sigma_max: the largest, that images are drawn from.
        least_intervals: between training levels, in the beginning.
        most_intervals: in the end.
        doubling_images: images after which their number doubles.
        **kwargs: see :class:`DenoiserModule`.

    Raises:
        InputError: when a number is out of its range.
    """

    samplers: ClassVar[tuple[str, ...]] = ("multistep",)
    spacings: ClassVar[tuple[str, ...]] = tuple(RHO)
    usual: Sampling = Sampling("multistep", steps=1, spacing="karras", guidance=1.0, clip=True)

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
        check_levels(sigma_data, level_std, sigma_min, sigma_max)
        if not 1 <= least_intervals <= most_intervals or doubling_images <= 0:
            raise InputError(
                f"model.least_intervals is {least_intervals}, most_intervals {most_intervals} and doubling_images "
                f"{doubling_images}; there is at least 1 interval, their number does not fall, and it doubles after "
                "more than 0 images"
            )
        self.process = VarianceExploding()
        self.sigma_data, self.level_mean, self.level_std = sigma_data, level_mean, level_std
        self.sigma_min, self.sigma_max = sigma_min, sigma_max
        self.least_intervals, self.most_intervals = least_intervals, most_intervals
        self.doubling_images = doubling_images
        self.teacher = teacher
        self.taught: Callable[[Classes | None], Denoise] | None = None
        self.teachers_mark: int | None = None
        super().__init__(image_shape=image_shape, **kwargs)
        self.save_hyperparameters()

    # ---- training

    def on_fit_start(self) -> None:
        """Load the teacher, and begin as it.

        Raises:
            InputError: when there is no such EDM, or its network is another.
        """
        if self.teacher is None:
            return
        path = find_checkpoint(Path(self.teacher))
        teacher = load_model(path)
        if not (isinstance(teacher, ProbabilityFlowModule) and isinstance(teacher.process, VarianceExploding)):
            raise InputError(f"model.teacher is {path}, of {type(teacher).__name__}; it must be of EDM")
        if (sigma_data := getattr(teacher, "sigma_data", None)) != self.sigma_data:
            raise InputError(f"model.sigma_data is {self.sigma_data}, and the teacher's is {sigma_data}")
        with teacher.producing() as network:
            if teacher.image_shape != self.image_shape or teacher.architecture != self.architecture:
                raise InputError(f"model.teacher is {path}, whose network or image size is not the model's")
            mark = fingerprint(network)
            if self.teachers_mark not in (None, mark):
                raise InputError(f"model.teacher is {path}, which is not the teacher that this run began with")
            if self.teachers_mark is None:
                for learner in [self.network] if self.ema is None else [self.network, self.ema.module]:
                    learner.load_state_dict(network.state_dict())
            self.teachers_mark = mark
            network.to(self.device)

        def taught(classes: Classes | None) -> Denoise:
            return lambda noisy, times: teacher.denoise(network, noisy, times, classes)

        self.taught = taught  # a function, so that the teacher is neither trained nor saved

    def loss(self, batch: Batch) -> Loss:
        """How far f is from itself at the next lower level."""
        clean, device = batch.images, batch.images.device
        num = num_intervals(self.images_seen, self.least_intervals, self.most_intervals, self.doubling_images)
        levels = torch.tensor(level_times(num + 1, self.sigma_min, self.sigma_max)[-2::-1], dtype=torch.float32)
        shares = interval_shares(levels, self.level_mean, self.level_std)
        chosen = torch.multinomial(shares, len(clean), replacement=True)
        now, after = levels[chosen + 1].to(device), levels[chosen].to(device)
        noise, classes = torch.randn_like(clean), self.classes_of_batch(batch)
        noisy = self.process.noisy(clean, noise, now)
        with torch.no_grad():
            if self.taught is None or not self.training:  # held-out images are measured with no teacher at hand, too
                cleaner = self.process.noisy(clean, noise, after)
            else:
                cleaner = flow_step(self.taught(classes), noisy, now, after)
        seed = int(torch.randint(2**31, ()))
        seed_global(seed, device)
        found = self.denoise(self.network, noisy, now, classes)
        seed_global(seed, device)  # dropout is the same on both sides
        with torch.no_grad():
            wanted = self.denoise(self.network, cleaner, after, classes)
        distance = pseudo_huber(found, wanted)
        total = (distance / (now - after)).mean()
        return Loss(total, {"distance": distance.mean(), "intervals": total.new_tensor(float(num))})

    # ---- drawing

    def denoise(self, network: nn.Module, noisy: Images, times: Times, classes: Classes | None) -> Images:
        """The function f."""
        coefficients = boundary_preconditioning(times.float(), self.sigma_data, self.sigma_min)
        return preconditioned(network, coefficients, noisy, classes)

    def times(self, steps: int, spacing: str) -> list[float]:
        """Levels from the largest down, and 0; the least level is as good as 0, and is left out."""
        check_steps(steps)
        return [*level_times(steps + 1, self.sigma_min, self.sigma_max, RHO[spacing])[:-2], 0.0]

    def refused(self) -> Images:
        """Where a single step's fresh noise comes from."""
        raise InputError(
            "every step after the first adds fresh noise, so that noise and image do not belong together; take one step"
        )

    # ---- checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add which teacher it was.

        Args:
            checkpoint: what is saved.
        """
        super().on_save_checkpoint(checkpoint)
        checkpoint["teachers_mark"] = self.teachers_mark

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember which teacher it was.

        Args:
            checkpoint: what was saved.
        """
        super().on_load_checkpoint(checkpoint)
        self.teachers_mark = checkpoint["teachers_mark"]


def fingerprint(network: nn.Module) -> int:
    """A checksum of a network's weights."""
    mark = 0
    for value in network.state_dict().values():
        mark = crc32(value.cpu().contiguous().numpy().tobytes(), mark)
    return mark
