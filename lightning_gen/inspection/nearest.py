"""The nearest of many vectors that pass by in chunks, so that memory does not grow with their number."""

import torch
from jaxtyping import Float64, Int64
from torch import Tensor


class Nearest:
    """Keeps, for each query, the k nearest rows of all that were seen, by squared Euclidean distance.

        |q - r|^2 = |q|^2 + |r|^2 - 2 <q, r>

    in double precision, in which it is exact for vectors of integers such as stored pixels: copies are at distance 0.

    Args:
        queries: the vectors whose neighbours are looked for.
        k: how many.

    Attributes:
        distances: of the k nearest rows so far, ascending, infinite where fewer rows were seen.
        indices: their numbers, in the order in which they were seen.
    """

    def __init__(self, queries: Float64[Tensor, "queries width"], k: int) -> None:
        self.queries = queries
        self.seen = 0
        self.distances: Float64[Tensor, "queries k"] = queries.new_full((len(queries), k), torch.inf)
        self.indices: Int64[Tensor, "queries k"] = torch.zeros_like(self.distances, dtype=torch.int64)

    def see(self, rows: Float64[Tensor, "rows width"]) -> None:
        """Take in some more rows.

        Args:
            rows: vectors as long as the queries.
        """
        products = self.queries @ rows.T
        squares = self.queries.square().sum(1, keepdim=True) + rows.square().sum(1) - 2 * products
        numbers = torch.arange(self.seen, self.seen + len(rows), device=rows.device).expand(len(self.queries), -1)
        distances = torch.cat([self.distances, squares.clamp(min=0)], 1)
        nearest = distances.topk(self.distances.shape[1], largest=False)
        self.distances = nearest.values
        self.indices = torch.cat([self.indices, numbers], 1).gather(1, nearest.indices)
        self.seen += len(rows)
