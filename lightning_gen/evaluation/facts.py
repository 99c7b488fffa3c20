"""What a score card states about the scored model and images."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn

from lightning_gen.inference import model_device
from lightning_gen.types import ImageSet, SamplingOptions, StyleMapper


def model_facts(model: object, weights: Literal["ema", "raw"] | None) -> dict[str, Any]:
    """Fields of the score card that describe the model; ``weights`` None: determined by :func:`sampled_weights`."""
    return {
        "generated": type(model).__name__,
        "precision": precision(model),
        "weights": weights or sampled_weights(model),
        "images_seen": getattr(model, "images_seen", None),
        "loss_weights": loss_weights(model),
        "truncation": model.truncation if isinstance(model, StyleMapper) else None,
        "truncated_layers": model.truncated_layers if isinstance(model, StyleMapper) else None,
    }


def describe_model(model: object, what: str = "") -> str:
    """A model and its state in words, e.g. ``DCGAN samples, 154,880 images seen, EMA weights``.

    Args:
        model: the model.
        what: what the model made.

    Returns:
        The caption of a picture.
    """
    words = [f"{type(model).__name__} {what}".strip()]
    images_seen = getattr(model, "images_seen", None)
    words += [f"{images_seen:,} images seen"] * (images_seen is not None)
    weights = sampled_weights(model)
    words += [f"{'EMA' if weights == 'ema' else weights} weights"] * (weights is not None)
    return ", ".join(words)


def loss_weights(model: object) -> dict[str, float]:
    """The numbers among a model's hyper-parameters whose names end in ``_weight``."""
    options: Mapping[str, Any] = getattr(model, "hparams", {})
    return {
        name: float(value)
        for name, value in options.items()
        if name.endswith("_weight") and isinstance(value, int | float) and not isinstance(value, bool)
    }


def split_name(images: ImageSet) -> str:
    """The last part of an image set's name: ``train`` of ``mnist/train``."""
    return images.name.rstrip("/").rsplit("/", 1)[-1]


def describe_sampling(sampling: SamplingOptions) -> str:
    """Describe sampling options, e.g. ``ddim, 50 steps, trailing, eta 0``, without those that have no effect."""
    words = [str(sampling.sampler)]
    words += [f"{sampling.steps} steps"] * (sampling.steps is not None)
    words += [sampling.spacing] if sampling.spacing is not None else []
    for name in ("eta", "churn", "guidance"):
        value = getattr(sampling, name)
        if value is not None and (name, value) != ("guidance", 1.0):
            words.append(f"{name} {value:g}")
    if sampling.guidance_interval is not None:
        words.append("from {:g} to {:g}".format(*sampling.guidance_interval))
    words += ["clipped"] * bool(sampling.clip)
    return ", ".join(words)


def sampled_weights(model: object) -> Literal["ema", "raw"] | None:
    """Which weights a model samples with: averaged ones if it has an ``ema`` and ``use_ema`` is not False."""
    if not isinstance(model, nn.Module):
        return None
    return "ema" if getattr(model, "ema", None) is not None and getattr(model, "use_ema", True) else "raw"


def precision(model: object) -> str:
    """The current numerical precision of a model, e.g. ``float32`` or ``float32, autocast to bfloat16``."""
    device = model_device(model)
    parameters = model.parameters() if isinstance(model, nn.Module) else iter(())
    names = [str(next((parameter.dtype for parameter in parameters), torch.float32))]
    if torch.is_autocast_enabled(device.type):
        names.append(f"autocast to {torch.get_autocast_dtype(device.type)}")
    if device.type == "cuda" and torch.backends.cudnn.allow_tf32:
        names.append("TF32 convolutions")
    return ", ".join(names).replace("torch.", "")
