r"""Vector quantisation with a codebook that is learned by moving averages (van den Oord et al. 2017).

https://arxiv.org/abs/1711.00937. A vector z of the encoder becomes its nearest code (equations 1 and 2),

    z_q = e_k,    k = argmin_i |z - e_i|^2

and the decoder's gradient passes to z unchanged (straight-through). The encoder is held to its codes by the commitment
term, the mean of |z - sg[e_k]|^2 over all entries. The codes follow the vectors that choose them (appendix A.1), n_i of
them in a batch, with decay d:

    N_i <- d N_i + (1 - d) n_i,    m_i <- d m_i + (1 - d) sum_{z -> i} z,    e_i = m_i / N'_i

where Laplace smoothing, N'_i = (N_i + eps) / (N + K eps) N with N = sum_i N_i, keeps the quotient finite.
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
"""Of the Laplace smoothing, in vectors."""


class Quantised(NamedTuple):
    """Maps made of codes."""

    maps: Maps
    """The codes' vectors, through which a gradient passes as if nothing had been quantised."""
    codes: Codes
    commitment: Float[Tensor, ""]
    """Mean squared distance of an entry to its code; its gradient reaches the encoder alone."""


class VectorQuantiser(nn.Module):
    """Replaces each vector of a map by the nearest of a finite number of codes, in float32 even under autocast.

    The codebook is state and no parameter: :meth:`update` learns it, and nothing else changes it. The first update
    seeds it with vectors of that batch; until then it is random. So are codes that die: one whose count falls below a
    share of the mean count moves onto a random vector of the batch and gets the mean count, since no vector would ever
    choose it again otherwise (as in Dhariwal et al. 2020, https://arxiv.org/abs/2005.00341, section 3.1).

    Args:
        codebook_size: codes K.
        code_dim: length of a code.
        decay: d, what a batch leaves of the old averages.
        revive_below: share of the mean count N / K below which a code counts as dead, in [0, 1); 0 revives none.
    """

    counts: Tensor
    sums: Tensor
    seeded: Tensor

    def __init__(self, codebook_size: int, code_dim: int, decay: float = 0.99, revive_below: float = 0.03) -> None:
        super().__init__()
        self.codebook_size, self.decay, self.revive_below = codebook_size, decay, revive_below
        self.register_buffer("counts", torch.ones(codebook_size))
        self.register_buffer("sums", torch.randn(codebook_size, code_dim))
        self.register_buffer("seeded", torch.tensor(False))

    @property
    def codebook(self) -> Float[Tensor, "codebook_size code_dim"]:
        """The codes e."""
        total = self.counts.sum()
        smoothed = (self.counts + EPSILON) / (total + self.codebook_size * EPSILON) * total
        return self.sums / smoothed[:, None]

    def nearest(self, maps: Maps) -> Codes:
        """The number of the code that is nearest to each vector."""
        with torch.autocast(maps.device.type, enabled=False):
            codebook = self.codebook
            vectors = maps.detach().float().movedim(1, -1)
            # |z|^2 is the same for all codes
            return (codebook.square().sum(1) - 2 * vectors @ codebook.T).argmin(-1)

    def embed(self, codes: Codes) -> Maps:
        """The vectors of codes."""
        return F.embedding(codes, self.codebook).movedim(-1, 1)

    def forward(self, maps: Maps) -> Quantised:
        """Quantise maps.

        Args:
            maps: (batch, code_dim, rows, columns).

        Returns:
            The codes and their float32 vectors.
        """
        codes = self.nearest(maps)
        vectors, maps = self.embed(codes), maps.float()
        return Quantised(maps + (vectors - maps).detach(), codes, F.mse_loss(maps, vectors))

    @torch.no_grad()
    def update(self, maps: Maps, codes: Codes) -> None:
        """Let the codebook follow a batch, of all ranks together, and revive dead codes.

        The randomness comes from torch's global generator.

        Args:
            maps: what was quantised.
            codes: into what.
        """
        vectors = maps.detach().float().movedim(1, -1).flatten(0, -2)  # (N, D)
        with torch.autocast(maps.device.type, enabled=False):
            chosen = F.one_hot(codes.flatten(), self.codebook_size).float()  # (N, K)
            batch = [chosen.sum(0)[:, None], chosen.T @ vectors, self._replacements(vectors)]
        new = sum_over_ranks(torch.cat(batch, 1))
        counts, sums, replacements = new.split([1, *[vectors.shape[1]] * 2], 1)
        self.counts.lerp_(counts[:, 0], 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        even = counts.sum() / self.codebook_size
        dead = (self.counts < self.revive_below * even) | ~self.seeded
        self.counts.copy_(torch.where(dead, even, self.counts))
        self.sums.copy_(torch.where(dead[:, None], even * replacements, self.sums))
        self.seeded.fill_(True)

    def _replacements(self, vectors: Float[Tensor, "num code_dim"]) -> Float[Tensor, "codebook_size code_dim"]:
        """Random vectors of this rank's batch for every world_size-th code, and 0 for the others.

        None is taken twice before all are taken once.
        """
        places = torch.arange(self.codebook_size, device=vectors.device)
        order = torch.randperm(len(vectors), device=vectors.device)
        rank, world_size = rank_and_world_size()
        return vectors[order[places % len(vectors)]] * (places % world_size == rank)[:, None]


def perplexity(codes: Codes, codebook_size: int) -> Float[Tensor, ""]:
    """exp(-sum_i p_i log p_i) of the shares p of the codes in a batch: as many codes, used evenly, would say as much.

    Args:
        codes: each in [0, codebook_size).
        codebook_size: how many there are.

    Returns:
        From 1, where all codes are one, to ``codebook_size``.
    """
    shares = F.one_hot(codes.flatten(), codebook_size).float().mean(0)
    return torch.special.entr(shares).sum().exp()
