"""Training images per second of Pix2Pix and CycleGAN through the Trainer, against bare PyTorch loops.

Both train the same networks with the same losses, optimizers and batches: random images that lie on the device. A loop
takes the discriminators' step and then the generators', with the same translations, and computes no gradient that it
does not need. The Trainer logs to a CSV file; pictures, checkpoints and scores are switched off. The two take turns;
the table has the images per second of each turn, the medians and their ratio, which should be at least 0.95.

    python benchmarks/translation.py                                # 64 x 64 pixels, width 32, batches of 4
    python benchmarks/translation.py --side 256 --width 64 --batch 1
"""

import argparse
import statistics

import torch
from rich.console import Console
from rich.table import Table
from through_trainer import bare, descend, through_the_trainer
from torch.nn import functional as F

from lightning_gen.cli.devices import default_device
from lightning_gen.cli.library_messages import filter_messages
from lightning_gen.models.translation.cyclegan import CycleGAN
from lightning_gen.models.translation.pix2pix import Pix2Pix
from lightning_gen.types import Batch


def adam(*networks):
    return torch.optim.Adam([p for network in networks for p in network.parameters()], 2e-4, (0.5, 0.999))


def pix2pix_step(model):
    generator, discriminator = model.network, model.discriminator
    generator_adam, discriminator_adam = adam(generator), adam(discriminator)

    def step(batch):
        fake = generator(batch.inputs)
        real_logits = discriminator(torch.cat([batch.inputs, batch.images], 1))
        fake_logits = discriminator(torch.cat([batch.inputs, fake.detach()], 1))
        descend((F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()) / 2, discriminator_adam)
        discriminator.requires_grad_(False)
        logits = discriminator(torch.cat([batch.inputs, fake], 1))
        descend(F.softplus(-logits).mean() + 100 * F.l1_loss(fake, batch.images), generator_adam)
        discriminator.requires_grad_(True)

    return step


def cyclegan_step(model):
    forward, backward = model.forward_generator, model.backward_generator
    image_critic, input_critic = model.image_discriminator, model.input_discriminator
    generator_adam, discriminator_adam = adam(forward, backward), adam(image_critic, input_critic)

    def step(batch):
        x, y = batch.inputs, batch.images
        fake_y, fake_x = forward(x), backward(y)
        loss = sum(
            ((critic(real) - 1).square().mean() + critic(pool(fake.detach())).square().mean()) / 2
            for critic, real, pool, fake in (
                (image_critic, y, model.image_pool, fake_y),
                (input_critic, x, model.input_pool, fake_x),
            )
        )
        descend(loss, discriminator_adam)
        for critic in (image_critic, input_critic):
            critic.requires_grad_(False)
        adversarial = (image_critic(fake_y) - 1).square().mean() + (input_critic(fake_x) - 1).square().mean()
        cycle = F.l1_loss(backward(fake_y), x) + F.l1_loss(forward(fake_x), y)
        identity = F.l1_loss(forward(y), y) + F.l1_loss(backward(x), x)
        descend(adversarial + 10 * cycle + 5 * identity, generator_adam)
        for critic in (image_critic, input_critic):
            critic.requires_grad_(True)

    return step


STEPS = {Pix2Pix: pix2pix_step, CycleGAN: cyclegan_step}
"""How a bare loop trains each model."""


def run():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    filter_messages()
    device = torch.device(default_device())
    shape = (3, options.side, options.side)
    images = torch.rand(4, 2, options.batch, *shape, device=device) * 2 - 1
    batches = [Batch(targets, inputs=inputs) for targets, inputs in images]
    title = f"Training images per second, {options.side} x {options.side}, width {options.width}, batch {options.batch}"
    table = Table(title=title)
    for column in ("", *(f"turn {i + 1}" for i in range(options.turns)), "median", "ratio"):
        table.add_column(column, justify="right")
    for kind, make_step in STEPS.items():
        rates = {f"{kind.__name__}, Trainer": [], f"{kind.__name__}, bare loop": []}
        for _ in range(options.turns):
            torch.manual_seed(0)
            size = {"width": options.width, "discriminator_width": options.width}
            trained, bare_model = (kind(image_shape=shape, input_shape=shape, **size) for _ in range(2))
            seconds = (
                through_the_trainer(trained, batches, options.steps),
                bare(make_step(bare_model.to(device)), batches, options.steps, device),
            )
            for values, value in zip(rates.values(), seconds, strict=True):
                values.append(options.steps * options.batch / value)
        medians = [statistics.median(values) for values in rates.values()]
        ratios = (f"{medians[0] / medians[1]:.3f}", "")
        for (name, values), median, ratio in zip(rates.items(), medians, ratios, strict=True):
            table.add_row(name, *(f"{value:.2f}" for value in values), f"{median:.2f}", ratio)
    Console(width=120).print(table)


if __name__ == "__main__":
    run()
