"""The watchdog in training: provoked failures, healthy runs, actions, isolation."""

import csv
import math
from pathlib import Path
from unittest.mock import Mock

import pytest
import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.loggers.logger import Logger

from lightning_gen.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
from lightning_gen.callbacks.fidelity import Fidelity
from lightning_gen.callbacks.watchdog import Watchdog
from lightning_gen.data import ImageData
from lightning_gen.errors import InputError
from lightning_gen.evaluation.extractor import Extractor, Features
from lightning_gen.logger_types import AlertLogger
from lightning_gen.loggers import RunCSVLogger, WandbRunLogger
from lightning_gen.models.adversarial import AdversarialModule
from lightning_gen.models.autoencoders.vae import VAE
from lightning_gen.models.gans.dcgan import DCGAN
from lightning_gen.types import Loss, TwoPlayers
from tests.cases import CASES
from tests.helpers import loader, on_ranks, trainer

CONFIGS = Path(__file__).parent.parent / "configs"
ADVERSARIAL = [case for case in CASES if issubclass(case.model, AdversarialModule) and case.scale is None]
TINY = {"image_shape": (1, 16, 16), "width": 4, "latent_dim": 6}
SMALL = {"image_shape": (1, 16, 16), "width": 16, "latent_dim": 16}
GOOD_RATES = {"generator_lr": 1e-3, "discriminator_lr": 2e-3}


@pytest.fixture(autouse=True)
def _one_thread():
    """One thread: small networks gain nothing from a second, and results are the same on every machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# ---- real runs


def watch(model: pl.LightningModule, folder: Path, watchdog: Watchdog, *callbacks, batches: int = 200, **options):
    """Train on the digits."""
    pl.seed_everything(0, verbose=False)
    data = ImageData("digits", root=str(folder), image_size=16, batch_size=32)
    runner = trainer(
        callbacks=[watchdog, *callbacks],
        max_steps=batches,
        max_epochs=-1,
        default_root_dir=folder,
        use_distributed_sampler=False,
        **{"enable_checkpointing": any(isinstance(callback, LastCheckpoint) for callback in callbacks), **options},
    )
    runner.fit(model, data)
    return runner


def healthy(model: pl.LightningModule, folder: Path, batches: int = 200) -> list[str]:
    """The messages of the watchdog in a run that should have none."""
    watchdog = Watchdog()
    watch(model, folder, watchdog, batches=batches)
    return [report.line for report in watchdog.reports]


def failures(model: pl.LightningModule, folder: Path) -> list[str]:
    watchdog = Watchdog()
    watch(model, folder, watchdog)
    return [report.failure for report in watchdog.reports]


class Collapsing(DCGAN):
    """The generator is rewarded for samples that are alike."""

    def generator_loss(self, batch, fakes):
        total, terms = super().generator_loss(batch, fakes)
        return Loss(total + 10 * (fakes - fakes.mean(0)).flatten(1).norm(dim=1).mean(), terms)


class TakingTurns(DCGAN):
    """The players step in turn for ten batches each, with learning rates that make them overshoot each other."""

    def on_train_batch_start(self, batch, batch_idx):
        turn = self.batches_seen // 10 % 2
        for i, optimizer in enumerate(self.trainer.optimizers):
            optimizer.param_groups[0]["lr"] = 5e-3 * (i == turn)


HEALTHY = [{**SMALL, **GOOD_RATES, "ema_half_life": 2000.0}, SMALL, {**TINY, "n_critic": 2, "clip": 1.0}]


@pytest.mark.parametrize("options", HEALTHY, ids=["good rates", "the paper's rates", "tiny"])
def test_it_is_silent_over_a_healthy_run(tmp_path, options):
    torch.manual_seed(0)
    assert healthy(DCGAN(**options), tmp_path) == []


@pytest.mark.parametrize("case", ADVERSARIAL, ids=lambda case: case.model.__name__)
def test_it_is_silent_over_a_healthy_run_of_each_model(case, tmp_path):
    """With the settings of its configuration for the digits, made narrower and StyleGAN3 of fewer layers."""
    [name] = [name for name in case.configs if name.endswith("_digits")]
    options = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())["model"]["init_args"]
    options |= {"image_shape": (1, 16, 16), "ema_half_life": None}
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    narrow = {"channel_max": 8} if "channel_max" in options else {"width": 8}
    options |= {} if "hidden" in options else narrow
    options |= {"num_layers": 3, "margin": 2} if "num_layers" in options else {}
    options |= {"num_classes": 10} if "num_classes" in case.variants[0] else {}
    torch.manual_seed(0)
    assert healthy(case.model(**options), tmp_path, batches=120) == []


def test_it_detects_a_collapsing_generator(tmp_path):
    torch.manual_seed(0)
    assert failures(Collapsing(**SMALL, **GOOD_RATES), tmp_path) == ["mode_collapse"]


def test_it_detects_a_discriminator_with_a_hundredfold_learning_rate(tmp_path):
    torch.manual_seed(0)
    found = failures(DCGAN(**{**SMALL, "latent_dim": 100}, discriminator_lr=2e-2), tmp_path)
    assert found[:1] == ["discriminator_too_strong"]


@pytest.mark.parametrize("rate", [0.5, 1e3])
def test_it_detects_an_exploding_learning_rate(tmp_path, rate):
    torch.manual_seed(0)
    assert failures(DCGAN(**SMALL, generator_lr=rate, discriminator_lr=rate), tmp_path) == ["divergence"]


def test_it_detects_players_that_overshoot_each_other(tmp_path):
    torch.manual_seed(0)
    assert failures(TakingTurns(**SMALL), tmp_path)[:1] == ["oscillation"]


class Poisoned(DCGAN):
    """The discriminator's loss is NaN for ``num_poisoned`` batches from batch ``poison`` on."""

    poison = 30
    num_poisoned = 10**9

    def discriminator_loss(self, batch, fakes):
        total, terms = super().discriminator_loss(batch, fakes)
        if self.poison <= self.batches_seen < self.poison + self.num_poisoned:
            total = total * math.nan
        return Loss(total, {**terms, "discriminator": total})


