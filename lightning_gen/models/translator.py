"""What models that make images from images share."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from lightning_gen.errors import InputError
from lightning_gen.models.base import GenerativeModule
from lightning_gen.resize import pad_symmetric
from lightning_gen.types import Batch, Images, ImageShape, Inputs, RandomSource


class ImageTranslation(GenerativeModule[nn.Module]):
    """Mixin of models that make images from images; the network object maps inputs to images.

    Args:
        input_shape: (channels, height, width) of the inputs; the command line takes it from the data.
        **kwargs: see the next base class.

    Raises:
        InputError: if the images are not the same whole number of times as high and as wide as the inputs.
    """

    needs_pairs: bool = True
    context: int | None = None
    input_multiple: int = 1
    """Number that must divide the inputs' height and width; other inputs are padded symmetrically."""

    def __init__(self, *, input_shape: ImageShape, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.input_shape: ImageShape = (input_shape[0], input_shape[1], input_shape[2])
        _, height, width = self.image_shape
        _, input_height, input_width = self.input_shape
        self.scale = height // input_height
        if (input_height * self.scale, input_width * self.scale) != (height, width):
            raise InputError(
                f"the inputs are {input_width}x{input_height} and the images {width}x{height}; the images must be a "
                "whole number of times as large"
            )

    def inputs_of(self, batch: Batch) -> Inputs:
        """The inputs of a batch; data without inputs raises an :class:`InputError`."""
        if batch.inputs is None:
            raise InputError(f"{type(self).__name__} makes images from images; set data.inputs")
        return batch.inputs

    def forward(self, inputs: Inputs) -> Images:
        """Translate images, without gradients: :meth:`translate`."""
        return self.translate(inputs)

    def translate(self, inputs: Inputs, *, generator: RandomSource = None) -> Images:
        """Translate images of any height and width; ``generator`` has no effect on a model without noise."""
        with self.inference_network() as network:
            return self.apply_to_any_size(network, inputs)

    def apply_to_any_size(
        self, network: Callable[[Inputs], Images], inputs: Inputs, multiple: int | None = None
    ) -> Images:
        """Apply a network to inputs padded at the right and at the bottom, and crop and clip its output.

        Args:
            network: maps images to images, ``scale`` times as high and wide.
            inputs: images.
            multiple: number that must divide height and width; None: ``input_multiple``.

        Returns:
            Images in [-1, 1], float32.
        """
        multiple = multiple or self.input_multiple
        height, width = inputs.shape[-2:]
        padded = pad_symmetric(inputs, 0, -width % multiple, 0, -height % multiple)
        images: torch.Tensor = network(padded)
        return images[..., : height * self.scale, : width * self.scale].float().clamp(-1, 1)
