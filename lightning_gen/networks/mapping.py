"""The mapping network of StyleGAN, from latents z to intermediate latents w, the styles.

Karras et al. 2019, https://arxiv.org/abs/1812.04948, section 2. Truncation moves styles towards their average:
w' = m + psi (w - m), which trades variation for the quality of single images (appendix B).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_gen.networks.equalized import EqualizedLinear, EqualizedMLP, normalize_2nd_moment


class MappingNetwork(nn.Module):
    """Fully connected layers with an equalised learning rate, of normalised latents and the embedded class.

    Args:
        latent_dim: number of latent dimensions.
        style_dim: number of dimensions of a style.
        layers: number of layers.
        lr_multiplier: factor of the learning rate of the layers.
        num_classes: number of classes, whose one-hot row follows the latents; 0 for none.
        average_decay: decay per batch of the styles' average.
    """

    average: Tensor

    def __init__(
        self,
        latent_dim: int,
        style_dim: int,
        layers: int,
        lr_multiplier: float = 0.01,
        num_classes: int = 0,
        average_decay: float = 0.995,
    ) -> None:
        super().__init__()
        self.latent_dim, self.average_decay = latent_dim, average_decay
        self.classes = EqualizedLinear(num_classes, style_dim) if num_classes else None
        self.layers = EqualizedMLP(latent_dim + (style_dim if num_classes else 0), style_dim, layers, lr_multiplier)
        self.register_buffer("average", torch.zeros(style_dim))

    def forward(self, latents: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch style"]:
        """Map latents, followed by the class if there are classes, to styles."""
        features = normalize_2nd_moment(latents[:, : self.latent_dim])
        if self.classes is not None:
            embedded = self.classes(latents[:, self.latent_dim :])
            features = torch.cat([features, normalize_2nd_moment(embedded)], 1)
        return self.layers(features)

    @torch.no_grad()
    def update_average(self, styles: Float[Tensor, "batch style"]) -> None:
        """Update the styles' average by a training batch."""
        self.average.lerp_(styles.detach().mean(0).to(self.average.dtype), 1 - self.average_decay)
