r"""Likelihood of images in nats and bits a dimension: log p(x) as a model itself finds it, or by importance sampling.

A flow or a diffusion model gives log p(x), or a bound of it. Of a latent-variable model, ELBO and log p(x) are

    elbo = E[ 1/K sum_k log w_k ],    nll = -E[ log 1/K sum_k w_k ],    w_k = p(x, z_k) / q(z_k | x),    z_k ~ q(z | x)

Burda et al. 2016 (https://arxiv.org/abs/1509.00519), section 5: the second is an upper bound of -log p(x), which falls
with K to the truth. Sums of weights are taken in float64, and K is worked through in parts, so memory does not grow
with it. Whatever is drawn for image i is a function of (seed, i), whatever the batch size and the number of ranks.

A Gaussian likelihood and a flow's are densities, and the images are of 256 levels: they are dequantised with uniform
noise of one level's width, so that by Jensen's inequality the density bounds the probability of the levels (Theis et
al. 2016, https://arxiv.org/abs/1511.01844, section 3.1), and ``nll`` and ``elbo`` are of the levels: bits a dimension
compare with those of other models of 8-bit images.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from lightning_gen.distributed import scoring_group
from lightning_gen.errors import InputError
from lightning_gen.evaluation.card import ScoreCard, protocol_name
from lightning_gen.evaluation.scoring import precision, sampled_weights
from lightning_gen.images import LEVEL, to_float
from lightning_gen.inference import isolated_inference, model_device
from lightning_gen.noise import image_generators, mix_seed, uniform
from lightning_gen.types import DensityModel, Images, ImageSet, Labels, LikelihoodModel

LIKELIHOODS = ("elbo", "nll")
LATENTS = 1000
"""Importance samples where no number is given."""
PART = 50
"""Latents of each image that are decoded at once; always so many, for an image's noise depends on how it is drawn."""
FEW = 100
"""With fewer importance samples the estimate of log p(x) is flagged as a loose bound."""


class Estimate(NamedTuple):
    """ELBO and log p(x) of images, in nats; of a model without latents both are log p(x)."""

    elbo: Float64[Tensor, " batch"]
    log_p: Float64[Tensor, " batch"]


class Way(NamedTuple):
    """How the likelihood of images under a model is estimated."""

    by: str
    """What tells two ways apart, in the protocol's name."""
    note: str
    dequantised: bool
    """Whether it is a density of real numbers."""
    samples: int | None
    """How much is drawn for each image; None is the model's own choice."""


def score_likelihood(
    model: LikelihoodModel | DensityModel,
    images: ImageSet,
    *,
    metrics: Sequence[str] | None = None,
    importance_samples: int | None = None,
    num_images: int | None = None,
    batch_size: int = 100,
    seed: int = 0,
    split: str | None = None,
    weights: Literal["ema", "raw"] | None = None,
) -> ScoreCard:
    """Estimate the likelihood of a set of images, each with its standard error over the images (``elbo_sem`` ...).

    Args:
        model: the model.
        images: the images.
        metrics: ``elbo`` (of latent-variable models), ``nll`` (which brings ``bits_per_dim``), or both; all that the
            model has when None.
        importance_samples: what is drawn for each image: K latents, 1000 when None, or what a model without latents
            draws, as many as it likes when None.
        num_images: how many images, the set's first; all when None.
        batch_size: how many are looked at at once; the scores do not depend on it.
        seed: of whatever is drawn.
        split: name of the split in the protocol's name; the last part of the set's name when None.
        weights: whether averaged or raw weights are scored, for the card; asked of the model when None.

    Returns:
        The score card, on every rank.

    Raises:
        InputError: when a metric is unknown or not the model's, there are no images or samples, or a likelihood is
            not finite.
    """
    if metrics is None:
        metrics = LIKELIHOODS if isinstance(model, LikelihoodModel) else ("nll",)
    refuse_likelihood(model, metrics)
    if importance_samples is not None and importance_samples < 1:
        raise InputError(f"importance_samples is {importance_samples}; it must be at least 1")
    way = way_of(model, importance_samples)
    num = len(images) if num_images is None else min(num_images, len(images))
    if num < 2:
        raise InputError(f"a likelihood with its standard error needs 2 images or more, not {num}")
    device = model_device(model)
    name = split or images.name.rstrip("/").rsplit("/", 1)[-1]
    with scoring_group() as together:
        share = together.share(num)
        parts: list[Estimate] = []
        grey = False
        with isolated_inference(model, mix_seed(seed, "likelihood", together.rank)):
            for start in range(0, len(share), batch_size):
                indices = share[start : start + batch_size]
                index = np.asarray(indices, dtype=np.int64)
                stored = images[index].to(device)
                grey = grey or bool(((stored != 0) & (stored != 255)).any())
                labels = None if images.labels is None else torch.from_numpy(images.labels[index]).to(device)
                batch = to_float(stored)
                if way.dequantised:
                    generators = image_generators(mix_seed(seed, "dequantise"), indices)
                    batch += LEVEL * (uniform(*batch.shape, generator=generators, device=device) - 0.5)
                generators = image_generators(mix_seed(seed, "latents"), indices)
                parts.append(estimate(model, batch, labels, way.samples, generators))
        columns: dict[str, Tensor] = {}
        if parts:
            columns = {
                "grey": torch.full((len(share),), grey),
                "elbo": torch.cat([part.elbo for part in parts]),
                "log_p": torch.cat([part.log_p for part in parts]),
            }
        whole = together.gather(columns, num)

        def fill() -> ScoreCard:
            assert whole is not None
            if broken := int((~(whole["elbo"].isfinite() & whole["log_p"].isfinite())).sum()):
                raise InputError(f"the likelihoods of {broken} of {num} images are not finite numbers")
            channels, height, width = images[:1].shape[1:]
            dimensions = channels * height * width
            level = dimensions * math.log(LEVEL) if way.dequantised else 0.0
            return ScoreCard(
                scores=summary(metrics, Estimate(whole["elbo"] + level, whole["log_p"] + level), dimensions),
                metrics=tuple(metrics),
                protocol={metric: protocol_name(metric, num, name, way.by) for metric in metrics},
                subject="likelihood",
                generated=type(model).__name__,
                num_generated=num,
                reference=images.name,
                reference_key=images.key,
                num_reference=len(images),
                split=name,
                image_shape=(channels, height, width),
                precision=precision(model),
                importance_samples=way.samples,
                seed=seed,
                weights=weights or sampled_weights(model),
                notes=(way.note,),
                flags=weak(metrics, model, bool(whole["grey"].any()), way.samples),
                images_seen=getattr(model, "images_seen", None),
            )

        return together.on_first_rank(fill)


