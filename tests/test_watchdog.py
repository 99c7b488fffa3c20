"""The watchdog: detection in given numbers, in provoked failures and in healthy runs; remedies and actions."""

import csv
import math
from copy import deepcopy
from pathlib import Path
from unittest.mock import Mock

import pytest
import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.loggers.logger import Logger

from lightning_gen.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
from lightning_gen.callbacks.fidelity import Fidelity
from lightning_gen.callbacks.measurements import Measurement
from lightning_gen.callbacks.remedies import RunSettings, hyper_parameters, remedy_lines
from lightning_gen.callbacks.statistics import count_swings
from lightning_gen.callbacks.symptoms import FAILURES, SYMPTOMS, FailureDetector
from lightning_gen.callbacks.watchdog import Watchdog
from lightning_gen.data import ImageData
from lightning_gen.errors import InputError
from lightning_gen.evaluation.extractor import Extractor, Features
from lightning_gen.loggers import RunCSVLogger, WandbRunLogger
from lightning_gen.models.adversarial import AdversarialModule
from lightning_gen.models.autoencoders.vae import VAE
from lightning_gen.models.gans.dcgan import DCGAN
from lightning_gen.models.gans.wgan import WGAN
from lightning_gen.types import AlertLogger, Loss, TwoPlayers
from tests.cases import CASES
from tests.helpers import loader, on_ranks, trainer

CHANCE = 2 * math.log(2)
CONFIGS = Path(__file__).parent.parent / "configs"
ADVERSARIAL = [case for case in CASES if issubclass(case.model, AdversarialModule)]
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


# ---- detection in given numbers


def detect(*measurements: dict, every: int = 20) -> list:
    """(number of the measurement, failure, whether it began) of each finding."""
    detector = FailureDetector(every)
    found = []
    for number, values in enumerate(measurements, 1):
        terms = {
            "discriminator": values.pop("losses", [1.2] * every),
            "real_logit": [values.pop("real", 0.5)] * every,
            "fake_logit": [values.pop("fake", -0.5)] * every,
        }
        healthy_values = {
            "generator_gradient": 5.0,
            "discriminator_gradient": 5.0,
            "generator_weights": 10.0,
            "discriminator_weights": 10.0,
            "diversity": 0.9,
            "contrast": 0.9,
            "real_distance": 10.0,
        }
        for finding in detector.update(Measurement(number * every, terms, **{**healthy_values, **values})):
            found.append((number, finding.failure, finding.evidence is not None))
    return found


def first(every=20):
    return {"losses": [CHANCE] + [1.2] * (every - 1)}


def test_a_healthy_run_has_no_findings():
    assert detect(first(), *({} for _ in range(30))) == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(
    "broken", ["losses", "generator_gradient", "discriminator_gradient", "generator_weights", "discriminator_weights"]
)
def test_non_finite_values_are_nan(broken, value):
    values = {broken: [value] * 20 if broken == "losses" else value}
    assert detect(first(), {}, values) == [(3, "nan", True)]


def test_weights_that_multiply_are_divergence():
    growing = [{"discriminator_weights": 10.0 * 3**i} for i in range(4)]
    assert detect(first(), *growing) == [(5, "divergence", True)]
    slowly = [{"discriminator_weights": 10.0 * 1.2**i} for i in range(40)]  # 6-fold in 200 batches
    assert detect(first(), *slowly) == []


def test_disproportionate_outputs_are_divergence_and_an_offset_is_not():
    assert detect(first(), {"real": 2000.0, "fake": -2000.0}) == [(2, "divergence", True)]
    assert detect(first(), *({"real": 1e6 + 2, "fake": 1e6} for _ in range(9))) == []
    assert detect(first(), {"losses": [5000.0] * 20}) == [(2, "divergence", True)]


