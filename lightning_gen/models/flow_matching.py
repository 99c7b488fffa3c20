r"""Flow matching along straight paths (Lipman et al. 2023, https://arxiv.org/abs/2210.02747).

    x_t = (1 - t) x_0 + t e,    loss = E |F(x_t, t) - (e - x_0)|^2

also called rectified flow (Liu et al. 2023, https://arxiv.org/abs/2209.03003). Time 1 is the noise, as in all processes
here. Noises may go with the images of a batch by optimal transport (Tong et al. 2024,
https://arxiv.org/abs/2302.00482), and times may be drawn by a logit-normal law, which has more of them in the middle
(Esser et al. 2024, https://arxiv.org/abs/2403.03206, section 3.1).
"""

from typing import Any, ClassVar, Literal

import torch
from torch import nn

from lightning_gen.diffusion.coupling import optimal_transport
from lightning_gen.diffusion.processes import StraightPath, Times, over_images
from lightning_gen.diffusion.times import path_times
from lightning_gen.errors import InputError
from lightning_gen.models.probability_flow import ProbabilityFlowModule
from lightning_gen.types import Batch, Classes, Images, ImageShape, Loss, Sampling

SHIFTS = {"even": 1.0, "shifted": 3.0}
"""How the times lie: evenly, or three times as dense at the noise (Esser et al. 2024, section 5.3.2)."""
UNIT = 1000
"""Time in the network's unit, of which a change of 1 should be seen."""


class FlowMatching(ProbabilityFlowModule):
    """A flow from noise to images whose network predicts the velocity.

    Args:
        image_shape: (channels, height, width).
        coupling: which noise goes with which image: ``independent``, or by ``optimal_transport`` within the batch. The
            second passes over classes, so a conditional model should take the first.
        training_times: ``uniform`` on [0, 1], or ``logit_normal``: the logistic function of a normal number.
        logit_mean: mean of the normal number; above 0 there is more noise.
        logit_std: its standard deviation, above 0.
        **kwargs: see :class:`DenoiserModule`.

    Raises:
        InputError: when a number is out of its range.
    """

    samplers: ClassVar[tuple[str, ...]] = ("euler", "heun", "adaptive", "ddim", "ancestral")
    spacings: ClassVar[tuple[str, ...]] = tuple(SHIFTS)
    usual: Sampling = Sampling("heun", steps=10, spacing="even", guidance=1.0, clip=False)

    def __init__(
        self,
        image_shape: ImageShape,
        coupling: Literal["independent", "optimal_transport"] = "independent",
        training_times: Literal["uniform", "logit_normal"] = "uniform",
        logit_mean: float = 0.0,
        logit_std: float = 1.0,
        **kwargs: Any,
    ) -> None:
        if logit_std <= 0:
            raise InputError(f"model.logit_std is {logit_std}; it must be above 0")
        self.process = StraightPath()
        super().__init__(image_shape=image_shape, **kwargs)
        self.save_hyperparameters()
        self.coupling, self.training_times = coupling, training_times
        self.logit_mean, self.logit_std = logit_mean, logit_std

    def loss(self, batch: Batch) -> Loss:
        """The squared error of the velocity, a mean over pixels."""
        clean = batch.images
        noise = torch.randn_like(clean)
        if self.coupling == "optimal_transport":
            noise = optimal_transport(clean, noise)
        if self.training_times == "uniform":
            times = torch.rand(len(clean), device=clean.device)
        else:
            times = (self.logit_mean + self.logit_std * torch.randn(len(clean), device=clean.device)).sigmoid()
        noisy = self.process.noisy(clean, noise, times)
        velocity = self.velocity(self.network, noisy, times, self.classes_of_batch(batch))
        error = (velocity - self.process.drift(clean, noise)).square().mean()
        return Loss(error, {"error": error})

    def velocity(self, network: nn.Module, noisy: Images, times: Times, classes: Classes | None) -> Images:
        """The network's output, in float32."""
        return network(noisy, UNIT * times, classes).float()

    def denoise(self, network: nn.Module, noisy: Images, times: Times, classes: Classes | None) -> Images:
        """The image that the velocity leads to: x_t - t v."""
        return noisy - over_images(times) * self.velocity(network, noisy, times, classes)

    def times(self, steps: int, spacing: str) -> list[float]:
        """From 1 to 0."""
        return path_times(steps, SHIFTS[spacing])
