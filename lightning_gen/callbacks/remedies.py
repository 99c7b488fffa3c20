"""Remedies for failures of two-player training, as lines of a configuration.

* packing and minibatch features: Lin et al. 2018 (https://arxiv.org/abs/1712.04086), Salimans et al. 2016
  (https://arxiv.org/abs/1606.03498), Karras et al. 2018 (https://arxiv.org/abs/1710.10196)
* instance noise: Sonderby et al. 2017 (https://arxiv.org/abs/1610.04490); one-sided label smoothing: Salimans et al.
* differentiable augmentation: Zhao et al. 2020 (https://arxiv.org/abs/2006.10738)
* spectral normalisation: Miyato et al. 2018 (https://arxiv.org/abs/1802.05957)
* two time scales: Heusel et al. 2017 (https://arxiv.org/abs/1706.08500)
* averaged weights against cycling: Yazici et al. 2019 (https://arxiv.org/abs/1806.04498)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import pytorch_lightning as pl
from jsonargparse import ArgumentParser

MAX_LINES = 5
"""Maximum number of remedies per report."""


@dataclass(frozen=True)
class RunSettings:
    """The settings of a run that decide which remedies apply.

    Attributes:
        hyper_parameters: the model's, by name.
        learning_rates: the current rates, under ``generator_lr`` and ``discriminator_lr``.
        precision: the trainer's, e.g. ``16-mixed``.
    """

    hyper_parameters: Mapping[str, Any]
    learning_rates: Mapping[str, float]
    precision: str = ""


@runtime_checkable
class Remedy(Protocol):
    """A change of the configuration."""

    def lines(self, settings: RunSettings) -> list[str]:
        """The lines of a configuration, e.g. ``model.packing: 2``; none where the remedy does not apply."""
        ...


def is_off(value: Any) -> bool:
    """Whether a value disables an option: None, False, 0, an empty sequence, or a norm that is not spectral."""
    is_empty = isinstance(value, Sequence) and not isinstance(value, str) and not value
    return value is None or value is False or value == 0 or value in ("none", "batch", "instance", "layer") or is_empty


def is_number(value: Any) -> bool:
    """Whether a value is an int or a float, but not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True)
class SetOption:
    """Sets a hyper-parameter of the model.

    Attributes:
        name: the hyper-parameter.
        value: the value to try, as in YAML.
        applies: given the current value, whether the remedy applies.
    """

    name: str
    value: str
    applies: Callable[[Any], bool] = is_off

    def lines(self, settings: RunSettings) -> list[str]:
        """The option's line, if the model has the option and the remedy applies."""
        if self.name not in settings.hyper_parameters or not self.applies(settings.hyper_parameters[self.name]):
            return []
        return [f"model.{self.name}: {self.value}"]


@dataclass(frozen=True)
class LowerRates:
    """Multiplies learning rates by a factor.

    In a model without ``generator_lr`` and ``discriminator_lr``, every hyper-parameter that is a learning rate is
    multiplied by the first factor.

    Attributes:
        factors: factors by hyper-parameter.
    """

    factors: Mapping[str, float]

    def lines(self, settings: RunSettings) -> list[str]:
        """One line per learning rate."""
        given, current = settings.hyper_parameters, settings.learning_rates
        if "generator_lr" in given or "discriminator_lr" in given:
            rates = {name: f * current[name] for name, f in self.factors.items() if name in given and name in current}
        else:
            factor = next(iter(self.factors.values()))
            names = [name for name in given if name.endswith(("lr", "learning_rate")) and is_number(given[name])]
            rates = {name: factor * given[name] for name in names}
        return [f"model.{name}: {rate:.1e}" for name, rate in rates.items()]


@dataclass(frozen=True)
class UseBfloat16:
    """Replaces fp16, whose range is small, by bfloat16."""

    def lines(self, settings: RunSettings) -> list[str]:
        """The trainer's line, under fp16."""
        return ["trainer.precision: bf16-mixed"] if settings.precision.startswith("16") else []


CLIP_GRADIENT = SetOption("clip", "1.0")
INSTANCE_NOISE = SetOption("instance_noise", "0.1")
SPECTRAL_NORM = SetOption("discriminator_norm", "spectral")
QUARTER_RATES = LowerRates({"generator_lr": 0.25, "discriminator_lr": 0.25})

AGAINST_NAN: tuple[Remedy, ...] = (UseBfloat16(), QUARTER_RATES, CLIP_GRADIENT)
AGAINST_DIVERGENCE: tuple[Remedy, ...] = (QUARTER_RATES, CLIP_GRADIENT, SPECTRAL_NORM)
AGAINST_COLLAPSE: tuple[Remedy, ...] = (
    SetOption("minibatch", "discrimination"),
    SetOption("packing", "2", applies=lambda value: is_off(value) or value == 1),
    SetOption("augment", "[color, translation]"),
    INSTANCE_NOISE,
    LowerRates({"generator_lr": 0.5}),
)
AGAINST_OSCILLATION: tuple[Remedy, ...] = (
    SetOption("beta1", "0.5", applies=lambda value: is_number(value) and value > 0.5),
    LowerRates({"generator_lr": 0.5, "discriminator_lr": 0.5}),
    SetOption("ema_half_life", "20000"),
    INSTANCE_NOISE,
)
AGAINST_STRONG_DISCRIMINATOR: tuple[Remedy, ...] = (
    LowerRates({"discriminator_lr": 0.25}),
    SetOption("n_critic", "1", applies=lambda value: is_number(value) and value > 1),
    SetOption("label_smoothing", "0.1"),
    INSTANCE_NOISE,
    SetOption("augment", "[color, translation, cutout]"),
    SPECTRAL_NORM,
)


def remedy_lines(remedies: Sequence[Remedy], settings: RunSettings) -> list[str]:
    """The lines of the remedies that apply, at most ``MAX_LINES``, in the order of the remedies."""
    return [line for remedy in remedies for line in remedy.lines(settings)][:MAX_LINES]


def run_settings(trainer: pl.Trainer, model: pl.LightningModule) -> RunSettings:
    """The settings of a run in ``fit``; the model's first optimizer is its generator's."""
    rates = [float(optimizer.param_groups[0]["lr"]) for optimizer in trainer.optimizers]
    names = ("generator_lr", "discriminator_lr")
    return RunSettings(hyper_parameters(model), dict(zip(names, rates, strict=False)), str(trainer.precision))


def hyper_parameters(model: pl.LightningModule) -> dict[str, Any]:
    """A model's hyper-parameters: those it was constructed with, and the command line's defaults of the others.

    Args:
        model: a model that saves its hyper-parameters.

    Returns:
        Values by name, without ``label_smoothing`` where the model's objective has no targets to smooth, and without
        ``minibatch`` where the model penalises the gradient of an image's logit.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(type(model), "model", fail_untyped=False)
    values: dict[str, Any] = {**vars(parser.get_defaults()).get("model", {}), **model.hparams}
    if not getattr(getattr(model, "objective", None), "has_targets", True):
        values.pop("label_smoothing", None)
    if getattr(model, "penalises_gradient", False):
        values.pop("minibatch", None)
    return values
