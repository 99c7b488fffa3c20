"""Scoring under one protocol: features, metrics, likelihoods and the score card."""

from lightning_gen.evaluation.band import WIDE_FEATURES, Band
from lightning_gen.evaluation.card import ScoreCard, protocol_name
from lightning_gen.evaluation.distance import FeatureDistance, ImageDistance, LpipsDistance
from lightning_gen.evaluation.extractor import Extractor, Features
from lightning_gen.evaluation.extractors import (
    AUTO,
    EXTRACTORS,
    NO_EXTRACTOR,
    choose_extractor,
    classifier_file,
    classifier_splits,
    make_extractor,
)
from lightning_gen.evaluation.facts import describe_sampling
from lightning_gen.evaluation.likelihood import check_likelihood_metrics, score_likelihood
from lightning_gen.evaluation.lpips import Lpips
from lightning_gen.evaluation.metric_checks import check_metric_names, check_metrics
from lightning_gen.evaluation.metrics import (
    FEATURE_METRICS,
    GENERATOR_METRICS,
    LIKELIHOOD_METRICS,
    METRICS,
    PAIR_METRICS,
    needs_of,
)
from lightning_gen.evaluation.pairs import differ_in_size, smallest_side
from lightning_gen.evaluation.scoring import (
    MAX_SAMPLES,
    UniformNoise,
    score_images,
    score_reconstructions,
    score_samples,
)
from lightning_gen.evaluation.translations import score_translations

__all__ = [
    "AUTO",
    "EXTRACTORS",
    "FEATURE_METRICS",
    "GENERATOR_METRICS",
    "LIKELIHOOD_METRICS",
    "MAX_SAMPLES",
    "METRICS",
    "NO_EXTRACTOR",
    "PAIR_METRICS",
    "WIDE_FEATURES",
    "Band",
    "Extractor",
    "FeatureDistance",
    "Features",
    "ImageDistance",
    "Lpips",
    "LpipsDistance",
    "ScoreCard",
    "UniformNoise",
    "check_likelihood_metrics",
    "check_metric_names",
    "check_metrics",
    "choose_extractor",
    "classifier_file",
    "classifier_splits",
    "describe_sampling",
    "differ_in_size",
    "make_extractor",
    "needs_of",
    "protocol_name",
    "score_images",
    "score_likelihood",
    "score_reconstructions",
    "score_samples",
    "score_translations",
    "smallest_side",
]
