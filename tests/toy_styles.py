"""A toy style-based generator, whose images are linear in its styles, and an extractor of its images."""

import torch
from torch import nn

from lightning_gen.noise import randn
from lightning_gen.truncation import truncated_styles
from tests.test_evaluation import Linear

SHAPE = (1, 16, 16)


class ToyStyles(nn.Module):
    """w = 2 z + 1 (z of 4 dimensions, then the class), and each of three layers adds its own images times w."""

    num_styles, latent_dim = 3, 4
    image_shape = SHAPE
    device = torch.device("cpu")

    def __init__(self, num_classes=0, scale=0.1):
        super().__init__()
        self.num_classes, self.truncation, self.truncated_layers = num_classes, 1.0, None
        dims = self.latent_dim + num_classes
        random = torch.randn(256, 3 * dims, generator=torch.Generator().manual_seed(0))
        self.images = scale * torch.linalg.qr(random).Q.T.reshape(3, dims, 256)

    @property
    def style_average(self):
        return torch.ones(self.images.shape[1])

    def sample_latents(self, num, *, generator=None):
        noise = randn(num, self.latent_dim, generator=generator)
        return torch.cat([noise, torch.eye(max(1, self.num_classes))[:1, : self.num_classes].expand(num, -1)], 1)

    def sample(self, num, *, labels=None, generator=None):
        return self.decode(self.sample_latents(num, generator=generator))

    def styles(self, latents):
        return (2 * latents + 1).unsqueeze(1).expand(-1, self.num_styles, -1)

    def decode_styles(self, styles):
        return torch.einsum("nld,ldp->np", styles, self.images).unflatten(1, SHAPE)

    def decode(self, latents):
        return self.decode_styles(truncated_styles(self, latents))


class Floats(Linear):
    """A random projection that takes floating-point images, too."""

    takes_floats = True

    def float_vectors(self, images):
        weight = torch.randn(images[0].numel(), 12, generator=torch.Generator().manual_seed(0)).double()
        return (images.flatten(1).double() @ weight).float()[:, :8]
