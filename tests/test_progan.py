"""Models whose networks grow: the schedule, what it changes in training, and samples on the way."""

import math

import pytest
import pytorch_lightning as pl
import torch

from lightning_gen.errors import InputError
from lightning_gen.models.gans.pro_gan import ProGAN
from lightning_gen.models.gans.progressive_growth import level_after
from lightning_gen.models.gans.style_gan import StyleGAN
from lightning_gen.networks.progressive import at_level, upsample_nearest
from tests.helpers import loader, trainer


def test_the_level_after_a_number_of_images():
    """From 4 to 16 pixels with 100 stable and 50 fading images: fades from 100 to 150 and from 250 to 300."""
    known = {0: 0, 99: 0, 100: 0, 110: 0.2, 149: 0.98, 150: 1, 250: 1, 275: 1.5, 300: 2, 10**9: 2}
    assert {images: level_after(images, 0, 2, 100, 50) for images in known} == pytest.approx(known)
    assert [level_after(images, 1, 2, 100, 0) for images in (0, 99, 100, 500)] == [1, 1, 2, 2]
    assert level_after(0, 2, 2, 100, 50) == 2


SMALL = {"channel_base": 64, "channel_max": 8, "latent_dim": 6}
STYLED = {**SMALL, "style_dim": 5, "mapping_layers": 2, "start_side": 4}


class Spy(pl.Callback):
    """Records, after each batch, the level of the batch and the number of Adam's steps of each player."""

    def __init__(self) -> None:
        self.levels: list[float] = []
        self.steps: list[set[int]] = []

    def on_train_batch_start(self, trainer, module, *_):
        self.levels.append(module.level)

    def on_train_batch_end(self, trainer, module, *_):
        self.steps.append({int(s["step"]) for optimizer in trainer.optimizers for s in optimizer.state.values()})


def test_the_moments_of_both_players_are_reset_at_each_new_resolution():
    spy = Spy()
    model = ProGAN((1, 16, 16), stable_images=16, fading_images=16, **SMALL)
    trainer(callbacks=[spy]).fit(model, loader(9))
    assert spy.levels == [0, 0, 0, 0.5, 1, 1, 1, 1.5, 2]
    # the images' convolutions of level 0 are last used in the fade to level 1: their count stays at 1
    assert spy.steps == [{1}, {2}, {3}, {1}, {1, 2}, {1, 3}, {1, 4}, {1}, {1, 2}]


def test_resuming_in_the_middle_of_a_resolution_does_not_reset_the_moments(tmp_path):
    options = {"stable_images": 16, "fading_images": 16, **SMALL}
    first, second = Spy(), Spy()
    run = trainer(callbacks=[first])
    run.fit(ProGAN((1, 16, 16), **options), loader(5))
    run.save_checkpoint(tmp_path / "a.ckpt")
    resumed = ProGAN((1, 16, 16), **options)
    trainer(callbacks=[second], max_epochs=2).fit(resumed, loader(5), ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert max(first.steps[-1]) == 2
    assert second.levels[0] == 1
    assert max(second.steps[0]) == 3


def test_real_and_generated_images_have_the_detail_of_the_level():
    seen = []

    class Recorded(ProGAN):
        def discriminator_loss(self, batch, fakes):
            seen.append((self.level, batch.images, fakes))
            return super().discriminator_loss(batch, fakes)

    trainer().fit(Recorded((1, 16, 16), stable_images=8, fading_images=16, **SMALL), loader(8))
    assert [level for level, *_ in seen] == [0, 0, 0.5, 1, 1, 1.5, 2, 2]
    for (level, real, fake), original in zip(seen, loader(8), strict=True):
        torch.testing.assert_close(real, at_level(original.images, level, 2))
        torch.testing.assert_close(fake, at_level(fake, math.ceil(level), 2))


@pytest.mark.parametrize("model", [ProGAN((1, 16, 16), **SMALL), StyleGAN((1, 16, 16), **STYLED)])
def test_samples_during_growth_are_upsampled_images_of_the_current_resolution(model):
    for images_seen, factor in ((0, 4), (model.stable_images + model.fading_images, 2), (10**9, 1)):
        model.images_seen = images_seen
        for images in (model.sample(2), model.decode(model.sample_latents(2))):
            assert images.shape == (2, 1, 16, 16)
            assert torch.equal(images, upsample_nearest(images[:, :, ::factor, ::factor], factor))
            assert images.unfold(2, 4, 4).unfold(3, 4, 4).std((4, 5)).max() > 0 or factor == 4


def test_styles_are_mixed_among_the_layers_in_use():
    model = StyleGAN((1, 16, 16), style_mixing=1.0, **STYLED)
    batch = next(iter(loader(1)))
    for images_seen, expected in ((0, {1}), (10**9, {1, 2, 3, 4, 5})):
        model.images_seen = images_seen
        crossovers = set()
        for seed in range(60):
            torch.manual_seed(seed)
            styles = model.mixed_styles(batch)[0]
            crossovers.add(1 + int((styles[1:] != styles[:-1]).any(1).int().argmax()))
        assert crossovers == expected


def test_the_drift_is_the_mean_square_of_real_logits():
    real, fake = torch.randn(9), torch.randn(9)
    drifting = ProGAN((1, 16, 16), drift=0.5, **SMALL).objective.discriminator_loss(real, fake)
    assert drifting == pytest.approx((fake.mean() - real.mean() + 0.5 * (real**2).mean()).item())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start_side": 12}, "start_side is 12; it must be one of 4, 8, 16"),
        ({"stable_images": 0}, "stable_images is 0"),
        ({"fading_images": -1}, "fading_images is -1"),
        ({"drift": -1.0}, "drift is -1"),
        ({"image_shape": (1, 12, 12)}, "12 x 12"),
    ],
)
def test_invalid_values_are_named(options, message):
    with pytest.raises(InputError, match=message):
        ProGAN(**{"image_shape": (1, 16, 16), **SMALL, **options})
