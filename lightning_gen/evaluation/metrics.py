"""FID, IS, KID and PRC of extracted features, by torch-fidelity's own functions with its defaults and seeds; and modes.

    fid    ||m1 - m2||^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))          Heusel et al. 2017, https://arxiv.org/abs/1706.08500
    isc    exp E_x KL(p(y|x) || p(y)), mean and std of 10 splits   Salimans et al. 2016, https://arxiv.org/abs/1606.03498
    kid    unbiased MMD^2 with k(x, y) = (x.y / d + 1)^3, mean and std of 100 subsets of 1,000
                                                                 Binkowski et al. 2018, https://arxiv.org/abs/1801.01401
    prc    precision and recall with 3 nearest neighbours   Kynkaanniemi et al. 2019, https://arxiv.org/abs/1904.06991
    modes  #{c : p(c) > 0} and sum_c p(c) log(C p(c)), p(c) the share of images assigned to class c of C
                                                                        Metz et al. 2017, https://arxiv.org/abs/1611.02163

A metric that is undefined for the numbers of images given is refused; one that is only weak is computed and flagged.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric
from torch_fidelity.metric_prc import (
    KEY_METRIC_F_SCORE,
    KEY_METRIC_PRECISION,
    KEY_METRIC_RECALL,
    prc_features_to_metric,
)

from lightning_gen.errors import InputError
from lightning_gen.evaluation.extractor import Extractor, Features

METRICS = ("fid", "isc", "kid", "prc", "modes")
LOGITS_ALONE = ("isc", "modes")
"""Metrics of the class scores of the generated images, to which the reference is nothing."""
SPLITS = 10
SUBSET = 1000
NEIGHBOURS = 3
FEWEST = {"fid": 2, "isc": SPLITS, "kid": 2, "prc": NEIGHBOURS + 1, "modes": 1}
"""Below so many images (of either set; of the generated ones for ``LOGITS_ALONE``) a metric is undefined."""
IMAGES_A_MODE = 20
"""With fewer images a class on average, chance alone may leave a class empty."""
WHOLE_TABLE = 20_000
"""Above so many images PRC's distances are computed in parts, lest their table fill the memory."""

Vectors = Float[Tensor, "_ features"]
Statistics = Mapping[str, npt.NDArray[np.generic]]
"""Mean ``mu`` (width) and covariance ``sigma`` (width, width) of features."""
Scores = dict[str, float]


class Reference(NamedTuple):
    """What metrics need of the reference images; empty where no metric asked for needs it."""

    vectors: Vectors
    statistics: Statistics


statistics: Callable[[Vectors], Statistics] = fid_features_to_statistics


def refuse(metrics: Sequence[str], extractor: Extractor, generated: int, reference: int) -> None:
    """Refuse metrics that are unknown, or undefined for what is to be scored, before any work is done.

    Args:
        metrics: names out of ``METRICS``.
        extractor: whose features are compared.
        generated: number of generated images.
        reference: number of reference images.

    Raises:
        InputError: naming the metric and what it needs.
    """
    if not metrics:
        raise InputError(f"no metric asked for; choose from {', '.join(METRICS)}")
    for metric in metrics:
        if metric not in METRICS:
            raise InputError(f"unknown metric {metric!r}; choose from {', '.join(METRICS)}")
        for num, kind in ((generated, "generated"), (reference, "reference")):
            if num < FEWEST[metric] and (metric not in LOGITS_ALONE or kind == "generated"):
                raise InputError(f"{metric} is undefined for {num} {kind} images; it needs {FEWEST[metric]} or more")
        if metric == "isc" and not extractor.classes:
            raise InputError(f"isc needs class scores, and {extractor.name} gives none; use inception or classifier")
        if metric == "modes" and not extractor.own_classes:
            raise InputError(
                f"modes counts the classes of the dataset, which {extractor.name} does not know; use classifier"
            )


