"""What the field does against the failures of two-player training, as lines of a configuration.

* packing and minibatch features: Lin et al. 2018 (https://arxiv.org/abs/1712.04086), Salimans et al. 2016
  (https://arxiv.org/abs/1606.03498), Karras et al. 2018 (https://arxiv.org/abs/1710.10196)
* instance noise: Sonderby et al. 2017 (https://arxiv.org/abs/1610.04490); one-sided label smoothing: Salimans et al.
* differentiable augmentation: Zhao et al. 2020 (https://arxiv.org/abs/2006.10738)
* spectral normalisation: Miyato et al. 2018 (https://arxiv.org/abs/1802.05957)
* two time scales: Heusel et al. 2017 (https://arxiv.org/abs/1706.08500)
* averaged weights against cycling: Yazici et al. 2019 (https://arxiv.org/abs/1806.04498)
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_gen.callbacks.symptoms import Failure

MOST = 5
"""Remedies in one line."""
PLAIN: dict[Failure, tuple[tuple[str, str], ...]] = {
    "nan": (("clip", "1.0"),),
    "divergence": (("clip", "1.0"), ("discriminator_norm", "spectral")),
    "mode_collapse": (
        ("minibatch", "discrimination"),
        ("packing", "2"),
        ("augment", "[color, translation]"),
        ("instance_noise", "0.1"),
    ),
    "oscillation": (("ema_half_life", "20000"), ("instance_noise", "0.1")),
    "discriminator_too_strong": (
        ("n_critic", "1"),
        ("label_smoothing", "0.1"),
        ("instance_noise", "0.1"),
        ("augment", "[color, translation, cutout]"),
        ("discriminator_norm", "spectral"),
    ),
}
"""Hyper-parameters and the values to try; those that a model does not have, or has at that value, are left out."""
RATES: dict[Failure, tuple[tuple[str, float], ...]] = {
    "nan": (("generator_lr", 0.25), ("discriminator_lr", 0.25)),
    "divergence": (("generator_lr", 0.25), ("discriminator_lr", 0.25)),
    "mode_collapse": (("generator_lr", 0.5),),
    "oscillation": (("generator_lr", 0.5), ("discriminator_lr", 0.5)),
    "discriminator_too_strong": (("discriminator_lr", 0.25),),
}
"""Learning rates and the factors to try."""
LAST_RATES = ("mode_collapse",)
"""Where the rate is not the first thing to change."""


def remedies(
    failure: Failure, hparams: Mapping[str, Any], rates: Mapping[str, float], precision: str = ""
) -> list[str]:
    """What to try against a failure.

    Args:
        failure: what was found.
        hparams: the model's hyper-parameters.
        rates: the learning rates now, by the names ``generator_lr`` and ``discriminator_lr``.
        precision: the trainer's precision.

    Returns:
        Lines such as ``model.packing: 2``, the likeliest first.
    """
    if "generator_lr" in hparams or "discriminator_lr" in hparams:
        slower = [(name, factor * rates[name]) for name, factor in RATES[failure] if name in hparams and name in rates]
    else:  # one rate for all, whatever it is called
        factor = RATES[failure][0][1]
        named = [name for name in hparams if name.endswith(("lr", "learning_rate")) and is_number(hparams[name])]
        slower = [(name, factor * hparams[name]) for name in named]
    lines = [f"model.{name}: {rate:.1e}" for name, rate in slower]
    if failure == "oscillation" and is_number(hparams.get("beta1")) and hparams["beta1"] > 0.5:
        lines.insert(0, "model.beta1: 0.5")
    if failure == "nan" and precision.startswith("16"):
        lines.insert(0, "trainer.precision: bf16-mixed")
    plain = [f"model.{name}: {value}" for name, value in PLAIN[failure] if wanted(hparams, name, value)]
    return (plain[: MOST - len(lines)] + lines if failure in LAST_RATES else lines + plain)[:MOST]


def wanted(hparams: Mapping[str, Any], name: str, value: str) -> bool:
    """Whether a model has a hyper-parameter and no value of it yet that does the same.

    Args:
        hparams: the model's hyper-parameters.
        name: of the hyper-parameter.
        value: what it would be set to.

    Returns:
        True when the line is worth printing.
    """
    if name not in hparams:
        return False
    now = hparams[name]
    if name == "n_critic":
        return is_number(now) and now > 1
    off = now is None or now is False or now == 0 or now in ("none", "batch", "instance", "layer")
    empty = isinstance(now, Sequence) and not isinstance(now, str) and not now
    return off or empty or (name == "packing" and now == 1)


def is_number(value: Any) -> bool:
    """Whether a hyper-parameter is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)
