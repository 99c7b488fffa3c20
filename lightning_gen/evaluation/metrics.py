"""The table of metrics: what each needs, when it is undefined or weak, how it is computed, and the scores it returns.

    fid    ||m1 - m2||^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))          Heusel et al. 2017, https://arxiv.org/abs/1706.08500
    isc    exp E_x KL(p(y|x) || p(y)), mean and std of 10 splits   Salimans et al. 2016, https://arxiv.org/abs/1606.03498
    kid    unbiased MMD^2 with k(x, y) = (x.y / d + 1)^3, mean and std of 100 subsets of 1,000
                                                                 Binkowski et al. 2018, https://arxiv.org/abs/1801.01401
    prc    precision and recall with 3 nearest neighbours   Kynkaanniemi et al. 2019, https://arxiv.org/abs/1904.06991
    modes  #{c : p(c) > 0} and sum_c p(c) log(C p(c)), p(c) the share of images assigned to class c of C
                                                                        Metz et al. 2017, https://arxiv.org/abs/1611.02163
    copies             see ``copies.py``
    ppl_zfull, ppl_zend, ppl_wfull, ppl_wend    see ``path_length.py``
    eqt, eqt_frac, eqr    see ``equivariance.py``
    mse, psnr, ssim, psnr_y, ssim_y    see ``losses/image_quality.py``
    lpips              see ``lpips.py``
    label_kept         share of translations to which the dataset's classifier assigns the class of the input
    consistency        MSE of a super-resolved image, reduced by bicubic interpolation, and its input
                                                                     Saharia et al. 2021, https://arxiv.org/abs/2104.07636
    elbo, nll          see ``likelihood.py``

FID, IS, KID and PRC are torch-fidelity's functions with its defaults and seeds. To add a metric, add a record to
``METRICS``. The names that the command line accepts, the checks before scoring, the features that are extracted and
the rows of the score card follow from the table.
"""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

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

from lightning_gen.evaluation.copies import MIN_CELL_SAMPLES, QUANTILE, SPACES, CopyStatistics
from lightning_gen.evaluation.equivariance import EQUIVARIANCES
from lightning_gen.evaluation.metric_record import (
    FeatureInputs,
    LikelihoodInputs,
    Metric,
    Need,
    Scores,
    Statistics,
    Vectors,
    mean_and_error,
)
from lightning_gen.evaluation.path_length import PATH_LENGTHS
from lightning_gen.losses.image_quality import (
    SSIM_MIN_SIDE,
    SSIM_WINDOW,
    mse,
    psnr,
    psnr_y,
    ssim,
    ssim_y,
    variation_ratio,
)

ISC_SPLITS = 10
KID_SUBSET = 1000
PRC_NEIGHBOURS = 3
PRC_MAX_WHOLE = 20_000
"""The largest number of images for which the table of PRC's distances is computed in one part."""
MODES_MIN_IMAGES_PER_CLASS = 20
"""With fewer images per class on average, a class may be empty by chance."""
MEMORISED = "memorised training images"
"""Begin of the flag of ``copies``."""
NLL_MIN_LATENTS = 100
"""With fewer importance samples, the estimate of log p(x) is flagged as a loose bound."""

statistics: Callable[[Vectors], Statistics] = fid_features_to_statistics


# ---- functions


def fid(generated: Statistics, reference: Statistics) -> Scores:
    """Frechet distance of two Gaussians with these statistics: ``fid``."""
    return {"fid": fid_statistics_to_metric(generated, reference, verbose=False)[KEY_METRIC_FID]}


def isc(logits: Float[Tensor, "_ classes"]) -> Scores:
    """Inception Score of logits: ``isc`` and ``isc_std``."""
    result = isc_features_to_metric(logits, ISC_SPLITS)
    return {"isc": result[KEY_METRIC_ISC_MEAN], "isc_std": result[KEY_METRIC_ISC_STD]}


def kid(generated: Vectors, reference: Vectors) -> Scores:
    """Kernel distance of features: ``kid`` and ``kid_std``."""
    subset = min(KID_SUBSET, len(generated), len(reference))
    result = kid_features_to_metric(generated, reference, kid_subset_size=subset, verbose=False)
    return {"kid": result[KEY_METRIC_KID_MEAN], "kid_std": result[KEY_METRIC_KID_STD]}


