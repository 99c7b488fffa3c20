"""The network object of diffusion models and flows: a denoiser D(x_t; t, y), the estimate of x_0."""

from torch import nn

from lightning_gen.diffusion.preconditioning import Preconditioning
from lightning_gen.diffusion.processes import Times
from lightning_gen.types import DenoiserCondition, Images


class Denoiser(nn.Module):
    """A backbone F and the preconditioning that computes D from it.

    Args:
        backbone: network F(x, noise, condition) from images, noise conditioning (batch) and a condition to images.
        preconditioning: inputs of F, and D as a function of its output.
    """

    def __init__(self, backbone: nn.Module, preconditioning: Preconditioning) -> None:
        super().__init__()
        self.backbone, self.preconditioning = backbone, preconditioning

    def predict(self, noisy: Images, times: Times, condition: DenoiserCondition = None) -> Images:
        """F's output in float32: noise, image, v or velocity, depending on the preconditioning."""
        images, noise = self.preconditioning.inputs(noisy, times)
        return self.backbone(images, noise, condition).float()

    def forward(self, noisy: Images, times: Times, condition: DenoiserCondition = None) -> Images:
        """D(x_t; t, y) in float32, for one time per image; the condition y is passed to the backbone."""
        return self.preconditioning.denoised(self.predict(noisy, times, condition), noisy, times)
