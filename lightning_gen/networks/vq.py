r"""Vector quantisation with a codebook learned by moving averages (van den Oord et al. 2017).

https://arxiv.org/abs/1711.00937. A vector z of the encoder is replaced by its nearest code (equations 1 and 2),

    z_q = e_k,    k = argmin_i |z - e_i|^2

and the decoder's gradient is passed to z unchanged (straight-through estimator). The commitment term, the mean of
|z - sg[e_k]|^2 over all entries, keeps the encoder's outputs close to the codes. A code is the moving average, with
decay d, of the n_i vectors assigned to it in each batch (appendix A.1):

    N_i <- d N_i + (1 - d) n_i,    m_i <- d m_i + (1 - d) sum_{z -> i} z,    e_i = m_i / N'_i

with Laplace smoothing N'_i = (N_i + eps) / (N + K eps) N, N = sum_i N_i, which keeps the quotient finite.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_gen.distributed import rank_and_world_size, sum_over_ranks
from lightning_gen.types import Codes

Maps = Float[Tensor, "batch code_dim rows columns"]
EPSILON = 1e-5
"""Epsilon of the Laplace smoothing."""


class Quantised(NamedTuple):
    """The result of quantisation."""

    maps: Maps
    """Codebook vectors, with the straight-through gradient."""
    codes: Codes
    commitment: Float[Tensor, ""]
    """Mean squared distance of the entries to their codes; only the encoder receives its gradient."""


class VectorQuantiser(nn.Module):
    """Replaces each vector of a map by its nearest code, in float32 even under autocast.

    The codebook is a buffer, changed by :meth:`update` only. The first update initialises it with vectors of the batch.
    A code whose count falls below a fraction of the mean count is dead, since no vector would be assigned to it any
    more: it is set to a random vector of the batch and gets the mean count (as in Dhariwal et al. 2020,
    https://arxiv.org/abs/2005.00341, section 3.1).

    Args:
        codebook_size: number of codes K.
        code_dim: dimension of a code.
        decay: decay d of the moving averages.
        revive_below: fraction of the mean count N / K below which a code is dead, in [0, 1); 0 disables reviving.
    """

    counts: Tensor
    sums: Tensor
    initialised: Tensor

    def __init__(self, codebook_size: int, code_dim: int, decay: float = 0.99, revive_below: float = 0.03) -> None:
        super().__init__()
        self.codebook_size, self.decay, self.revive_below = codebook_size, decay, revive_below
        self.register_buffer("counts", torch.ones(codebook_size))
        self.register_buffer("sums", torch.randn(codebook_size, code_dim))
        self.register_buffer("initialised", torch.tensor(False))

    @property
    def codebook(self) -> Float[Tensor, "codebook_size code_dim"]:
        """The codes e."""
        total = self.counts.sum()
        smoothed = (self.counts + EPSILON) / (total + self.codebook_size * EPSILON) * total
        return self.sums / smoothed[:, None]

    def nearest(self, maps: Maps) -> Codes:
        """Index of the nearest code of each vector."""
        with torch.autocast(maps.device.type, enabled=False):
            codebook = self.codebook
            vectors = maps.detach().float().movedim(1, -1)
            # |z|^2 does not depend on the code
            return (codebook.square().sum(1) - 2 * vectors @ codebook.T).argmin(-1)

    def embed(self, codes: Codes) -> Maps:
        """Codebook vectors of codes."""
        return F.embedding(codes, self.codebook).movedim(-1, 1)

    def forward(self, maps: Maps) -> Quantised:
        """Quantise maps.

        Args:
            maps: (batch, code_dim, rows, columns).

        Returns:
            The codes, their float32 vectors and the commitment term.
        """
        codes = self.nearest(maps)
        vectors, maps = self.embed(codes), maps.float()
        return Quantised(maps + (vectors - maps).detach(), codes, F.mse_loss(maps, vectors))

    @torch.no_grad()
    def update(self, maps: Maps, codes: Codes) -> None:
        """Update the codebook by a batch, over all ranks, and revive dead codes.

        Random numbers come from torch's global generator.

        Args:
            maps: the encoder's output.
            codes: the codes assigned to it.
        """
        vectors = maps.detach().float().movedim(1, -1).flatten(0, -2)  # (N, D)
        with torch.autocast(maps.device.type, enabled=False):
            assigned = F.one_hot(codes.flatten(), self.codebook_size).float()  # (N, K)
            batch = [assigned.sum(0)[:, None], assigned.T @ vectors, self._replacements(vectors)]
        new = sum_over_ranks(torch.cat(batch, 1))
        counts, sums, replacements = new.split([1, *[vectors.shape[1]] * 2], 1)
        self.counts.lerp_(counts[:, 0], 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        mean_count = counts.sum() / self.codebook_size
        dead = (self.counts < self.revive_below * mean_count) | ~self.initialised
        self.counts.copy_(torch.where(dead, mean_count, self.counts))
        self.sums.copy_(torch.where(dead[:, None], mean_count * replacements, self.sums))
        self.initialised.fill_(True)

    def _replacements(self, vectors: Float[Tensor, "num code_dim"]) -> Float[Tensor, "codebook_size code_dim"]:
        """Random vectors of this rank's batch for every world_size-th code, and 0 for the others.

        They are drawn without replacement, as far as the batch suffices.
        """
        index = torch.arange(self.codebook_size, device=vectors.device)
        order = torch.randperm(len(vectors), device=vectors.device)
        rank, world_size = rank_and_world_size()
        return vectors[order[index % len(vectors)]] * (index % world_size == rank)[:, None]


def perplexity(codes: Codes, codebook_size: int) -> Float[Tensor, ""]:
    """exp(-sum_i p_i log p_i) of the frequencies p of the codes in a batch: the effective number of codes in use.

    Args:
        codes: codes, each in [0, codebook_size).
        codebook_size: number of codes.

    Returns:
        A number between 1 and ``codebook_size``.
    """
    frequencies = F.one_hot(codes.flatten(), codebook_size).float().mean(0)
    return torch.special.entr(frequencies).sum().exp()
