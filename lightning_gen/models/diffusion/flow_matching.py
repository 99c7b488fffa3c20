r"""Flow matching along straight paths (Lipman et al. 2023, https://arxiv.org/abs/2210.02747).

    x_t = (1 - t) x_0 + t e,    loss = E |F(x_t, t) - (e - x_0)|^2

also called rectified flow (Liu et al. 2023, https://arxiv.org/abs/2209.03003). Time 1 is the noise, as in all processes
of this package. Noise and images of a batch can be paired by optimal transport (Tong et al. 2024,
https://arxiv.org/abs/2302.00482), and times can be logit-normal, which gives more weight to the middle of the path
(Esser et al. 2024, https://arxiv.org/abs/2403.03206, section 3.1).
"""

from typing import Any, ClassVar, Literal

import torch

from lightning_gen.checks import check_above
from lightning_gen.diffusion.coupling import optimal_transport
from lightning_gen.diffusion.preconditioning import VelocityPreconditioning
from lightning_gen.diffusion.processes import StraightPath
from lightning_gen.diffusion.times import path_times
from lightning_gen.errors import InputError
from lightning_gen.models.diffusion.probability_flow import ProbabilityFlowModule
from lightning_gen.types import Batch, ImageShape, Loss, SamplingOptions

SHIFTS = {"even": 1.0, "shifted": 3.0}
"""Shift of each spacing of times; 3 is three times as dense at the noise (Esser et al. 2024, section 5.3.2)."""


class FlowMatching(ProbabilityFlowModule):
    """A flow from noise to images whose network predicts the velocity.

    Args:
        image_shape: (channels, height, width).
        coupling: pairing of noise and images: ``independent``, or ``optimal_transport`` within the batch. The second
            is refused for a conditional model: it pairs without regard to classes, so the noise given the class would
            not be N(0, I), from which samples of the class start.
        training_times: ``uniform`` on [0, 1], or ``logit_normal``: the logistic function of a normal variable.
        logit_mean: mean of the normal variable; above 0 there is more noise.
        logit_std: standard deviation of the normal variable, above 0.
        **kwargs: see :class:`DenoisingGenerator`, :class:`DenoisingModule` and :class:`GenerativeModule`.

    Raises:
        InputError: if a value is out of range, or a conditional model is to use optimal transport.
    """

    spacings: ClassVar[tuple[str, ...]] = tuple(SHIFTS)
    default_sampling: SamplingOptions = SamplingOptions("heun", steps=10, spacing="even", guidance=1.0, clip=False)

    def __init__(
        self,
        image_shape: ImageShape,
        coupling: Literal["independent", "optimal_transport"] = "independent",
        training_times: Literal["uniform", "logit_normal"] = "uniform",
        logit_mean: float = 0.0,
        logit_std: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, **kwargs)
        check_above(0, logit_std=logit_std)
        if self.num_classes and coupling == "optimal_transport":
            raise InputError(
                "model.coupling is optimal_transport, under which the noise of a class is not normally distributed; a "
                "conditional model needs independent"
            )
        self.process = StraightPath()
        self.coupling, self.training_times = coupling, training_times
        self.logit_mean, self.logit_std = logit_mean, logit_std
        self.set_network(self.make_network(VelocityPreconditioning()))
        self.save_hyperparameters()

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
        velocity = self.network.predict(noisy, times, self.training_classes(batch))
        error = (velocity - self.process.drift(clean, noise)).square().mean()
        return Loss(error, {"error": error})

    def spaced_times(self, steps: int, spacing: str) -> list[float]:
        """Times from 1 to 0."""
        return path_times(steps, SHIFTS[spacing])
