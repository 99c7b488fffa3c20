"""Scoring under one protocol: features, FID / IS / KID / precision and recall, and the score card."""

from lightning_gen.evaluation.card import ScoreCard, protocol_name
from lightning_gen.evaluation.extractor import Extractor, Features
from lightning_gen.evaluation.features import EXTRACTORS, make_extractor
from lightning_gen.evaluation.likelihood import LIKELIHOODS, refuse_likelihood, score_likelihood
from lightning_gen.evaluation.metrics import METRICS
from lightning_gen.evaluation.scoring import UniformNoise, score_reconstructor, score_sampler, score_sets

__all__ = [
    "EXTRACTORS",
    "LIKELIHOODS",
    "METRICS",
    "Extractor",
    "Features",
    "ScoreCard",
    "UniformNoise",
    "make_extractor",
    "protocol_name",
    "refuse_likelihood",
    "score_likelihood",
    "score_reconstructor",
    "score_sampler",
    "score_sets",
]
