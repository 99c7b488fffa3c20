"""The loss of held-out images: one line per pass, the mean over all images."""

import pytest
import torch

from lightning_gen.models import VAE
from lightning_gen.models.base import DescentModule
from lightning_gen.noise import mix_seed, seed_global
from tests.helpers import Batches, loader, trainer


def test_the_mean_over_all_images_is_logged_once_per_pass(monkeypatch):
    torch.manual_seed(0)
    model = VAE((1, 16, 16), latent_dim=4, network="mlp", hidden=(16,))
    batches = [*Batches(2), *Batches(1, size=3, first=5)]
    expected = 0.0
    for index, batch in enumerate(batches):
        seed_global(mix_seed("held out", 0, index), model.device)
        expected += float(model.eval().loss(batch).total.detach()) * len(batch.images)
    calls, log_terms = [], DescentModule.log_terms

    def spy(self, prefix, *args, **options):
        calls.append(prefix)
        log_terms(self, prefix, *args, **options)

    monkeypatch.setattr(DescentModule, "log_terms", spy)
    run = trainer()
    for _ in range(2):
        [logged] = run.validate(model, torch.utils.data.DataLoader(batches, batch_size=None), verbose=False)
        assert logged["val_loss/total"] == pytest.approx(expected / 19, rel=1e-5)
    [logged] = run.test(model, loader(1), verbose=False)
    assert set(logged) == {f"test_loss/{name}" for name in ("reconstruction", "kl", "elbo", "total")} | {"images_seen"}
    assert calls == ["val_loss", "val_loss", "test_loss"]
