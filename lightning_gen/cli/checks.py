"""What only the command line can see: whether a model and its data go together."""

from lightning_gen.data import ImageData
from lightning_gen.errors import InputError
from lightning_gen.types import LikelihoodModel


def check_likelihood(model: object, data: ImageData) -> None:
    """Refuse a density of real numbers for black-and-white images: it would grow without bound.

    Args:
        model: any model.
        data: what it is trained on or scored against.

    Raises:
        InputError: when the data is binarised and the model's likelihood Gaussian.
    """
    if data.binarize and isinstance(model, LikelihoodModel) and model.likelihood != "bernoulli":
        raise InputError(
            f"data.binarize is {data.binarize} and model.likelihood {model.likelihood}: black-and-white images have a "
            "bernoulli likelihood"
        )