# ---- the actions


def test_warn_continues_and_reports_once_everywhere(tmp_path, capsys):
    torch.manual_seed(0)
    watchdog, csv_logger, wandb_logger = Watchdog(), RunCSVLogger(tmp_path), Mock(spec=WandbRunLogger)
    runner = watch(Poisoned(**TINY), tmp_path, watchdog, batches=80, logger=[csv_logger, wandb_logger])
    assert runner.global_step == 80
    [report] = watchdog.reports
    assert (report.failure, report.batches_seen, report.images_seen) == ("nan", 40, 1280)
    assert report.line.startswith("watchdog: nan at 1,280 images: the loss term discriminator is not finite. Try: ")
    assert "model.clip: 1.0" in report.line
    assert "model.generator_lr: 5.0e-05" in report.line
    assert capsys.readouterr().out.splitlines().count(report.line) == 1
    wandb_logger.log_alert.assert_called_once_with("nan", report.line)
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["images_seen"], row["watchdog"]) for row in rows if row["watchdog"]] == [("1280", report.line)]
    assert [(row["images_seen"], row["watchdog/nan"]) for row in rows if row["watchdog/nan"]] == [("1280", "1.0")]
    measured = [row for row in rows if row["watchdog/generator_gradient"]]
    assert [int(row["images_seen"]) for row in measured] == [640, 1280, 1920, 2560]
    assert 0 < float(measured[0]["watchdog/diversity"]) < 2


def test_stop_ends_the_run(tmp_path):
    torch.manual_seed(0)
    watchdog = Watchdog("stop")
    runner = watch(Poisoned(**TINY), tmp_path, watchdog)
    assert runner.global_step == 40
    assert watchdog.reports[0].line.endswith("The run stops.")


class Scored(pl.Callback):
    """Logs a score after each epoch, the best after the first."""

    def on_train_epoch_end(self, trainer, pl_module):
        pl_module.log("fidelity/fid", float(trainer.current_epoch))


class Recorder(pl.Callback):
    """Records the weights and learning rates at the start of each batch."""

    def __init__(self):
        self.weights, self.rates = {}, {}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.weights[pl_module.batches_seen] = {name: value.clone() for name, value in pl_module.state_dict().items()}
        self.rates[pl_module.batches_seen] = [optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers]


