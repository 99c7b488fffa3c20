"""Checks of a model together with its data, which neither of them can make alone."""

from lightning_gen.data import ImageData
from lightning_gen.errors import InputError
from lightning_gen.types import ImageShape, LikelihoodModel, Translator


def check_likelihood(model: object, data: ImageData) -> None:
    """Check that binarized images have a Bernoulli likelihood: a density of two values is unbounded.

    Args:
        model: any model.
        data: the data that it is trained on or scored against.

    Raises:
        InputError: if the data is binarized and the model's likelihood is Gaussian.
    """
    if data.binarize and isinstance(model, LikelihoodModel) and model.likelihood != "bernoulli":
        raise InputError(
            f"data.binarize is {data.binarize} and model.likelihood is {model.likelihood}; binarized images need "
            "a bernoulli likelihood"
        )


def required_input_shape(input_shape: ImageShape | None) -> ImageShape:
    """The shape of the data's inputs for a model that has such an argument; None raises an :class:`InputError`."""
    if input_shape is None:
        raise InputError("the model makes images from images, and the data has no inputs; set data.inputs")
    return input_shape


def check_inputs(model: object, data: ImageData) -> None:
    """Check that only models that make images from images have inputs, in pairs where they need them.

    Args:
        model: any model.
        data: the data that it is trained on.

    Raises:
        InputError: if the model and the data do not fit.
    """
    name = type(model).__name__
    if isinstance(model, Translator):
        required_input_shape(data.input_shape)
        if model.needs_pairs and not data.paired:
            raise InputError(f"{name} is trained on pairs, and the data is unpaired; set data.paired to true")
    elif data.input_shape is not None:
        remedy = "set data.name to folder" if data.inputs is None else "leave out data.inputs"
        raise InputError(f"{name} makes no images from images, and the data has inputs; {remedy}")
