r"""SR3 and Palette: diffusion models of images given an image.

Saharia et al. 2021, https://arxiv.org/abs/2104.07636, and 2022, https://arxiv.org/abs/2111.05826.

    x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) e,    loss = E w_t |F(x_t, y, t) - target|^2

The condition y is the input, concatenated to the channels of x_t, and enlarged bicubically to the size of the image for
super-resolution. A translation is a sample of p(x_0 | y), not its mean: the noise decides what the input leaves open.
"""

import math

import torch

from lightning_gen.diffusion.denoiser import Denoiser
from lightning_gen.diffusion.preconditioning import Preconditioning
from lightning_gen.models.diffusion.denoising import SAMPLING_BATCH
from lightning_gen.models.diffusion.discrete import DiscreteDiffusionModule
from lightning_gen.models.translator import ImageTranslation
from lightning_gen.networks.backbones import make_backbone
from lightning_gen.networks.conditioning import ConcatenatedInput
from lightning_gen.noise import randn
from lightning_gen.resize import bicubic_upscale
from lightning_gen.types import Batch, Images, Inputs, RandomSource


class SR3(DiscreteDiffusionModule, ImageTranslation):
    """A diffusion model conditioned on an image: super-resolution, colourisation, inpainting and other pairs.

    The papers predict the noise with an L1 (SR3) or L2 (Palette) loss and condition the network on abar, drawn
    uniformly between two adjacent times. Here the times, the predictions and the squared error are those of
    :class:`DDPM`: the network is conditioned on the time, of which abar is a function, and every sampler of DDPM draws
    from it.

    Args:
        **kwargs: ``input_shape`` of :class:`ImageTranslation`, and see :class:`DiscreteDiffusionModule`,
            :class:`DenoisingModule` and :class:`GenerativeModule`.
    """

    def make_network(self, preconditioning: Preconditioning) -> Denoiser:
        """The denoiser, whose backbone has the channels of the image and of the input as its input."""
        channels = self.image_shape[0] + self.input_shape[0]
        backbone = make_backbone(**self.architecture, dropout=self.dropout, in_channels=channels)
        self.input_multiple = backbone.multiple // math.gcd(backbone.multiple, self.scale)
        return Denoiser(ConcatenatedInput(backbone), preconditioning)

    def training_condition(self, batch: Batch) -> Inputs:
        """The inputs of a batch, enlarged to the size of the images."""
        return bicubic_upscale(self.inputs_of(batch), self.scale)

    def translate(self, inputs: Inputs, *, generator: RandomSource = None) -> Images:
        """Draw an image given each input, with the options in ``sampling``.

        Args:
            inputs: images in [-1, 1] of any height and width.
            generator: source of the noise; with several generators, translation i depends on the i-th alone.

        Returns:
            Images in [-1, 1], ``scale`` times as high and wide.
        """
        return self.apply_to_any_size(lambda padded: self.draw(padded, generator), inputs)

    def draw(self, inputs: Inputs, generator: RandomSource = None) -> Images:
        """Draw an image given each input, whose height and width are multiples of ``input_multiple``.

        At most ``SAMPLING_BATCH`` images of the training size, or as many pixels, are drawn at once.

        Args:
            inputs: images in [-1, 1].
            generator: source of the noise.

        Returns:
            Images in [-1, 1].
        """
        conditions = bicubic_upscale(inputs, self.scale)
        height, width = conditions.shape[-2:]
        at_once = max(1, SAMPLING_BATCH * math.prod(self.image_shape[1:]) // (height * width))
        parts = []
        for start in range(0, len(inputs), at_once):
            condition = conditions[start : start + at_once]
            source = generator[start : start + at_once] if isinstance(generator, list | tuple) else generator

            def draw_noise(size: int = len(condition), source: RandomSource = source) -> Images:
                return randn(size, self.image_shape[0], height, width, generator=source, device=self.device)

            parts.append(self.generate_from_noise(draw_noise(), condition, draw_noise))
        return torch.cat(parts) if parts else conditions.new_empty(0, self.image_shape[0], height, width)
