"""Finding a model's class by the name that a file gives: among classes that are imported, and nothing is imported."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from lightning_gen.errors import InputError

Class = TypeVar("Class")


def class_name(model_class: type) -> str:
    """The name of a class in checkpoints and exported folders: its module and its qualified name."""
    return f"{model_class.__module__}.{model_class.__qualname__}"


def find_class(path: Path, name: str, base: type[Class]) -> type[Class]:
    """The model class of a name in a file, among those that are imported already.

    Args:
        path: the file, for the message.
        name: the module and the qualified name of the class.
        base: the base class of all models.

    Returns:
        The class: a model of this suite, or a subclass of ``base`` that the process has imported.

    Raises:
        InputError: if there is none.
    """
    for model_class in imported_subclasses(base):
        if class_name(model_class) == name:
            return model_class
    raise InputError(
        f"{path} is of {name}, which is not a model of lightning_gen; if you trust the module of a class of your own, "
        "import it, or name it in the environment variable LIGHTNING_GEN_IMPORT"
    )


def imported_subclasses(base: type[Class]) -> Iterator[type[Class]]:
    """All subclasses of a class, direct and indirect."""
    for subclass in base.__subclasses__():
        yield subclass
        yield from imported_subclasses(subclass)
