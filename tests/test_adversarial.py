"""The alternating step: whose turn it is, what it leaves alone, and what it counts."""

import math

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.optim import SGD

from lightning_gen.errors import InputError
from lightning_gen.losses.adversarial import non_saturating_discriminator_loss, non_saturating_generator_loss
from lightning_gen.models.adversarial import AdversarialModule, frozen, split
from lightning_gen.models.gans.dcgan import DCGAN
from lightning_gen.networks.dcgan import DCGANBody, DCGANDecoder
from lightning_gen.noise import randn
from lightning_gen.types import Batch, Loss
from tests.helpers import loader, trainer


class Plain(AdversarialModule):
    """A GAN of linear layers under SGD: no BatchNorm, so that a step can be computed by hand."""

    def __init__(self, scale: float = 1.0, **kwargs) -> None:
        super().__init__(image_shape=(1, 16, 16), **kwargs)
        self.scale = scale
        self.set_network(nn.Sequential(nn.Linear(4, 256), nn.Tanh(), nn.Unflatten(1, (1, 16, 16))))
        self.discriminator = nn.Sequential(nn.Flatten(), nn.Linear(256, 1), nn.Flatten(0))
        self.turns: list[str] = []

    @property
    def generator(self):
        return self.network

    def generators(self):
        return [self.generator]

    def discriminators(self):
        return [self.discriminator]

    def configure_optimizers(self):
        return self.with_lr_schedule(
            *(SGD(player.parameters(), 0.1) for player in (self.generator, self.discriminator))
        )

    def generate(self, batch):
        return self.generator(randn(len(batch.images), 4, generator=torch.Generator().manual_seed(len(self.turns))))

    def discriminator_loss(self, batch, fakes):
        assert not fakes.requires_grad
        self.turns.append("d")
        total = self.scale * non_saturating_discriminator_loss(
            self.discriminator(batch.images), self.discriminator(fakes)
        )
        return Loss(total, {"discriminator": total})

    def generator_loss(self, batch, fakes):
        assert not any(p.requires_grad for p in self.discriminator.parameters())
        self.turns.append("g")
        total = self.scale * non_saturating_generator_loss(self.discriminator(fakes))
        return Loss(total, {"generator": total})


def fit(model: Plain, num: int = 4, **options) -> pl.Trainer:
    run = trainer(**options)
    run.fit(model, loader(num))
    return run


def test_the_generator_steps_once_in_n_critic_batches_and_batches_are_counted():
    model = Plain(n_critic=5)
    run = fit(model, num=12)
    assert "".join(model.turns) == "dddddgdddddgdd"
    assert run.global_step == model.batches_seen == 12
    assert model.images_seen == 96


def test_n_critic_goes_on_across_epochs():
    model = Plain(n_critic=3)
    fit(model, num=4, max_epochs=3)
    assert "".join(model.turns) == "dddg" * 4


def test_a_step_equals_the_one_computed_by_hand():
    torch.manual_seed(0)
    model, twin = Plain(), Plain()
    twin.load_state_dict(model.state_dict())
    fit(model, num=1)
    batch = next(iter(loader(1)))
    fakes = twin.generate(batch)
    optimizers = [SGD(player.parameters(), 0.1) for player in (twin.generator, twin.discriminator)]
    d_loss = non_saturating_discriminator_loss(twin.discriminator(batch.images), twin.discriminator(fakes.detach()))
    d_loss.backward()
    optimizers[1].step()
    optimizers[0].zero_grad()
    non_saturating_generator_loss(twin.discriminator(fakes)).backward()
    optimizers[0].step()
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value)


def test_accumulated_parts_equal_the_large_batch():
    torch.manual_seed(0)
    whole = DCGAN((1, 16, 16), width=4, latent_dim=6)
    strip_batch_norm(whole)
    parts = DCGAN((1, 16, 16), width=4, latent_dim=6, accumulate=4)
    strip_batch_norm(parts)
    parts.load_state_dict(whole.state_dict())
    noise = torch.randn(8, 6)

    def generate(model):
        drawn = iter(torch.cat([noise] * 4).split(8 // model.accumulate))  # the same noise in both players' turns
        return lambda batch: model.generator(next(drawn))

    for model in (whole, parts):
        model.generate = generate(model)
        model.configure_optimizers = lambda model=model: [
            SGD(p.parameters(), 0.1) for p in (model.generator, model.discriminator)
        ]
        trainer().fit(model, loader(1))
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], value, atol=1e-6, rtol=1e-5)


def strip_batch_norm(model: DCGAN) -> None:
    for network in model.modules():
        if isinstance(network, DCGANBody | DCGANDecoder):
            network.layers = nn.Sequential(
                *(layer for layer in network.layers if not isinstance(layer, nn.BatchNorm2d))
            )


def test_clipping_bounds_the_gradient_that_the_optimizer_sees():
    norms = []

    class Spy(pl.Callback):
        def on_train_batch_end(self, trainer, module, *args):
            for player in (module.generator, module.discriminator):
                norms.append(torch.cat([p.grad.flatten() for p in player.parameters()]).norm().item())

    fit(Plain(scale=1000.0, clip=0.5), callbacks=[Spy()])
    assert norms == pytest.approx([0.5] * 8, abs=1e-4)


