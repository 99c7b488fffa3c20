r"""Likelihood of images in nats and in bits per dimension.

A flow or a diffusion model computes log p(x), or a bound, itself. For a latent-variable model, both the ELBO and log
p(x) are estimated by importance sampling,

    elbo = E[ 1/K sum_k log w_k ],    nll = -E[ log 1/K sum_k w_k ],    w_k = p(x, z_k) / q(z_k | x),    z_k ~ q(z | x)

(Burda et al. 2016, https://arxiv.org/abs/1509.00519, section 5). ``nll`` is an upper bound of -log p(x) that decreases
to it with K. Sums of weights are in float64. The K samples are processed in parts, so memory does not grow with K. The
random numbers of image i are a function of (seed, i), independent of the batch size and the number of ranks.

A Gaussian likelihood and a flow's likelihood are densities, while images have 256 levels. The images are dequantised
with uniform noise of one level's width, so that by Jensen's inequality the density bounds the probability of the
levels (Theis et al. 2016, https://arxiv.org/abs/1511.01844, section 3.1). ``nll`` and ``elbo`` are those of the levels:
bits per dimension compare with those of other models of 8-bit images.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from lightning_gen.checks import check_at_least
from lightning_gen.distributed import ScoringGroup, scoring_group
from lightning_gen.errors import InputError
from lightning_gen.evaluation.card import ScoreCard, protocol_name
from lightning_gen.evaluation.facts import model_facts, split_name
from lightning_gen.evaluation.metric_record import LikelihoodInputs
from lightning_gen.evaluation.metrics import LIKELIHOOD_METRICS, METRICS, compute_scores, find_weaknesses
from lightning_gen.images import LEVEL, to_float
from lightning_gen.inference import isolated_inference, model_device
from lightning_gen.noise import image_generators, mix_seed, uniform
from lightning_gen.types import DensityModel, Images, ImageSet, Labels, LikelihoodModel

DEFAULT_LATENTS = 1000
"""Default number of importance samples."""
LATENTS_PER_PART = 50
"""Latents of each image that are decoded at once. Fixed, because the noise of an image depends on this number."""


class Estimate(NamedTuple):
    """ELBO and log p(x) of images, in nats; for a model without latents both are log p(x)."""

    elbo: Float64[Tensor, " batch"]
    log_p: Float64[Tensor, " batch"]


class Method(NamedTuple):
    """How the likelihood of images under a model is estimated.

    Attributes:
        name: the method in the protocol's name.
        note: a note for the score card.
        dequantised: whether the likelihood is a density, for which images are dequantised.
        samples: random draws per image; None for the model's default.
    """

    name: str
    note: str
    dequantised: bool
    samples: int | None


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
    """Estimate the likelihood of a set of images, with its standard error over the images (``nll_sem`` ...).

    Args:
        model: the model.
        images: the images.
        metrics: names out of ``LIKELIHOOD_METRICS``; default: all that are defined for the model.
        importance_samples: the number of latents per image, by default 1000; for a model without latents, the number
            of its random draws per image, by default the model's own.
        num_images: the number of images, from the first on; default: all.
        batch_size: the number of images per batch, which has no effect on the scores.
        seed: seed of the random numbers.
        split: the split in the protocol's name; default: the last part of the image set's name.
        weights: whether the model uses averaged or raw weights, for the card; default: determined from the model.

    Returns:
        The score card, on every rank.

    Raises:
        InputError: when a metric is unknown or undefined for the model, there are fewer than two images or no samples,
            or a likelihood is not finite.
    """
    if metrics is None:
        metrics = [name for name in LIKELIHOOD_METRICS if defined_for(name, model)]
    check_likelihood_metrics(model, metrics)
    check_at_least(1, prefix="", importance_samples=importance_samples)
    method = likelihood_method(model, importance_samples)
    num = len(images) if num_images is None else min(num_images, len(images))
    fewest = max((METRICS[name].min_images for name in metrics), default=1)
    if num < fewest:
        raise InputError(f"a likelihood with its standard error needs {fewest} images or more, not {num}")
    name = split or split_name(images)
    facts = model_facts(model, weights)
    with scoring_group() as group:
        columns = estimate_share(model, images, num, method, batch_size, seed, group)

        def make() -> ScoreCard:
            assert columns is not None
            if broken := int((~(columns["elbo"].isfinite() & columns["log_p"].isfinite())).sum()):
                raise InputError(f"the likelihoods of {broken} of {num} images are not finite numbers")
            channels, height, width = images[:1].shape[1:]
            dimensions = channels * height * width
            level = dimensions * math.log(LEVEL) if method.dequantised else 0.0
            bernoulli = isinstance(model, LikelihoodModel) and model.likelihood == "bernoulli"
            inputs = LikelihoodInputs(
                elbo=columns["elbo"] + level,
                log_p=columns["log_p"] + level,
                dimensions=dimensions,
                latents=method.samples if isinstance(model, LikelihoodModel) else None,
                relaxed=bernoulli and bool(columns["grey"].any()),
            )
            return ScoreCard(
                scores=compute_scores(metrics, inputs),
                metrics=tuple(metrics),
                protocol={metric: protocol_name(metric, num, name, method.name) for metric in metrics},
                subject="likelihood",
                num_generated=num,
                reference=images.name,
                reference_key=images.key,
                num_reference=len(images),
                split=name,
                image_shape=(channels, height, width),
                importance_samples=method.samples,
                seed=seed,
                notes=(method.note,),
                flags=find_weaknesses(metrics, inputs),
                **facts,
            )

        return group.on_first_rank(make)


def defined_for(metric: str, model: object) -> bool:
    """Whether a likelihood metric is defined for a model."""
    if "latents" in METRICS[metric].needs:
        return isinstance(model, LikelihoodModel)
    return isinstance(model, LikelihoodModel | DensityModel)


def check_likelihood_metrics(model: object, metrics: Sequence[str]) -> None:
    """Check before anything is computed that likelihood metrics are defined for a model.

    Args:
        model: any model.
        metrics: names of metrics.

    Raises:
        InputError: when a metric is unknown, or undefined for the model.
    """
    if unknown := [metric for metric in metrics if metric not in LIKELIHOOD_METRICS]:
        raise InputError(f"{unknown[0]!r} is no likelihood; choose from {', '.join(LIKELIHOOD_METRICS)}")
    name = type(model).__name__
    if not isinstance(model, LikelihoodModel | DensityModel):
        raise InputError(f"{name} has no likelihood: VAEs have elbo and nll, diffusion models and flows have nll")
    for metric in metrics:
        if not defined_for(metric, model):
            assert isinstance(model, DensityModel)
            raise InputError(
                f"{metric} needs a model with latents; {name} has nll, by its {model.describe_log_prob(None)}"
            )


def likelihood_method(model: LikelihoodModel | DensityModel, importance_samples: int | None) -> Method:
    """How a model's likelihood is estimated with this number of random draws per image; None: the default."""
    if isinstance(model, LikelihoodModel):
        samples = DEFAULT_LATENTS if importance_samples is None else importance_samples
        return Method(f"{samples:,} samples", f"{model.likelihood} likelihood", model.likelihood == "gaussian", samples)
    note = "density of dequantised images" if model.density else "probability of the 256 levels"
    return Method(model.describe_log_prob(importance_samples), note, model.density, importance_samples)


