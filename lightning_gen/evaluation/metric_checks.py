"""Checks, before any work is done, that metrics are defined for what is scored."""

from collections.abc import Sequence
from typing import Any

from lightning_gen.errors import InputError
from lightning_gen.evaluation.copies import CopyReference
from lightning_gen.evaluation.distance import FeatureDistance, ImageDistance
from lightning_gen.evaluation.extractor import Extractor
from lightning_gen.evaluation.metric_record import Metric
from lightning_gen.evaluation.metrics import FEATURE_METRICS, GENERATOR_METRICS, METRICS, PAIR_METRICS


def check_metrics(
    metrics: Sequence[str],
    extractor: Extractor | None,
    generated: int,
    reference: int,
    copy_reference: CopyReference | None = None,
    model: object | None = None,
    distance: ImageDistance | None = None,
) -> None:
    """Check before any work is done that metrics are defined for what is scored.

    Args:
        metrics: names of metrics.
        extractor: the extractor whose features are compared; None where there is none.
        generated: the number of generated images.
        reference: the number of reference images.
        copy_reference: training and held-out images, for metrics that need held-out images.
        model: the model whose samples are scored; None where anything else is scored.
        distance: the distance of images of metrics that need one; None: that of the extractor's features.

    Raises:
        InputError: naming the metric and what it needs.
    """
    check_metric_names(metrics)
    if extractor is None:
        raise InputError(f"{metrics[0]} compares features of images of one size, and there is no extractor of features")
    for name in metrics:
        metric = METRICS[name]
        for num, kind in ((generated, "generated"), (reference, "reference")):
            if num < metric.min_images and (metric.uses_reference or kind == "generated"):
                raise InputError(f"{name} is undefined for {num} {kind} images; it needs {metric.min_images} or more")
        if metric.probe is not None:
            if model is None:
                raise InputError(f"{name} is computed from a model that generates images, and none is scored here")
            metric.probe.check(model)
        if "distance" in metric.needs:
            (distance or FeatureDistance(extractor)).check(getattr(model, "image_shape", None))
        if "held_out" in metric.needs:
            check_copy_reference(metric, copy_reference)
        if "class_logits" in metric.needs and not extractor.own_classes:
            raise InputError(
                f"{name} counts the classes of the dataset, which {extractor.name} does not know; use classifier"
            )
        if "logits" in metric.needs and not extractor.classes:
            raise InputError(f"{name} needs class scores, and {extractor.name} gives none; use inception or classifier")


def check_copy_reference(metric: Metric[Any], real: CopyReference | None) -> None:
    """Check that there are enough training images and other, held-out images.

    Args:
        metric: the metric.
        real: the images.

    Raises:
        InputError: when there are none, too few, or the two sets are the same.
    """
    if real is None:
        raise InputError(
            f"{metric.name} compares samples with training images and with held-out images, which are unknown here; "
            "score the samples of a checkpoint, or pass held_out"
        )
    for images, kind in ((real.training, "training"), (real.held_out, "held-out")):
        if len(images) < metric.min_images:
            raise InputError(
                f"{metric.name} is undefined for {len(images)} {kind} images; it needs {metric.min_images} or more"
            )
    if real.training.key == real.held_out.key:
        raise InputError(
            f"{metric.name} needs held-out images, and those of {real.held_out.name} are the training images"
        )


def check_metric_names(metrics: Sequence[str]) -> None:
    """Check that there are metrics of ``FEATURE_METRICS`` or ``GENERATOR_METRICS``, and no others (``InputError``)."""
    choices = FEATURE_METRICS + GENERATOR_METRICS
    if not metrics:
        raise InputError(f"no metric is requested; choose from {', '.join(choices)}")
    for name in metrics:
        if name in PAIR_METRICS:
            raise InputError(
                f"{name} compares pairs; score translations of paired data, or two folders of partners with --paired"
            )
        if name not in choices:
            raise InputError(f"unknown metric {name!r}; choose from {', '.join(choices)}")
