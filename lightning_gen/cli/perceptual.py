"""The classifier of the data for a model that compares its features."""

from lightning_gen.data import ImageData
from lightning_gen.errors import InputError
from lightning_gen.evaluation import classifier_file
from lightning_gen.types import PerceptualModel


def set_classifier(model: object, data: ImageData) -> None:
    """Set the file of the classifier's weights for a model that compares its features and names no file.

    The classifier is trained unless it is in the cache.

    Args:
        model: any model.
        data: the data that it is trained on.

    Raises:
        InputError: if the data has no labels.
    """
    if isinstance(model, PerceptualModel) and model.perceptual == "classifier" and model.perceptual_weights is None:
        if data.image_set("train").labels is None:
            raise InputError(
                f"model.perceptual is classifier, and {data.dataset} has no classes; use vgg19, efficientnet_lite0, "
                "discriminator or none"
            )
        model.perceptual_weights = str(classifier_file(data))
