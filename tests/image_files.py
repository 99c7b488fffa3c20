"""Writes image files, folders and zip archives for the tests of the data package."""

import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from lightning_gen.data import ImageData


def save_image(path: Path, image: Image.Image | np.ndarray, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)


def random_pixels(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def write_images(folder: Path, names: list[str], shape=(8, 8, 3)) -> Path:
    for index, name in enumerate(names):
        save_image(folder / name, random_pixels(index, *shape))
    return folder


def write_zip(folder: Path) -> Path:
    archive = folder.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*.*")):
            file.write(path, path.relative_to(folder))
    return archive


def folder_data(root: Path, image_size: int = 8, **options) -> ImageData:
    return ImageData("folder", str(root), image_size=image_size, **options)


def write_pets(folder: Path) -> Path:
    """Write a folder of ten cats and ten dogs, in two sub-folders."""
    return write_images(folder / "pets", [f"{pet}/{index}.png" for pet in ("cat", "dog") for index in range(10)])