@pytest.mark.parametrize("schedule", ["constant", "linear"])
def test_rollback_restores_the_best_checkpoint_with_lower_rates(tmp_path, schedule):
    torch.manual_seed(0)
    model = Poisoned(**TINY, ema_half_life=500.0, lr_schedule=schedule)
    model.poison, model.num_poisoned = 130, 3  # the third epoch of 44 batches
    watchdog, best, last, recorder = Watchdog("rollback"), BestCheckpoint(), LastCheckpoint(), Recorder()
    runner = watch(model, tmp_path, watchdog, best, last, Scored(), recorder, batches=200)
    [report] = watchdog.reports
    assert report.batches_seen == 140
    assert report.line.endswith("Rolled back to checkpoints/best.ckpt, learning rates x 0.5 (1 of 3).")
    saved = torch.load(best.best_model_path, weights_only=True)["state_dict"]
    assert all(value.equal(saved[name]) for name, value in recorder.weights[140].items())
    rate = 2e-4 if schedule == "constant" else 2e-4 * (1 - 141 / 200)
    assert recorder.rates[139][0] == pytest.approx(2e-4 if schedule == "constant" else 2e-4 * (1 - 139 / 200))
    assert recorder.rates[141] == pytest.approx([rate / 2] * 2)
    assert model.batches_seen == runner.global_step == 200
    assert model.images_seen == 200 * 32
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_rollback_without_a_checkpoint_restores_the_initial_weights_and_finally_stops(tmp_path):
    torch.manual_seed(0)
    model, recorder, watchdog = Poisoned(**TINY), Recorder(), Watchdog("rollback", max_rollbacks=2, lr_factor=0.1)
    runner = watch(model, tmp_path, watchdog, recorder)
    assert [report.batches_seen for report in watchdog.reports] == [40, 60, 80]
    assert "Rolled back to the weights at the start of the fit" in watchdog.reports[1].line
    assert watchdog.reports[2].line.endswith("The run stops after 2 rollbacks.")
    assert runner.global_step == 80
    assert all(value.equal(recorder.weights[60][name]) for name, value in recorder.weights[0].items())
    assert recorder.rates[60] == pytest.approx([2e-6, 2e-6])


def test_a_checkpoint_with_non_finite_weights_is_not_used(tmp_path):
    torch.manual_seed(0)
    watchdog, last = Watchdog("rollback", every_n_batches=50), LastCheckpoint(every_n_train_steps=45)
    model = Poisoned(**TINY)
    model.num_poisoned = 20
    watch(model, tmp_path, watchdog, last, batches=100)
    assert "Rolled back to the weights at the start of the fit" in watchdog.reports[0].line
    assert len(watchdog.reports) == 1


def test_a_resumed_run_has_its_baselines(tmp_path):
    torch.manual_seed(0)
    last = LastCheckpoint(every_n_train_steps=40)
    first_watchdog = Watchdog()
    watch(DCGAN(**TINY), tmp_path, first_watchdog, last, batches=40)
    resumed = Watchdog()
    runner = trainer(callbacks=[resumed], max_steps=60, max_epochs=-1, default_root_dir=tmp_path)
    data = ImageData("digits", root=str(tmp_path), image_size=16, batch_size=32)
    runner.fit(DCGAN(**TINY), data, ckpt_path=last.best_model_path, weights_only=True)
    baselines = resumed.detector.history.baselines
    assert baselines.chance == first_watchdog.detector.history.baselines.chance > 0
    assert len(baselines.gradients) == 3


# ---- isolation


def test_training_is_the_same_with_the_watchdog(tmp_path):
    def final(**options):
        torch.manual_seed(0)
        model = DCGAN(**TINY, ema_half_life=500.0)
        watch(model, tmp_path, Watchdog(**options), batches=45)
        return model.state_dict(), torch.get_rng_state()

    (watched, watched_rng), (unwatched, unwatched_rng) = final(every_n_batches=5), final(every_n_batches=None)
    assert all(value.equal(unwatched[name]) for name, value in watched.items())
    assert watched_rng.equal(unwatched_rng)


def test_it_does_nothing_for_a_model_without_two_players(tmp_path):
    watchdog, logger = Watchdog("rollback", every_n_batches=1), Mock(spec=Logger)
    model = VAE(**TINY, lr=1e30)
    assert not isinstance(model, TwoPlayers)
    watch(model, tmp_path, watchdog, batches=5, logger=[logger])
    assert watchdog.reports == []
    assert watchdog.state_dict() == {}
    assert not any("watchdog" in str(call) for call in logger.mock_calls)