def prc(generated: Vectors, reference: Vectors) -> Scores:
    """Precision, recall and their harmonic mean: ``precision``, ``recall``, ``f_score``."""
    in_parts = max(len(generated), len(reference)) > PRC_MAX_WHOLE
    result = prc_features_to_metric(
        generated, reference, prc_neighborhood=PRC_NEIGHBOURS, save_cpu_ram=in_parts, verbose=False
    )
    return {
        "precision": result[KEY_METRIC_PRECISION],
        "recall": result[KEY_METRIC_RECALL],
        "f_score": result[KEY_METRIC_F_SCORE],
    }


def modes(logits: Float[Tensor, "_ classes"]) -> Scores:
    """The number of classes assigned to any image, ``modes``, and the KL divergence of the class shares to uniform.

    ``modes_kl`` is log C minus the entropy of the shares, in nats: 0 where all C classes are equally frequent, log C
    where there is only one.
    """
    counts = logits.argmax(1).bincount(minlength=logits.shape[1]).double()
    share = counts / counts.sum()
    divergence = torch.special.xlogy(share, share * len(share)).sum().item()
    return {"modes": float(counts.count_nonzero()), "modes_kl": max(0.0, divergence)}  # rounding may make it negative


def nll(inputs: LikelihoodInputs) -> Scores:
    """Mean -log p(x) in nats with its standard error, and in bits per dimension."""
    scores = mean_and_error("nll", -inputs.log_p)
    return scores | {"bits_per_dim": scores["nll"] / (inputs.dimensions * math.log(2))}


def copies(statistics: CopyStatistics) -> Scores:
    """Shares of samples that are near to a training image, C_T, and the p-value of memorisation."""
    spaces = statistics.spaces
    scores = {f"copies_{name}": spaces[name].distance.share for name in SPACES}
    scores |= {f"copies_ratio_{name}": spaces[name].ratio.share for name in SPACES}
    scores |= {f"copies_ct_{name}": spaces[name].c_t for name in SPACES}
    return scores | {"copies_p": statistics.p}


def squared_error_scores(inputs: FeatureInputs) -> Scores:
    """MSE and PSNR over all pixels."""
    error = inputs.per_image["mse"].mean().item()
    return {"mse": error, "psnr": psnr(error)}


def mean_of(name: str, score: str | None = None) -> Callable[[FeatureInputs], Scores]:
    """The mean of a metric's values and its standard error, as the score ``score``; None: ``name``."""
    return lambda inputs: mean_and_error(score or name, inputs.per_image[name].double())


# ---- when a metric is weak


def weak_fid(inputs: FeatureInputs) -> str | None:
    """The covariance of fewer images than features is singular."""
    width = inputs.network.width
    if inputs.fewest > width:
        return None
    return f"{inputs.fewest:,} images for {width:,} features: the covariance is singular, the FID biased"


def weak_isc(inputs: FeatureInputs) -> str | None:
    """The marginal distribution of a split needs at least one image per class."""
    num, classes = inputs.num_generated, inputs.network.classes
    if num >= ISC_SPLITS * classes:
        return None
    return f"{num // ISC_SPLITS:,} images per split for {classes:,} classes: biased low"


def weak_kid(inputs: FeatureInputs) -> str | None:
    """Smaller subsets have another spread."""
    if inputs.fewest >= KID_SUBSET:
        return None
    return f"subsets of {inputs.fewest:,} instead of {KID_SUBSET:,} images; kid_std is not comparable"


def weak_modes(inputs: FeatureInputs) -> str | None:
    """Classes may be empty by chance."""
    num, classes = inputs.num_generated, inputs.network.classes
    if num >= MODES_MIN_IMAGES_PER_CLASS * classes:
        return None
    bias = (classes - 1) / (2 * num)  # of a sample's entropy, to first order (Miller 1955)
    return (
        f"{num:,} images for {classes:,} classes: a covered mode may be missed, and the KL is biased upwards "
        f"(by {bias:.2g} if all classes are equally likely)"
    )


def weak_copies(inputs: FeatureInputs) -> str | None:
    """The model has memorised training images, or the held-out images do not allow to tell."""
    assert inputs.copies is not None
    reasons = []
    ratios = {name: inputs.copies.spaces[name].ratio for name in inputs.copies.memorised}
    if ratios:
        shares = " and ".join(f"{ratio.share:.1%} by {name}" for name, ratio in ratios.items())
        expected = max(ratio.expected for ratio in ratios.values())
        reasons.append(f"{MEMORISED}: small distance ratios of {shares}, {expected:.1%} expected")
    num = inputs.copies.num_held_out
    if QUANTILE * (num + 1) < 1:
        reasons.append(f"{num} held-out images: no {QUANTILE:.0%} quantile; their smallest distance is used")
    duplicates = inputs.copies.spaces["pixels"].duplicates
    if duplicates > QUANTILE:
        reasons.append(f"{duplicates:.1%} of the held-out images are copies of training images")
    return "; ".join(reasons) or None