def estimate_share(
    model: LikelihoodModel | DensityModel,
    images: ImageSet,
    num: int,
    method: Method,
    batch_size: int,
    seed: int,
    group: ScoringGroup,
) -> dict[str, Tensor] | None:
    """Estimate the likelihoods of this rank's share of the first ``num`` images, and gather those of all ranks.

    Args:
        model: the model.
        images: the images.
        num: the number of images.
        method: how the likelihood is estimated.
        batch_size: the number of images per batch.
        seed: seed of the random numbers.
        group: the processes that share the work.

    Returns:
        On rank 0 ``elbo`` and ``log_p`` in nats, of dequantised images in [-1, 1] where the method dequantises, and
        whether there were ``grey`` values; None on the other ranks.
    """
    device = model_device(model)
    share = group.share(num)
    parts: list[Estimate] = []
    grey = False
    with isolated_inference(model, mix_seed(seed, "likelihood", group.rank)):
        for start in range(0, len(share), batch_size):
            indices = share[start : start + batch_size]
            index = np.asarray(indices, dtype=np.int64)
            stored = images[index].to(device)
            grey = grey or bool(((stored != 0) & (stored != 255)).any())
            labels = None if images.labels is None else torch.from_numpy(images.labels[index]).to(device)
            batch = to_float(stored)
            if method.dequantised:
                generators = image_generators(mix_seed(seed, "dequantise"), indices)
                batch += LEVEL * (uniform(*batch.shape, generator=generators, device=device) - 0.5)
            generators = image_generators(mix_seed(seed, "latents"), indices)
            parts.append(estimate(model, batch, labels, method.samples, generators))
    columns: dict[str, Tensor] = {}
    if parts:
        columns = {
            "grey": torch.full((len(share),), grey),
            "elbo": torch.cat([part.elbo for part in parts]),
            "log_p": torch.cat([part.log_p for part in parts]),
        }
    return group.gather(columns, num)


def estimate(
    model: LikelihoodModel | DensityModel,
    images: Images,
    labels: Labels | None,
    importance_samples: int | None,
    generators: Sequence[torch.Generator],
) -> Estimate:
    """Estimate the likelihood of a batch.

    Args:
        model: the model.
        images: images in [-1, 1].
        labels: their classes, where known.
        importance_samples: K of a latent-variable model, or the number of the model's random draws.
        generators: one per image.

    Returns:
        The likelihood of each image in nats.
    """
    if not isinstance(model, LikelihoodModel):
        log_p = model.log_prob(images, importance_samples, labels=labels, generator=generators).cpu().double()
        return Estimate(log_p, log_p)
    assert importance_samples is not None
    total = torch.zeros(len(images), dtype=torch.float64)
    log_sum = torch.full_like(total, -math.inf)
    for start in range(0, importance_samples, LATENTS_PER_PART):
        num = min(LATENTS_PER_PART, importance_samples - start)
        log_weights = model.log_weights(images, num, labels=labels, generator=generators).cpu().double()
        total += log_weights.sum(0)
        log_sum = torch.logaddexp(log_sum, log_weights.logsumexp(0))
    return Estimate(total / importance_samples, log_sum - math.log(importance_samples))
