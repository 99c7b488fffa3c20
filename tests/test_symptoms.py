"""Detection of failures in given measurements, and the remedies."""

import math
from copy import deepcopy

import pytest
import yaml

from lightning_gen.callbacks.measurements import Measurement
from lightning_gen.callbacks.remedies import RunSettings, hyper_parameters, remedy_lines
from lightning_gen.callbacks.statistics import count_swings
from lightning_gen.callbacks.symptoms import FAILURES, SYMPTOMS, FailureDetector
from lightning_gen.models.gans.dcgan import DCGAN
from lightning_gen.models.gans.wgan import WGAN

CHANCE = 2 * math.log(2)
TINY = {"image_shape": (1, 16, 16), "width": 4, "latent_dim": 6}


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