def weaknesses(metrics: Sequence[str], extractor: Extractor, generated: int, reference: int) -> dict[str, str]:
    """Say which metrics are defined but weak for so many images.

    Args:
        metrics: names out of ``METRICS``.
        extractor: whose features are compared.
        generated: number of generated images.
        reference: number of reference images.

    Returns:
        Metric -> what is weak about it.
    """
    fewest = min(generated, reference)
    flags = {}
    if "fid" in metrics and fewest <= extractor.width:
        flags["fid"] = f"{fewest:,} images for {extractor.width:,} features: the covariance is singular, the FID biased"
    if "isc" in metrics and generated < SPLITS * extractor.classes:
        flags["isc"] = f"{generated // SPLITS:,} images a split for {extractor.classes:,} classes: biased low"
    if "kid" in metrics and fewest < SUBSET:
        flags["kid"] = f"subsets of {fewest:,} instead of {SUBSET:,} images; kid_std means little"
    if "modes" in metrics and generated < IMAGES_A_MODE * extractor.classes:
        bias = (extractor.classes - 1) / (2 * generated)  # of a sample's entropy, to first order (Miller 1955)
        flags["modes"] = (
            f"{generated:,} images for {extractor.classes:,} classes: too few to find every mode for sure, and the KL "
            f"is biased up (by {bias:.2g} where all are as likely)"
        )
    return flags


def fid(generated: Statistics, reference: Statistics) -> Scores:
    """Frechet distance of two Gaussians with these statistics: ``fid``."""
    return {"fid": fid_statistics_to_metric(generated, reference, verbose=False)[KEY_METRIC_FID]}


def isc(logits: Float[Tensor, "_ classes"]) -> Scores:
    """Inception Score of logits: ``isc`` and ``isc_std``."""
    result = isc_features_to_metric(logits, SPLITS)
    return {"isc": result[KEY_METRIC_ISC_MEAN], "isc_std": result[KEY_METRIC_ISC_STD]}


def kid(generated: Vectors, reference: Vectors) -> Scores:
    """Kernel distance of features: ``kid`` and ``kid_std``."""
    subset = min(SUBSET, len(generated), len(reference))
    result = kid_features_to_metric(generated, reference, kid_subset_size=subset, verbose=False)
    return {"kid": result[KEY_METRIC_KID_MEAN], "kid_std": result[KEY_METRIC_KID_STD]}


def prc(generated: Vectors, reference: Vectors) -> Scores:
    """Precision, recall and their harmonic mean: ``precision``, ``recall``, ``f_score``."""
    parts = max(len(generated), len(reference)) > WHOLE_TABLE
    result = prc_features_to_metric(
        generated, reference, prc_neighborhood=NEIGHBOURS, save_cpu_ram=parts, verbose=False
    )
    return {
        "precision": result[KEY_METRIC_PRECISION],
        "recall": result[KEY_METRIC_RECALL],
        "f_score": result[KEY_METRIC_F_SCORE],
    }


def modes(logits: Float[Tensor, "_ classes"]) -> Scores:
    """How many classes the images are assigned to, ``modes``, and the KL divergence of their shares to uniform in nats.

    ``modes_kl`` is log C minus the entropy of the shares: 0 where all C classes are met alike, log C where only one is.
    """
    counts = logits.argmax(1).bincount(minlength=logits.shape[1]).double()
    share = counts / counts.sum()
    divergence = torch.special.xlogy(share, share * len(share)).sum().item()
    return {"modes": float(counts.count_nonzero()), "modes_kl": max(0.0, divergence)}  # lest rounding make it negative


def score_features(metrics: Sequence[str], generated: Features, reference: Reference) -> Scores:
    """Compute metrics of generated features against a reference.

    Args:
        metrics: names out of ``METRICS``, none of which ``refuse`` refuses.
        generated: features of the generated images.
        reference: features of the reference images.

    Returns:
        Score by name, in the order of ``METRICS``.
    """
    scores: Scores = {}
    if "fid" in metrics:
        scores |= fid(statistics(generated.vectors), reference.statistics)
    if "isc" in metrics and generated.logits is not None:
        scores |= isc(generated.logits)
    if "kid" in metrics:
        scores |= kid(generated.vectors, reference.vectors)
    if "prc" in metrics:
        scores |= prc(generated.vectors, reference.vectors)
    if "modes" in metrics and generated.logits is not None:
        scores |= modes(generated.logits)
    return scores
