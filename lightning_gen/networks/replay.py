"""A pool of earlier generated images (Shrivastava et al. 2017, https://arxiv.org/abs/1612.07828, section 2.3).

The discriminator sees older images beside new ones, so that it does not forget, and the players oscillate less.
"""

import torch
from torch import Tensor, nn

from lightning_gen.checks import check_at_least
from lightning_gen.types import Images, ImageShape


class ReplayPool(nn.Module):
    """A pool of N images with the rule of CycleGAN (Zhu et al. 2017, https://arxiv.org/abs/1703.10593, section 4).

    Until the pool is full, each image is stored and returned. After that, an image is returned as it is with
    probability 1/2; otherwise it takes the place of a random stored one, which is returned. A stored image survives an
    image with probability 1 - 1/(2N), so the age of those returned is geometric with mean 2N images.

    The images and their number are buffers, so that a resumed run continues with the same pool. Random numbers are from
    torch's global generator of the images' device; nothing waits for the device.

    Args:
        size: number N of images; 0: every image is returned as it is.
        image_shape: (channels, height, width).
    """

    images: Tensor
    count: Tensor

    def __init__(self, size: int, image_shape: ImageShape) -> None:
        super().__init__()
        check_at_least(0, pool_size=size)
        self.size = size
        self.register_buffer("images", torch.zeros(size, *image_shape), persistent=size > 0)
        self.register_buffer("count", torch.zeros(1, dtype=torch.int64), persistent=size > 0)

    @torch.no_grad()
    def forward(self, images: Images) -> Images:
        """Exchange new images for images of the pool, one after the other; the result has no graph."""
        if self.size == 0:
            return images.detach()
        swaps = torch.rand(len(images), 1, device=images.device) < 0.5
        slots = torch.randint(self.size, (len(images), 1), device=images.device)
        returned = []
        for new, swap, random_slot in zip(images.detach().split(1), swaps, slots, strict=True):
            full = self.count >= self.size
            slot = torch.where(full, random_slot, self.count)
            stored = self.images.index_select(0, slot).to(new.dtype)
            replace = (swap & full)[:, None, None, None]
            kept = (full & ~swap)[:, None, None, None]
            self.images.index_copy_(0, slot, torch.where(kept, stored, new).to(self.images.dtype))
            self.count += ~full
            returned.append(torch.where(replace, stored, new))
        return torch.cat(returned)
