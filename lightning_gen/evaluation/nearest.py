"""The nearest neighbours of vectors, computed in blocks, and those of images in a set."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float64, Int64, Shaped
from torch import Tensor

from lightning_gen.images import to_uint8
from lightning_gen.noise import image_generators
from lightning_gen.types import ImageSet, StoredImages

Vectors = Shaped[Tensor, "images features"]
MAX_PIXEL = 255
QUERIES_PER_BLOCK = 1024
"""The number of queries whose distances are in memory at once."""


class Nearest:
    """The k nearest rows of each query by squared Euclidean distance, updated batch by batch.

        |q - r|^2 = |q|^2 + |r|^2 - 2 <q, r>

    in double precision. For integers such as stored pixels it is exact. For floating-point vectors it has rounding
    errors, and the distances of the nearest rows are computed again as the sum of (q - r)^2. A copy therefore has
    distance 0.

    Args:
        queries: the query vectors, integers or floating point; converted to double precision in blocks.
        k: number of neighbours.

    Attributes:
        distances: distances of the k nearest rows, ascending; infinite if there were fewer rows.
        indices: indices of these rows, counted over all updates.
    """

    def __init__(self, queries: Shaped[Tensor, "queries width"], k: int) -> None:
        self.queries = queries
        self.num_rows = 0
        self.distances: Float64[Tensor, "queries k"] = queries.new_full(
            (len(queries), k), torch.inf, dtype=torch.float64
        )
        self.indices: Int64[Tensor, "queries k"] = torch.zeros_like(self.distances, dtype=torch.int64)

    def update(self, rows: Shaped[Tensor, "rows width"]) -> None:
        """Add rows."""
        rows = rows.double()
        row_squares = rows.square().sum(1)
        k = self.distances.shape[1]
        for start in range(0, len(self.queries), QUERIES_PER_BLOCK):
            block = slice(start, start + QUERIES_PER_BLOCK)
            queries = self.queries[block].double()
            squares = queries.square().sum(1, keepdim=True) + row_squares - 2 * (queries @ rows.T)
            distances, indices = squares.topk(min(k, len(rows)), largest=False)
            if self.queries.is_floating_point():
                columns = [(queries - rows[column]).square().sum(1) for column in indices.unbind(1)]
                distances = torch.stack(columns, 1)
            distances = torch.cat([self.distances[block], distances], 1)
            indices = torch.cat([self.indices[block], self.num_rows + indices], 1)
            nearest = distances.topk(k, largest=False)
            self.distances[block] = nearest.values
            self.indices[block] = indices.gather(1, nearest.indices)
        self.num_rows += len(rows)


def draw_samples(model: Any, num: int, seed: int, batch_size: int) -> StoredImages:
    """Generate images, image i as a function of (seed, i), with the classes in turn if the model is conditional.

    Args:
        model: a model that generates images.
        num: number of images.
        seed: the seed.
        batch_size: number of images per batch.

    Returns:
        The images on the CPU.
    """
    parts = []
    for start in range(0, num, batch_size):
        indices = range(start, min(start + batch_size, num))
        labels = torch.tensor(indices, device=model.device) % model.num_classes if model.num_classes else None
        parts.append(model.sample(len(indices), labels=labels, generator=image_generators(seed, indices)))
    return torch.cat([to_uint8(part).cpu() for part in parts])


def nearest_images(
    queries: StoredImages,
    images: ImageSet,
    spaces: Mapping[str, Callable[[StoredImages], Vectors]],
    k: int,
    batch_size: int,
    num_images: int | None = None,
) -> dict[str, Nearest]:
    """Find the images of a set that are nearest to given images.

    Args:
        queries: the given images.
        images: the set, read once in batches.
        spaces: what is compared: vectors of images, by name.
        k: number of neighbours.
        batch_size: number of images per batch.
        num_images: number of images of the set that are searched; None for all.

    Returns:
        The neighbours in each space.
    """
    found = {space: Nearest(vectors(queries), k) for space, vectors in spaces.items()}
    end = len(images) if num_images is None else min(num_images, len(images))
    for start in range(0, end, batch_size):
        batch = images[start : min(start + batch_size, end)]
        for space, vectors in spaces.items():
            found[space].update(vectors(batch))
    return found


def pixels_on(device: torch.device) -> Callable[[StoredImages], Vectors]:
    """The vectors of stored images' pixels, on a device with float64."""
    return lambda images: images.flatten(1).to(device)


def search_device(device: torch.device) -> torch.device:
    """A device with float64: the given one, or the CPU for mps."""
    return torch.device("cpu") if device.type == "mps" else device
