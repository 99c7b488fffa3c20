"""Training images per second of StyleGAN2, and speed and memory of FIR resampling.

StyleGAN2 is trained through the Trainer, in a bare PyTorch loop with the same networks and losses, and, if the package
stylegan2_pytorch is installed, in the same loop with that package's networks at a similar number of parameters. Images
are random and lie on the device. Both penalties are computed at their intervals (R1 16, path lengths 4). The loops take
turns; the table has the images per second of each turn and the medians, divided by that of the bare loop in the last
column, which should be at least 0.95 for the Trainer.

A second table compares FIR resampling, a depthwise convolution with the outer product of the taps, with naive forms:
milliseconds of forward and backward passes, and the memory that autograd keeps.

    python benchmarks/style.py
    python benchmarks/style.py --side 32 --channel_base 512
"""

import argparse
import statistics
from importlib.util import find_spec
from unittest.mock import patch

import torch
from rich.console import Console
from rich.table import Table
from through_trainer import WARM_UP, bare, descend, now, through_the_trainer
from torch import nn
from torch.nn import functional as F

from lightning_gen.cli.devices import default_device
from lightning_gen.cli.library_messages import filter_messages
from lightning_gen.losses.path_length import path_lengths
from lightning_gen.losses.penalties import r1_penalty
from lightning_gen.models.gans.style_gan2 import StyleGAN2
from lightning_gen.networks.fir import binomial_filter, downsample, upsample
from lightning_gen.types import Batch

LATENT_DIM = 64