def refuse_likelihood(model: object, metrics: Sequence[str]) -> None:
    """Refuse a likelihood that a model does not have, before anything is computed.

    Args:
        model: any model.
        metrics: what is asked for.

    Raises:
        InputError: when one of them is unknown, or not the model's.
    """
    if unknown := [metric for metric in metrics if metric not in LIKELIHOODS]:
        raise InputError(f"{unknown[0]!r} is no likelihood; choose from {', '.join(LIKELIHOODS)}")
    name = type(model).__name__
    if not isinstance(model, LikelihoodModel | DensityModel):
        raise InputError(f"{name} has no likelihood: {metrics[0]} is of VAEs, and nll of diffusion models and flows")
    if "elbo" in metrics and not isinstance(model, LikelihoodModel):
        raise InputError(f"elbo is of VAEs; of {name} there is nll, by its {model.log_prob_by(None)}")


def way_of(model: LikelihoodModel | DensityModel, importance_samples: int | None) -> Way:
    """How a model's likelihood is estimated.

    Args:
        model: the model.
        importance_samples: what is asked to be drawn for each image.

    Returns:
        The way.
    """
    if isinstance(model, LikelihoodModel):
        samples = LATENTS if importance_samples is None else importance_samples
        return Way(f"{samples:,} samples", f"{model.likelihood} likelihood", model.likelihood == "gaussian", samples)
    note = "density of dequantised images" if model.density else "probability of the 256 levels"
    return Way(model.log_prob_by(importance_samples), note, model.density, importance_samples)


def estimate(
    model: LikelihoodModel | DensityModel,
    images: Images,
    labels: Labels | None,
    importance_samples: int | None,
    generators: Sequence[torch.Generator],
) -> Estimate:
    """Estimate the likelihood of a batch, some samples at a time.

    Args:
        model: the model.
        images: in [-1, 1].
        labels: their classes, where known.
        importance_samples: K of a latent-variable model, or what the model draws.
        generators: one for each image.

    Returns:
        In nats for each image.
    """
    if not isinstance(model, LikelihoodModel):
        log_p = model.log_prob(images, importance_samples, labels=labels, generator=generators).cpu().double()
        return Estimate(log_p, log_p)
    assert importance_samples is not None
    total = torch.zeros(len(images), dtype=torch.float64)
    log_sum = torch.full_like(total, -math.inf)
    for start in range(0, importance_samples, PART):
        num = min(PART, importance_samples - start)
        log_weights = model.log_weights(images, num, labels=labels, generator=generators).cpu().double()
        total += log_weights.sum(0)
        log_sum = torch.logaddexp(log_sum, log_weights.logsumexp(0))
    return Estimate(total / importance_samples, log_sum - math.log(importance_samples))


def summary(metrics: Sequence[str], nats: Estimate, dimensions: int) -> dict[str, float]:
    """Means over the images and their standard errors.

    Args:
        metrics: ``elbo``, ``nll`` or both.
        nats: of each image.
        dimensions: of an image.

    Returns:
        Score by name.
    """

    def mean_and_error(name: str, values: Tensor) -> dict[str, float]:
        return {name: values.mean().item(), f"{name}_sem": (values.std() / math.sqrt(len(values))).item()}

    scores: dict[str, float] = {}
    if "elbo" in metrics:
        scores |= mean_and_error("elbo", nats.elbo)
    if "nll" in metrics:
        scores |= mean_and_error("nll", -nats.log_p)
        scores["bits_per_dim"] = scores["nll"] / (dimensions * math.log(2))
    return scores


def weak(
    metrics: Sequence[str], model: LikelihoodModel | DensityModel, grey: bool, importance_samples: int | None
) -> dict[str, str]:
    """Say what is weak about the numbers.

    Args:
        metrics: what was asked for.
        model: the model.
        grey: whether any pixel was neither black nor white.
        importance_samples: K of a latent-variable model.

    Returns:
        Metric -> what is weak about it.
    """
    if not isinstance(model, LikelihoodModel):
        return {}
    found: dict[str, list[str]] = {metric: [] for metric in metrics}
    if "nll" in metrics and importance_samples is not None and importance_samples < FEW:
        found["nll"].append(f"{importance_samples} samples: a loose upper bound")
    if model.likelihood == "bernoulli" and grey:
        for words in found.values():
            words.append("grey values under a Bernoulli likelihood: a relaxation, not a probability")
    return {metric: "; ".join(words) for metric, words in found.items() if words}