def test_it_samples_the_trained_weights_and_leaves_the_average_in_use(tmp_path):
    model = DCGAN(**TINY, ema_half_life=500.0)
    used = []
    sample = model.sample
    model.sample = lambda *args, **options: used.append(model.use_ema) or sample(*args, **options)
    watch(model, tmp_path, Watchdog(), batches=20)
    assert used == [False]
    assert model.use_ema


class OneClass(Extractor):
    """A classifier that predicts all classes at its first call and then only one."""

    name, classes, accuracy = "classifier", 10, 1.0

    def __init__(self):
        self.calls = 0

    def __call__(self, images):
        self.calls += 1
        labels = torch.arange(len(images)) % (10 if self.calls == 1 else 1)
        return Features(torch.zeros(len(images), 2), torch.nn.functional.one_hot(labels, 10).float())


def test_it_counts_classes_with_the_classifier_of_the_fidelity_callback(tmp_path):
    torch.manual_seed(0)
    watchdog, fidelity = Watchdog(every_n_batches=2), Fidelity(features=None)
    fidelity.extractor = OneClass()
    fidelity.on_train_epoch_end = fidelity.on_train_end = lambda *args: None
    watch(DCGAN(**TINY), tmp_path, watchdog, fidelity, batches=70)
    assert fidelity.extractor.calls == 3
    [report] = watchdog.reports
    assert report.failure == "mode_collapse"
    assert "cover 10% of the classes" in report.line


# ---- several processes


def act(folder: str, rank: int) -> dict[str, tuple]:
    results = {}
    for action in ("stop", "rollback"):
        torch.manual_seed(0)
        model = Poisoned(**TINY)
        model.poison, model.num_poisoned = 4, 2
        watchdog, recorder = Watchdog(action, every_n_batches=3), Recorder()
        runner = trainer(
            callbacks=[watchdog, recorder], devices=2, strategy="ddp", default_root_dir=folder, max_epochs=1
        )
        runner.fit(model, loader(num=12, first=100 * rank))
        reports = [report.batches_seen for report in watchdog.reports]
        results[action] = (runner.global_step, watchdog.num_rollbacks, recorder.rates, model.state_dict(), reports)
    return results


def test_two_processes_act_alike(tmp_path):
    one, two = on_ranks(act, tmp_path, str(tmp_path))
    for action, steps, rollbacks in (("stop", 6, 0), ("rollback", 12, 1)):
        assert one[action][0] == two[action][0] == steps
        assert one[action][1] == two[action][1] == rollbacks
        assert one[action][2] == two[action][2]
        assert (one[action][4], two[action][4]) == ([6], [])  # rank 0 reports
    assert one["rollback"][2][11] == [1e-4, 1e-4]
    weights, theirs = one["rollback"][3], two["rollback"][3]
    assert all(value.equal(theirs[name]) and value.isfinite().all() for name, value in weights.items())


# ---- the loggers, the options


def test_which_loggers_take_alerts(tmp_path):
    assert isinstance(RunCSVLogger(tmp_path), AlertLogger)
    assert isinstance(WandbRunLogger(tmp_path), AlertLogger)
    assert not isinstance(Mock(spec=Logger), AlertLogger)


def test_an_alert_is_stored_offline(tmp_path, monkeypatch):
    from tests.test_loggers import offline_runs

    for name in ("CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / "home" / name.lower()))
    logger = WandbRunLogger(tmp_path, mode="offline")
    logger.log_alert("mode collapse", "watchdog: mode collapse at 3,200 images")
    logger.close()
    [run] = offline_runs(tmp_path)
    [alert] = [record.alert for record in run if record.HasField("alert")]
    assert (alert.title, alert.text, alert.level) == (
        "mode collapse",
        "watchdog: mode collapse at 3,200 images",
        "WARN",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every_n_batches": 0}, "watchdog.every_n_batches is 0"),
        ({"num_samples": 1}, "watchdog.num_samples is 1"),
        ({"lr_factor": 1.0}, "watchdog.lr_factor is 1.0"),
        ({"max_rollbacks": -1}, "watchdog.max_rollbacks is -1"),
    ],
)
def test_invalid_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        Watchdog(**options)