def training_step(mapping, synthesis, discriminator, num_styles):
    """A bare step: D, R1 every 16 batches, G, path lengths every 4 batches on half of the batch.

    Args:
        mapping: (batch, latent) -> (batch, style).
        synthesis: (batch, layers, style) -> images.
        discriminator: images -> logits.
        num_styles: number of layers.
    """
    generator = nn.ModuleList([mapping, synthesis])
    generator_adam, discriminator_adam = (
        torch.optim.Adam(network.parameters(), 2e-3, (0.0, 0.99)) for network in (generator, discriminator)
    )
    state = {"batches": 0, "average": 0.0}

    def styles(num, device):
        first, second = (mapping(torch.randn(num, LATENT_DIM, device=device))[:, None] for _ in range(2))
        crossover = int(torch.randint(1, num_styles, ()))
        return torch.cat(
            [first.expand(-1, crossover, -1), second.expand(-1, num_styles - crossover, -1)],
            1,
        )

    def step(batch):
        real = batch.images
        fake = synthesis(styles(len(real), real.device))
        loss = F.softplus(-discriminator(real)).mean() + F.softplus(discriminator(fake.detach())).mean()
        if state["batches"] % 16 == 0:
            loss = loss + 16 * 0.5 * r1_penalty(lambda images: discriminator(images).flatten(), real)
        descend(loss, discriminator_adam)
        discriminator.requires_grad_(False)
        loss = F.softplus(-discriminator(fake)).mean()
        if state["batches"] % 4 == 0:
            mixed = styles(len(real) // 2, real.device)
            lengths = path_lengths(synthesis(mixed), mixed)
            state["average"] += 0.01 * (lengths.detach().mean() - state["average"])
            loss = loss + 4 * 2 * (lengths - state["average"]).square().mean()
        descend(loss, generator_adam)
        discriminator.requires_grad_(True)
        state["batches"] += 1

    return step


class Ours(nn.Module):
    """StyleGAN2's synthesis network with random noise, as in training."""

    def __init__(self, synthesis):
        super().__init__()
        self.synthesis = synthesis

    def forward(self, styles):
        return self.synthesis(styles, self.synthesis.draw_noise(len(styles)))


class Theirs(nn.Module):
    """The generator of stylegan2_pytorch, whose noise is one image for all layers."""

    def __init__(self, generator, side):
        super().__init__()
        self.generator, self.side = generator, side

    def forward(self, styles):
        return self.generator(styles, torch.rand(len(styles), self.side, self.side, 1, device=styles.device))


def stylegan2_pytorch_step(side, capacity, device):
    with patch("torch.cuda.is_available", return_value=True):  # the package refuses to be imported without a GPU
        from stylegan2_pytorch.stylegan2_pytorch import Discriminator, Generator, StyleVectorizer

    mapping = StyleVectorizer(LATENT_DIM, 2, lr_mul=0.1)
    generator = Generator(side, LATENT_DIM, network_capacity=capacity, fmap_max=64)
    discriminator = Discriminator(side, network_capacity=capacity, fmap_max=64)

    class Logits(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = discriminator

        def forward(self, images):
            return self.network(images)[0]

    networks = (mapping, Theirs(generator, side), Logits())
    parameters = sum(p.numel() for network in networks for p in network.parameters())
    return training_step(*(network.to(device) for network in networks), generator.num_layers), parameters


def our_step(model):
    network = model.network
    discriminator = nn.Sequential(model.discriminator, nn.Flatten(0))
    return training_step(network.mapping, Ours(network.synthesis), discriminator, model.num_styles)


def naive_upsample(images, taps):
    """Zeros inserted, padding, a convolution of all channels as images of their own."""
    batch, channels, height, width = images.shape
    zeros = F.pad(images[:, :, :, None, :, None], (0, 1, 0, 0, 0, 1)).reshape(batch, channels, 2 * height, 2 * width)
    padded = F.pad(zeros, (2, 1, 2, 1)).reshape(batch * channels, 1, 2 * height + 3, -1)
    return F.conv2d(padded, 4 * torch.outer(taps, taps)[None, None]).reshape(batch, channels, 2 * height, 2 * width)


def naive_downsample(images, taps):
    """A filter at the full resolution, of which every second sample is kept."""
    batch, channels, height, width = images.shape
    padded = F.pad(images, (1, 1, 1, 1)).reshape(batch * channels, 1, height + 2, width + 2)
    filtered = F.conv2d(padded, torch.outer(taps, taps)[None, None])[..., ::2, ::2]
    return filtered.reshape(batch, channels, height // 2, width // 2)


def dense_upsample(images, taps):
    """A full convolution whose weights between different channels are 0."""
    channels = images.shape[1]
    weight = 4 * torch.eye(channels, device=images.device)[:, :, None, None] * torch.outer(taps, taps)
    return F.conv_transpose2d(images, weight, stride=2, padding=1)


FORMS = {
    "upsample, depthwise (ours)": upsample,
    "upsample, zeros inserted, channel by channel": naive_upsample,
    "upsample, dense convolution": dense_upsample,
    "downsample, depthwise (ours)": downsample,
    "downsample, full resolution, channel by channel": naive_downsample,
}


def saved_bytes(function):
    """Bytes of the distinct tensors that autograd keeps for the backward pass of a function."""
    saved = {}

    def pack(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = function()
    del result
    return sum(saved.values())


def resampling_table(device, turns):
    images = torch.randn(32, 32, 32, 32, device=device, requires_grad=True)
    taps = binomial_filter(4).to(device)
    table = Table(title="FIR resampling of (32, 32, 32, 32): forward and backward passes")
    for column in ("", "milliseconds", "MiB kept for backward"):
        table.add_column(column, justify="right")
    for name, form in FORMS.items():
        seconds = []
        for i in range(turns + WARM_UP):
            start = now(device)
            torch.autograd.grad(form(images, taps).sum(), images)
            if i >= WARM_UP:
                seconds.append(now(device) - start)
        kept = saved_bytes(lambda form=form: form(images, taps)) / 2**20
        table.add_row(name, f"{1000 * statistics.median(seconds):.1f}", f"{kept:.1f}")
    return table


def run():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=16)
    parser.add_argument("--channel_base", type=int, default=512)
    parser.add_argument("--capacity", type=int, default=8, help="network_capacity of stylegan2_pytorch")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=48, help="a multiple of 16, for as many penalties in each turn")
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    filter_messages()
    device = torch.device(default_device())
    shape = (3, options.side, options.side)
    batches = [Batch(torch.rand(options.batch, *shape, device=device) * 2 - 1) for _ in range(4)]
    sizes = {"latent_dim": LATENT_DIM, "style_dim": LATENT_DIM, "mapping_layers": 2, "ema_half_life": None}

    def make_model():
        return StyleGAN2(image_shape=shape, channel_base=options.channel_base, channel_max=64, **sizes)

    parameters = {"bare loop": sum(p.numel() for p in make_model().parameters())}
    parameters["Trainer"] = parameters["bare loop"]
    rates = {name: [] for name in parameters}
    peer = find_spec("stylegan2_pytorch") is not None
    for _ in range(options.turns):
        torch.manual_seed(0)
        seconds = {
            "bare loop": bare(our_step(make_model().to(device)), batches, options.steps, device),
            "Trainer": through_the_trainer(make_model(), batches, options.steps),
        }
        if peer:
            step, parameters["stylegan2_pytorch"] = stylegan2_pytorch_step(options.side, options.capacity, device)
            seconds["stylegan2_pytorch"] = bare(step, batches, options.steps, device)
        for name, value in seconds.items():
            rates.setdefault(name, []).append(options.steps * options.batch / value)
    title = f"Training images per second, {options.side} x {options.side}, batch {options.batch}"
    table = Table(title=title)
    for column in ("", "parameters", *(f"turn {i + 1}" for i in range(options.turns)), "median", "ratio"):
        table.add_column(column, justify="right")
    reference = statistics.median(rates["bare loop"])
    for name, values in rates.items():
        median = statistics.median(values)
        row = (*(f"{value:.1f}" for value in values), f"{median:.1f}", f"{median / reference:.3f}")
        table.add_row(name, f"{parameters[name]:,}", *row)
    console = Console(width=120)
    console.print(table)
    if not peer:
        console.print("stylegan2_pytorch is not installed and was left out")
    console.print(resampling_table(device, 10 * options.turns))


if __name__ == "__main__":
    run()
