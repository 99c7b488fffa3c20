"""Checks of a model together with its data, which neither of them can make alone."""

from lightning_gen.data import ImageData
from lightning_gen.errors import InputError
from lightning_gen.types import LikelihoodModel


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
