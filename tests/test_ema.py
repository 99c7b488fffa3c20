"""The moving average: its closed form, its way through a checkpoint, its use in sampling."""

import pytest
import torch
from torch import nn

from lightning_gen.models.checkpoint import load_model
from lightning_gen.models.ema import ImageEMA
from lightning_gen.models.gans.dcgan import DCGAN
from lightning_gen.noise import image_generators
from tests.helpers import loader, trainer


def test_closed_form_after_k_steps():
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    ema = ImageEMA(network, half_life=64)
    expected = network.weight.detach().clone()
    for _ in range(10):
        network.weight.data = torch.randn(2, 3)
        expected = 0.25 * expected + 0.75 * network.weight.detach()
        ema.update(network, ema.decay(images=128, images_seen=10**9))
    torch.testing.assert_close(ema.module.weight, expected)
    assert ema.n_averaged == 10


def test_half_life_is_in_images_whatever_the_batch_size():
    ema = ImageEMA(nn.Linear(1, 1), half_life=1000)
    for batch in (1, 10, 250):
        assert ema.decay(batch, 10**9) ** (1000 / batch) == pytest.approx(0.5)


def test_the_first_weights_are_soon_forgotten():
    network = nn.Linear(1, 1)
    ema = ImageEMA(network, half_life=1e6, ramp_up=0.05)
    network.weight.data.fill_(5.0)
    for step in range(1, 11):
        ema.update(network, ema.decay(32, 32 * step))
    assert ema.module.weight.item() == pytest.approx(5.0, abs=1e-3)


def test_running_statistics_are_averaged_and_counters_copied():
    network = nn.BatchNorm1d(2)
    ema = ImageEMA(network, half_life=64)
    network(torch.randn(8, 2) + 3)
    ema.update(network, 0.5)
    torch.testing.assert_close(ema.module.running_mean, 0.5 * network.running_mean)
    assert ema.module.num_batches_tracked == 1


def test_the_average_is_sampled_saved_and_loaded(tmp_path):
    torch.manual_seed(0)
    model = DCGAN((1, 16, 16), width=4, latent_dim=6, ema_half_life=500.0)
    fit = trainer(max_epochs=3)
    fit.fit(model, loader())
    averaged, raw = (sample(model, use_ema) for use_ema in (True, False))
    assert not torch.equal(averaged, raw)
    with torch.no_grad():
        latents = model.sample_latents(4, generator=image_generators(0, range(4)))
        assert torch.equal(averaged, model.ema.module.eval()(latents))
    fit.save_checkpoint(tmp_path / "a.ckpt")
    again = load_model(tmp_path / "a.ckpt")
    assert torch.equal(sample(again, True), averaged)
    assert torch.equal(sample(again, False), raw)
    assert not any(p.requires_grad for p in again.ema.parameters())


def sample(model: DCGAN, use_ema: bool) -> torch.Tensor:
    model.use_ema = use_ema
    return model.sample(4, generator=image_generators(0, range(4)))
