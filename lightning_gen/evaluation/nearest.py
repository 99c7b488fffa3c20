"""The nearest neighbours of vectors, computed in blocks."""

import torch
from jaxtyping import Float64, Int64, Shaped
from torch import Tensor

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
