r"""Fourier features: a generator's input that can be translated and rotated continuously.

Karras et al. 2021, https://arxiv.org/abs/2106.12423, section 3.1. Channel c of the input is the plane wave

.. math:: \sin(2 \pi (f_c \cdot p + \phi_c))

at the position p. A transform A moves it: the input at p becomes that at A p, in the coordinates of
:data:`~lightning_gen.types.Transforms`.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_gen.affine import identity, rotation, translation
from lightning_gen.types import Transforms


class FourierFeatures(nn.Module):
    """Plane waves with random frequencies, uniformly distributed over a disc, and a learned mixture of them.

    Args:
        channels: number of waves, and of output channels.
        size: height and width of the output; what exceeds ``rate`` lies beyond the image.
        rate: number of samples per image side.
        cutoff: radius of the disc, cycles per image side; at most ``rate / 2``.
    """

    frequencies: Tensor
    phases: Tensor
    positions: Tensor

    def __init__(self, channels: int, size: int, rate: int, cutoff: float) -> None:
        super().__init__()
        self.rate, self.cutoff = rate, cutoff
        normal = torch.randn(channels, 2)
        # the squared norm of a 2-D normal vector, halved, is exponentially distributed
        uniform = 1 - torch.exp(-normal.square().sum(1, keepdim=True) / 2)
        frequencies = nn.functional.normalize(normal) * uniform.sqrt() * cutoff
        self.register_buffer("frequencies", frequencies)
        self.register_buffer("phases", torch.rand(channels) - 0.5)
        self.weight = nn.Parameter(torch.randn(channels, channels))
        line = (torch.arange(size) - (size - 1) / 2) / rate
        rows, columns = torch.meshgrid(line, line, indexing="ij")
        self.register_buffer("positions", torch.stack([columns, rows], 2).flatten(0, 1), persistent=False)

    def forward(self, transforms: Transforms | None = None) -> Float[Tensor, "batch channels size size"]:
        """Compute the features in float32; of one image without transform if None.

        Waves whose transformed frequency exceeds the cutoff are faded out towards half of the sampling rate, so that
        a transform that enlarges frequencies does not alias.
        """
        if transforms is None:
            transforms = identity(1, device=self.positions.device)
        with torch.autocast(self.positions.device.type, enabled=False):
            transforms = transforms.to(self.frequencies.dtype)
            frequencies = self.frequencies @ transforms[:, :2, :2]  # (batch, channels, 2)
            phases = self.phases + (self.frequencies @ transforms[:, :2, 2:])[..., 0]  # (batch, channels)
            transition = max(self.rate / 2 - self.cutoff, 1e-6)
            amplitudes = (1 - (frequencies.norm(dim=2) - self.cutoff) / transition).clamp(0, 1)
            waves = torch.sin(2 * math.pi * (frequencies @ self.positions.T + phases[..., None]))
            mixed = self.weight / math.sqrt(len(self.weight)) @ (waves * amplitudes[..., None])
        return mixed.unflatten(2, (math.isqrt(len(self.positions)), -1))


def rigid_transforms(parameters: Float[Tensor, "batch 4"]) -> Transforms:
    r"""The rotation and translation given by a 4-vector (a, b, x, y): :math:`p \mapsto R (p - (x, y))`.

    .. math:: R = \frac{1}{\sqrt{a^2 + b^2}} \begin{pmatrix} a & -b \\ b & a \end{pmatrix}

    The whole vector is divided by the same root, as in the paper's appendix F.
    """
    a, b, x, y = parameters.T
    length = torch.hypot(a, b)
    return rotation(torch.atan2(b, a)) @ translation(-x / length, -y / length)
