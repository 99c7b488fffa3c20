"""The data module that a checkpoint was trained with."""

from pathlib import Path

from lightning_gen.data import ImageData
from lightning_gen.errors import InputError
from lightning_gen.models.checkpoint import read_data_options


def dataset_of(checkpoint: Path, root: str | None) -> ImageData:
    """Rebuild the data module that a checkpoint was trained with.

    Args:
        checkpoint: the file.
        root: folder of the dataset, if it has moved.

    Returns:
        The data module.

    Raises:
        InputError: when the checkpoint has no data options.
    """
    options = read_data_options(checkpoint)
    if not options:
        raise InputError(f"{checkpoint} was not trained with ImageData; name --reference, a folder of real images")
    return ImageData(**(options | ({"root": root} if root else {})))