def test_alike_samples_are_collapse_unless_they_are_grey():
    alike, grey = {"diversity": 0.05, "contrast": 0.8}, {"diversity": 0.05, "contrast": 0.06}
    assert detect(first(), *({**alike} for _ in range(6))) == [(4, "mode_collapse", True)]
    assert detect(first(), *({**grey} for _ in range(30))) == []
    assert detect(first(), {**alike}, {**alike}, {}, {**alike}, {**alike}, {}) == []  # too briefly


def test_lost_classes_are_collapse_and_classes_never_found_are_not():
    measurements = [{"classes": (9, 10)}, {}, {"classes": (4, 10)}, {}, {"classes": (3, 10)}]
    assert detect(first(), *measurements) == [(6, "mode_collapse", True)]
    assert detect(first(), *({"classes": (1, 10)} for _ in range(9))) == []


def wave(period: int, num: int = 20) -> list[float]:
    return [CHANCE * (1.3 + 1.25 * math.sin(2 * math.pi * i / period)) for i in range(num)]


def test_swings_of_the_loss_are_oscillation():
    assert detect(first(), *({"losses": wave(20)} for _ in range(6)))[0][1:] == ("oscillation", True)
    spikes = [[0.05 if i % 2 else CHANCE * 2.5 for i in range(20)]] * 6  # one batch against the next: noise
    assert detect(first(), *({"losses": losses} for losses in spikes)) == []
    assert count_swings([1, 5, 5, 3, 1, 3, 5, 1], 4, 2) == 5


def test_a_certain_discriminator_is_too_strong_and_a_wasserstein_critic_never_is():
    certain = {"losses": [1e-4] * 20, "real": 12.0, "fake": -12.0}
    assert detect(first(), *(deepcopy(certain) for _ in range(6))) == [(4, "discriminator_too_strong", True)]
    hinge = {"losses": [0.0] * 20, "real": 2.0, "fake": -2.0}  # the margin is kept
    assert detect(first(), *(deepcopy(hinge) for _ in range(9))) == []
    losses = [9.9, *(-5.0 for _ in range(19))]  # a penalty at first, then real above fake
    critic = [{"losses": [-5.0] * 20, "real": 7e3, "fake": 6.9e3} for _ in range(4)]
    near_zero = [{"losses": [0.0] * 20} for _ in range(9)]
    assert detect({"losses": losses}, *critic, *near_zero) == []


def test_a_vanished_gradient_is_a_discriminator_too_strong():
    gone = [{"generator_gradient": 1e-4} for _ in range(5)]
    assert detect(first(), *({} for _ in range(4)), *gone) == [(8, "discriminator_too_strong", True)]


def test_each_failure_is_reported_once_until_it_has_ended():
    certain, healthy = {"losses": [1e-4] * 20, "real": 12.0, "fake": -12.0}, {}
    measurements = [deepcopy(values) for values in [certain] * 8 + [healthy] * 8 + [certain] * 8]
    found = detect(first(), *measurements)
    name = "discriminator_too_strong"
    assert [(failure, began) for _, failure, began in found] == [(name, True), (name, False), (name, True)]


def test_only_the_failure_of_highest_precedence_is_reported():
    both = {"losses": [1e-4] * 20, "real": 12.0, "fake": -12.0, "diversity": 0.01}
    assert detect(first(), *(deepcopy(both) for _ in range(9))) == [(4, "mode_collapse", True)]
    broken = {**both, "generator_gradient": math.nan}
    found = detect(first(), *(deepcopy(both) for _ in range(5)), deepcopy(broken), deepcopy(broken))
    assert found == [(4, "mode_collapse", True), (7, "mode_collapse", False), (7, "nan", True)]