def test_clipping_comes_after_the_scaler_of_fp16_has_been_undone():
    """With a scale of 65536 a clip before unscaling would leave gradients of norm 0.5 / 65536."""
    norms = []

    class Spy(pl.Callback):
        def on_before_optimizer_step(self, trainer, module, optimizer):
            module.on_before_optimizer_step(optimizer)
            norms.append(
                torch.cat([p.grad.flatten() for g in optimizer.param_groups for p in g["params"]]).norm().item()
            )

    scaler = torch.amp.GradScaler("cpu", init_scale=65536.0)
    plugin = pl.plugins.MixedPrecision("16-mixed", "cpu", scaler)
    model = Plain(scale=3.0, clip=0.5)
    fit(model, num=6, plugins=[plugin], callbacks=[Spy()])
    finite = [norm for norm in norms if norm == norm]  # where the scale overflows, the scaler skips the step
    assert len(finite) >= 6
    assert finite == pytest.approx([0.5] * len(finite), abs=1e-3)
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_fp16_training_stays_finite_over_200_steps():
    torch.manual_seed(0)
    model = DCGAN((1, 16, 16), width=4, latent_dim=6)
    plugin = pl.plugins.MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))
    run = trainer(plugins=[plugin])
    run.fit(model, loader(200))
    assert run.global_step == 200
    assert all(torch.isfinite(p).all() for p in model.parameters())


@pytest.mark.parametrize("n_critic", [1, 2])
def test_the_linear_schedule_is_stepped_once_a_batch(n_critic):
    rates = []

    class Spy(pl.Callback):
        def on_train_batch_start(self, trainer, module, *args):
            rates.append([optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers])

    fit(Plain(lr_schedule="linear", n_critic=n_critic), num=4, max_epochs=2, callbacks=[Spy()])
    expected = [[0.1 * (1 - i / 8)] * 2 for i in range(8)]
    assert rates == [pytest.approx(pair) for pair in expected]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"lr_schedule": "linear", "decay_start": 0.5}, [1, 1, 0.5, 0]),
        ({"lr_schedule": "linear"}, [1, 0.5, 0.25, 0]),
        ({"lr_schedule": "cosine"}, [1, 0.5, (1 - math.sqrt(0.5)) / 2, 0]),
        ({"lr_schedule": "step"}, [1, 1 / 8, 1 / 16, 1 / 16]),
        ({}, [1, 1, 1, 1]),
    ],
)
def test_schedules_at_the_start_half_three_quarters_and_the_end(options, expected):
    assert [Plain(**options).decay(progress) for progress in (0, 0.5, 0.75, 1)] == pytest.approx(expected)


def test_the_rate_of_constant_then_linear_over_a_run():
    rates = []

    class Spy(pl.Callback):
        def on_train_batch_start(self, trainer, *_):
            rates.append([optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers])

    fit(Plain(lr_schedule="linear", decay_start=0.5), num=4, max_epochs=2, callbacks=[Spy()])
    base = rates[0]
    factors = [[rate / start for rate, start in zip(row, base, strict=True)] for row in rates]
    assert factors == [pytest.approx(row) for row in [[1, 1]] * 5 + [[0.75, 0.75], [0.5, 0.5], [0.25, 0.25]]]


def test_a_constant_schedule_has_no_decay_to_delay():
    with pytest.raises(InputError, match=r"decay_start is 0\.5"):
        Plain(decay_start=0.5)


def test_a_linear_schedule_needs_an_end():
    with pytest.raises(InputError, match="max_epochs"):
        fit(Plain(lr_schedule="linear"), max_epochs=-1, max_time="00:00:00:01")


def test_requires_grad_is_restored_even_after_an_error():
    network = nn.Linear(2, 2)
    network.bias.requires_grad_(False)
    with frozen([network]):
        assert not network.weight.requires_grad
    with pytest.raises(ZeroDivisionError), frozen([network]):
        _ = 1 / 0
    assert network.weight.requires_grad
    assert not network.bias.requires_grad


def test_split_keeps_order_and_labels():
    batch = Batch(torch.arange(8.0).view(8, 1, 1, 1), torch.arange(8))
    parts = split(batch, 4)
    assert torch.equal(torch.cat([part.images for part in parts]), batch.images)
    assert torch.equal(torch.cat([part.labels for part in parts]), batch.labels)
    with pytest.raises(InputError, match="accumulate"):
        split(batch, 3)


@pytest.mark.parametrize("bad", [{"n_critic": 0}, {"accumulate": 0}, {"clip": 0.0}, {"ema_half_life": 0.0}])
def test_bad_values_are_named(bad):
    with pytest.raises(InputError, match=f"model.{next(iter(bad))}"):
        DCGAN((1, 16, 16), **bad)


def test_the_papers_initialisation_and_layers():
    torch.manual_seed(0)
    model = DCGAN((3, 64, 64), width=64)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    for layer in convolutions:
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-5, 0.1)}
    assert [m.out_channels for m in model.generator.modules() if isinstance(m, nn.ConvTranspose2d)] == [
        512,
        256,
        128,
        64,
        3,
    ]
    assert [m.out_channels for m in model.discriminator.modules() if isinstance(m, nn.Conv2d)] == [64, 128, 256, 512]
    # the last convolution's kernel is as large as its map: a linear layer
    assert model.discriminator.head.weight.shape == (1, 512 * 4 * 4)
    assert model.discriminator.head.weight.std().item() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("shape", [(1, 7, 7), (1, 129, 129), (3, 32, 16)])
def test_sizes_that_the_network_cannot_make_are_refused(shape):
    with pytest.raises(InputError, match=f"{shape[1]} x {shape[2]}"):
        DCGAN(shape, width=2)
