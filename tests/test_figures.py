"""Learning rates, gradient norms and speed, which are logged beside the losses."""

import csv
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Callback

from lightning_gen.callbacks.figures import TrainingFigures, gradient_norm, learning_rates
from lightning_gen.callbacks.players import num_parameters, players
from lightning_gen.errors import InputError
from lightning_gen.loggers import RunCSVLogger
from lightning_gen.models import DCGAN, VAE, WGAN
from tests.helpers import loader, trainer

SHAPE = (1, 16, 16)


def vae(**options) -> VAE:
    torch.manual_seed(0)
    return VAE(SHAPE, latent_dim=4, network="mlp", hidden=(16,), **options)


def rows_after(folder: Path, model, *callbacks, **options) -> list[dict[str, float]]:
    """The rows of the figures of a fit of six batches."""
    logger = RunCSVLogger(folder)
    trainer(callbacks=list(callbacks), logger=logger, **{"log_every_n_steps": 2, **options}).fit(model, loader(6))
    logger.finalize("success")
    with (folder / "metrics.csv").open() as file:
        rows = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
    return [row for row in rows if any(name.startswith(("loss", "learning", "speed", "gradient")) for name in row)]


class Norms(Callback):
    """The norms of the gradients of each step, by the learning rate of its optimizer."""

    def __init__(self) -> None:
        self.all: dict[float, list[float]] = {}

    def on_before_optimizer_step(self, trainer, module, optimizer) -> None:
        gradients = [p.grad.flatten() for group in optimizer.param_groups for p in group["params"]]
        norm = torch.cat(gradients).double().norm().item()
        self.all.setdefault(optimizer.param_groups[0]["lr"], []).append(norm)


def test_figures_of_both_players_are_in_the_rows_of_the_losses(tmp_path):
    norms, model = Norms(), DCGAN(SHAPE, latent_dim=4, width=4, generator_lr=1e-3, discriminator_lr=2e-3)
    rows = rows_after(tmp_path, model, norms, TrainingFigures())
    assert len(rows) == 3
    for index, row in enumerate(rows):
        assert row["images_seen"] == 16 * (index + 1)
        assert "loss/generator" in row
        for player, rate in (("generator", 1e-3), ("discriminator", 2e-3)):
            assert row[f"learning_rate/{player}"] == pytest.approx(rate)
            # of the first step since the last row
            assert row[f"gradient_norm/{player}"] == pytest.approx(norms.all[rate][2 * index], rel=1e-5)
        assert row["speed/images_per_second"] > 0
    seconds = [row["speed/seconds"] for row in rows]
    assert seconds == sorted(seconds)


def test_a_player_that_takes_no_step_in_the_batch_of_a_row_has_its_newest_norm(tmp_path):
    rows = rows_after(tmp_path, WGAN(SHAPE, latent_dim=4, width=4, n_critic=3), TrainingFigures(), log_every_n_steps=4)
    assert len(rows) == 1
    assert rows[0]["gradient_norm/generator"] > 0


def test_norms_are_of_the_gradient_before_clipping(tmp_path):
    free, clipped = Norms(), TrainingFigures()
    rows = rows_after(tmp_path, vae(), free, clipped, gradient_clip_val=1e-3)
    [norms] = free.all.values()
    assert [row["gradient_norm/network"] for row in rows] == pytest.approx(norms[::2], rel=1e-5)
    assert min(norms) > 1e-3


def test_a_schedule_is_visible(tmp_path):
    rows = rows_after(tmp_path, vae(lr=0.01, lr_schedule="linear"), TrainingFigures())
    assert [row["learning_rate/network"] for row in rows] == pytest.approx([0.01 * (1 - n / 6) for n in (2, 4, 6)])


def test_accumulated_batches_have_one_row_per_step(tmp_path):
    rows = rows_after(tmp_path, vae(), TrainingFigures(), log_every_n_steps=1, accumulate_grad_batches=3)
    assert [row["images_seen"] for row in rows] == [24, 48]
    assert all(row["gradient_norm/network"] > 0 for row in rows)


@pytest.mark.parametrize("option", ["learning_rates", "gradient_norms", "speed"])
def test_each_figure_can_be_switched_off(tmp_path, option):
    rows = rows_after(tmp_path, vae(), TrainingFigures(**{option: False}))
    prefixes = {name.partition("/")[0] for row in rows for name in row if "/" in name} - {"loss"}
    every = {"learning_rates": "learning_rate", "gradient_norms": "gradient_norm", "speed": "speed"}
    assert prefixes == set(every.values()) - {every[option]}


def test_training_is_the_same_with_figures(tmp_path):
    states = []
    for callbacks in ((), (TrainingFigures(),)):
        model = vae()
        rows_after(tmp_path / str(len(callbacks)), model, *callbacks)
        states.append(model.state_dict())
    assert all(states[0][name].equal(value) for name, value in states[1].items())


def test_the_duration_goes_on_in_a_resumed_run():
    figures = TrainingFigures()
    figures.load_state_dict({"seconds": 100})
    assert figures.state_dict() == {"seconds": 100.0}
    figures.stopwatch.start()
    assert 100 < figures.seconds < 110


@pytest.mark.parametrize("value", [-1, "long", None, float("nan"), float("inf")])
def test_a_damaged_duration_is_refused(value):
    with pytest.raises(InputError, match="seconds"):
        TrainingFigures().load_state_dict({"seconds": value})


def test_groups_of_parameters_have_a_rate_each():
    weights = [torch.zeros(1, requires_grad=True) for _ in range(3)]
    groups = [{"params": weights[:1]}, {"params": weights[1:2], "lr": 0.2}, {"params": weights[2:], "name": "prior"}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    assert learning_rates(optimizer, "network") == {
        "learning_rate/network": 0.1,
        "learning_rate/network_2": 0.2,
        "learning_rate/network_prior": 0.1,
    }
    weights[0].grad, weights[2].grad = torch.tensor([3.0]), torch.tensor([4.0])
    assert gradient_norm(optimizer) == 5


def test_players_and_their_parameters():
    model = DCGAN(SHAPE, latent_dim=4, width=4)
    assert {name: num_parameters(networks) for name, networks in players(model).items()} == {
        "generator": sum(p.numel() for p in model.network.parameters()),
        "discriminator": sum(p.numel() for p in model.discriminator.parameters()),
    }
    shared = torch.nn.Linear(2, 1)
    shared.bias.requires_grad_(False)
    assert num_parameters([shared, torch.nn.Sequential(shared)]) == 2
    assert list(players(vae())) == ["network"]