def weak_elbo(inputs: LikelihoodInputs) -> str | None:
    """A Bernoulli likelihood of grey values does not sum to 1."""
    return "grey values under a Bernoulli likelihood: a relaxation, not a probability" if inputs.relaxed else None


def weak_nll(inputs: LikelihoodInputs) -> str | None:
    """The importance-weighted bound is loose for few samples."""
    few = inputs.latents is not None and inputs.latents < NLL_MIN_LATENTS
    reasons = [f"{inputs.latents} samples: a loose upper bound"] if few else []
    return "; ".join([*reasons, *filter(None, [weak_elbo(inputs)])]) or None


# ---- the table

RECORDS: tuple[Metric[Any], ...] = (
    Metric(
        "fid",
        needs=frozenset({"statistics"}),
        scores={"fid": "lower"},
        compute=lambda x: fid(statistics(x.features.vectors), x.reference.statistics),
        min_images=2,
        weakness=weak_fid,
        band_draws=100,
    ),
    Metric(
        "isc",
        needs=frozenset({"logits"}),
        scores={"isc": "higher", "isc_std": None},
        compute=lambda x: isc(x.logits),
        min_images=ISC_SPLITS,
        weakness=weak_isc,
    ),
    Metric(
        "kid",
        needs=frozenset({"features"}),
        scores={"kid": "lower", "kid_std": None},
        compute=lambda x: kid(x.features.vectors, x.reference.vectors),
        min_images=2,
        weakness=weak_kid,
    ),
    Metric(
        "prc",
        needs=frozenset({"features"}),
        scores={"precision": "higher", "recall": "higher", "f_score": "higher"},
        compute=lambda x: prc(x.features.vectors, x.reference.vectors),
        min_images=PRC_NEIGHBOURS + 1,
        band_draws=20,
    ),
    Metric(
        "modes",
        needs=frozenset({"logits", "class_logits"}),
        scores={"modes": "higher", "modes_kl": "lower"},
        compute=lambda x: modes(x.logits),
        weakness=weak_modes,
    ),
    Metric(
        "copies",
        needs=frozenset({"held_out"}),
        scores={
            "copies_pixels": "lower",
            "copies_features": "lower",
            "copies_ratio_pixels": "lower",
            "copies_ratio_features": "lower",
            "copies_ct_pixels": "higher",
            "copies_ct_features": "higher",
            "copies_p": "higher",
        },
        compute=lambda x: copies(x.copies),
        min_images=MIN_CELL_SAMPLES,
        weakness=weak_copies,
    ),
    Metric(
        "mse",
        needs=frozenset({"reconstructions"}),
        scores={"mse": "lower", "psnr": "higher"},
        compute=squared_error_scores,
        per_image=lambda images, targets: mse(images, targets, "image"),
    ),
    Metric(
        "ssim",
        needs=frozenset({"reconstructions"}),
        scores={"ssim": "higher"},
        compute=lambda x: {"ssim": x.per_image["ssim"].mean().item()},
        per_image=ssim,
        min_side=SSIM_MIN_SIDE,
    ),
    Metric(
        "mean_psnr",
        needs=frozenset({"targets"}),
        scores={"psnr": "higher", "psnr_sem": None},
        compute=mean_of("mean_psnr", "psnr"),
        per_image=lambda images, targets: psnr(mse(images, targets, "image")),
    ),
    Metric(
        "mean_ssim",
        needs=frozenset({"targets"}),
        scores={"ssim": "higher", "ssim_sem": None},
        compute=mean_of("mean_ssim", "ssim"),
        per_image=lambda images, targets: ssim(images, targets, "valid"),
        min_side=SSIM_WINDOW,
    ),
    Metric(
        "tv_ratio",
        needs=frozenset({"targets"}),
        scores={"tv_ratio": "one", "tv_ratio_sem": None},
        compute=mean_of("tv_ratio"),
        per_image=variation_ratio,
        min_side=2,
    ),
    Metric(
        "psnr_y",
        needs=frozenset({"cropped_targets"}),
        scores={"psnr_y": "higher", "psnr_y_sem": None},
        compute=mean_of("psnr_y"),
        per_image=psnr_y,
    ),
    Metric(
        "ssim_y",
        needs=frozenset({"cropped_targets"}),
        scores={"ssim_y": "higher", "ssim_y_sem": None},
        compute=mean_of("ssim_y"),
        per_image=ssim_y,
        min_side=SSIM_WINDOW,
    ),
    Metric(
        "lpips",
        needs=frozenset({"perceptual"}),
        scores={"lpips": "lower", "lpips_sem": None},
        compute=mean_of("lpips"),
    ),
    Metric(
        "consistency",
        needs=frozenset({"reduced"}),
        scores={"consistency": "lower", "consistency_sem": None},
        compute=mean_of("consistency"),
        per_image=lambda images, inputs: mse(images, inputs, "image"),
    ),
    Metric(
        "label_kept",
        needs=frozenset({"input_labels", "class_logits"}),
        scores={"label_kept": "higher", "label_kept_sem": None},
        compute=mean_of("label_kept"),
        per_image=lambda logits, labels: logits.argmax(1) == labels,
    ),
    Metric(
        "class_accuracy",
        needs=frozenset({"labels", "class_logits"}),
        scores={"class_accuracy": "higher"},
        compute=lambda x: {"class_accuracy": x.per_image["class_accuracy"].double().mean().item()},
        per_image=lambda logits, labels: logits.argmax(1) == labels,
    ),
    Metric(
        "elbo",
        needs=frozenset({"likelihood", "latents"}),
        scores={"elbo": "higher", "elbo_sem": None},
        compute=lambda x: mean_and_error("elbo", x.elbo),
        min_images=2,
        weakness=weak_elbo,
    ),
    Metric(
        "nll",
        needs=frozenset({"likelihood"}),
        scores={"nll": "lower", "nll_sem": None, "bits_per_dim": "lower"},
        compute=nll,
        min_images=2,
        weakness=weak_nll,
    ),
    *PATH_LENGTHS,
    *EQUIVARIANCES,
)
METRICS: Mapping[str, Metric[Any]] = {metric.name: metric for metric in RECORDS}
LIKELIHOOD_METRICS = tuple(name for name, metric in METRICS.items() if "likelihood" in metric.needs)
PAIR_METRICS = tuple(name for name, metric in METRICS.items() if "perceptual" in metric.needs)
"""The metrics of pairs that can be requested; the others are computed wherever there are pairs."""
GENERATOR_METRICS = tuple(name for name, metric in METRICS.items() if "generator" in metric.needs)
"""The metrics of a model that generates images from latents, beside those of its images."""
FEATURE_METRICS = tuple(
    name
    for name, metric in METRICS.items()
    if not metric.automatic and not metric.needs & {"likelihood", "perceptual", "generator"}
)
"""The metrics of generated images that can be requested."""
METRIC_OF_SCORE = {key: metric.name for metric in RECORDS for key in metric.scores}
"""Metric by score; ``psnr`` and ``ssim`` belong to one metric of reconstructions and to another of pairs."""
PAIR_NEEDS: frozenset[Need] = frozenset({"targets", "cropped_targets", "reduced", "perceptual", "input_labels"})
"""What the metrics of translations and of pairs of files are computed from."""


# ---- looking up the table


def needs_of(metrics: Collection[str]) -> set[Need]:
    """What metrics are computed from."""
    return {need for name in metrics for need in METRICS[name].needs}


def automatic_metrics(need: Need) -> list[Metric[Any]]:
    """The metrics that are computed wherever ``need`` is available, such as MSE of reconstructions."""
    return [metric for metric in RECORDS if metric.automatic and need in metric.needs]


def compute_scores(metrics: Collection[str], inputs: FeatureInputs | LikelihoodInputs) -> Scores:
    """Compute metrics; the scores are in the order of ``METRICS``. Names of other things are ignored."""
    scores: Scores = {}
    for name, metric in METRICS.items():
        if name in metrics:
            scores |= metric.compute(inputs)
    return scores


def find_weaknesses(metrics: Collection[str], inputs: FeatureInputs | LikelihoodInputs) -> dict[str, str]:
    """Metric -> why its scores are weak, for those that are."""
    reasons = {name: metric.weakness(inputs) for name, metric in METRICS.items() if name in metrics}
    return {name: reason for name, reason in reasons.items() if reason}