def test_a_run_resumed_without_its_baselines_has_no_false_finding():
    terms = {"discriminator": [1e-5] * 20, "real_logit": [9.0] * 20, "fake_logit": [-9.0] * 20}
    measurements = [Measurement(1000 + 20 * i, terms, 5.0, 5.0, 9.0, 9.0) for i in range(9)]
    detector = FailureDetector(20)
    assert all(not detector.update(measurement) for measurement in measurements)
    baselines = {"chance": CHANCE, "bounded": True, "gradients": [1.0] * 5, "classes_found": False}
    detector = FailureDetector(20, baselines)
    assert any(detector.update(measurement) for measurement in measurements)


# ---- the remedies


def remedies(failure: str, hyper_parameters: dict, rates: dict, precision: str = "") -> list[str]:
    """The lines of a failure's remedies; all of its symptoms have the same."""
    against = [symptom.remedies for symptom in SYMPTOMS if symptom.failure == failure]
    assert all(each == against[0] for each in against)
    return remedy_lines(against[0], RunSettings(hyper_parameters, rates, precision))


def test_remedies_are_options_of_the_model():
    rates = {"generator_lr": 4e-4, "discriminator_lr": 8e-4}
    plain = {"generator_lr": 2e-4, "discriminator_lr": 2e-4, "beta1": 0.5}
    assert remedies("oscillation", plain, rates) == ["model.generator_lr: 2.0e-04", "model.discriminator_lr: 4.0e-04"]
    assert remedies("oscillation", {**plain, "beta1": 0.9}, rates)[0] == "model.beta1: 0.5"
    rich = {
        **plain,
        "packing": 1,
        "minibatch": "none",
        "augment": (),
        "instance_noise": 0.0,
        "n_critic": 2,
        "clip": None,
    }
    assert remedies("mode_collapse", rich, rates) == [
        "model.minibatch: discrimination",
        "model.packing: 2",
        "model.augment: [color, translation]",
        "model.instance_noise: 0.1",
        "model.generator_lr: 2.0e-04",
    ]
    used = {**rich, "packing": 4, "minibatch": "stddev", "augment": ("color",), "instance_noise": 0.2}
    assert remedies("mode_collapse", used, rates) == ["model.generator_lr: 2.0e-04"]
    assert remedies("discriminator_too_strong", rich, rates)[:2] == [
        "model.discriminator_lr: 2.0e-04",
        "model.n_critic: 1",
    ]
    assert remedies("nan", {**rich, "clip": 1.0}, rates, "16-mixed")[0] == "trainer.precision: bf16-mixed"
    assert remedies("nan", {"lr": 1e-3}, rates) == ["model.lr: 2.5e-04"]
    assert remedies("divergence", {}, {}) == []


@pytest.mark.parametrize("failure", FAILURES)
def test_dcgan_accepts_every_remedy(failure):
    """Each line is a value that the model's constructor accepts."""
    model = DCGAN(**TINY)
    rates = {"generator_lr": 1e-3, "discriminator_lr": 1e-3}
    lines = remedies(failure, hyper_parameters(model), rates)
    assert lines
    for line in lines:
        (name, value), *_ = yaml.safe_load(line.removeprefix("model.")).items()
        DCGAN(**{**TINY, name: tuple(value) if isinstance(value, list) else value})


def test_hyper_parameters_include_the_defaults():
    values = hyper_parameters(DCGAN(**TINY, packing=2))
    assert (values["packing"], values["width"], values["clip"], values["augment"]) == (2, 4, None, ())
    assert values["label_smoothing"] == 0.0
    assert "label_smoothing" not in hyper_parameters(WGAN(**TINY))  # the objective has no targets


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
    """With the settings of its configuration for the digits, made narrower."""
    [name] = [name for name in case.configs if name.endswith("_digits")]
    options = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())["model"]["init_args"]
    options |= {"image_shape": (1, 16, 16), "ema_half_life": None}
    options |= {"hidden": tuple(options["hidden"])} if "hidden" in options else {"width": 8}
    options |= {"num_classes": 10} if "num_classes" in case.variants[0] else {}
    assert healthy(case.model(**options), tmp_path) == []


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
