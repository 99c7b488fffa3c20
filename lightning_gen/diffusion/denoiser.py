"""The network object of diffusion models and flows: a denoiser D(x_t; t, y), the estimate of x_0."""

from torch import nn

from lightning_gen.diffusion.preconditioning import Preconditioning
from lightning_gen.diffusion.processes import Times
from lightning_gen.types import Classes, Images


class Denoiser(nn.Module):
    """A backbone F and the preconditioning that computes D from it.

    Args:
        backbone: network F(x, noise, classes) from images, noise conditioning (batch) and class rows to images.
        preconditioning: inputs of F, and D as a function of its output.
    """

    def __init__(self, backbone: nn.Module, preconditioning: Preconditioning) -> None:
        super().__init__()
        self.backbone, self.preconditioning = backbone, preconditioning

    def predict(self, noisy: Images, times: Times, classes: Classes | None = None) -> Images:
        """F's output in float32: noise, image, v or velocity, depending on the preconditioning."""
        images, noise = self.preconditioning.inputs(noisy, times)
        return self.backbone(images, noise, classes).float()

    def forward(self, noisy: Images, times: Times, classes: Classes | None = None) -> Images:
        """D(x_t; t, y) in float32, for one time per image; classes are rows of class weights."""
        return self.preconditioning.denoised(self.predict(noisy, times, classes), noisy, times)
