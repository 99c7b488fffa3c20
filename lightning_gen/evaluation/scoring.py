"""Score a model's samples, its reconstructions, or a set of images, against a set of real ones.

Every function is called on all ranks alike, draws and looks at images in shares of the ranks, scores on rank 0 and
hands the same score card to all. Nothing depends on the batch size or on the number of ranks, and neither the model's
mode nor torch's global random state is changed.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure

from lightning_gen.distributed import ScoringGroup, scoring_group
from lightning_gen.evaluation.card import ScoreCard, protocol_name
from lightning_gen.evaluation.extraction import Drawn, Extracted, extract, extract_reference, from_set
from lightning_gen.evaluation.extractor import Extractor
from lightning_gen.evaluation.metrics import refuse, score_features, weaknesses
from lightning_gen.images import to_float, to_uint8
from lightning_gen.inference import isolated_inference, model_device
from lightning_gen.noise import image_generators, mix_seed, randn
from lightning_gen.types import (
    GradualSampler,
    Images,
    ImageSet,
    ImageShape,
    Labels,
    Randomness,
    Reconstructor,
    Sampler,
    Sampling,
)

MOST_SAMPLES = 10_000
"""How many images are drawn when no number is given and the reference has more."""
FEWEST_PIXELS = 6
"""Sides below this are too small for the window of SSIM, which is left out."""
EXACT = 1e-10
"""Mean squared error below which PSNR is cut off, at 100 dB."""


def score_sampler(
    model: Sampler,
    reference: ImageSet,
    extractor: Extractor,
    *,
    metrics: Sequence[str] = ("fid",),
    num_samples: int | None = None,
    batch_size: int = 100,
    seed: int = 0,
    split: str | None = None,
    weights: Literal["ema", "raw"] | None = None,
) -> ScoreCard:
    """Draw images from a model and score them.

    Image i depends on (seed, i) alone. A class-conditional model (``num_classes`` above 0) gets classes drawn from
    those of the reference, by the same seed; uniformly where the reference has none. Besides the metrics, the card then
    says what share of its images an extractor that knows the dataset's classes takes for the asked class
    (``class_accuracy``).

    Args:
        model: what draws images.
        reference: the real images.
        extractor: whose features are compared.
        metrics: out of ``METRICS``.
        num_samples: how many images to draw; as many as the reference has, at most 10,000, when None.
        batch_size: how many to draw at once.
        seed: of the samples.
        split: name of the reference's split in the protocol's name; the last part of the set's name when None.
        weights: whether averaged or raw weights draw, for the card; asked of the model (``ema``, ``use_ema``) when
            None.

    Returns:
        The score card, on every rank.

    Raises:
        InputError: when a metric is unknown or undefined for so many images, or the extractor cannot see them.
    """
    num = min(len(reference), MOST_SAMPLES) if num_samples is None else num_samples
    refuse(metrics, extractor, num, len(reference))
    device = model_device(model)
    labels = sample_labels(model, reference, num, seed)

    def draw(indices: range) -> Drawn:
        chosen = None if labels is None else labels[list(indices)].to(device)
        drawn = checked(model.sample(len(indices), labels=chosen, generator=image_generators(seed, indices)))
        if chosen is None or not extractor.own_classes:
            return drawn
        return Drawn(drawn.images, {**drawn.figures, "label": chosen})

    facts = {
        "subject": "samples",
        "generated": type(model).__name__,
        "num_generated": num,
        "seed": seed,
        "drawn": drawn_by(model.sampling) if isinstance(model, GradualSampler) else None,
        "labels": None if labels is None else "uniform" if reference.labels is None else "as in the reference",
        "precision": precision(model),
        "weights": weights or sampled_weights(model),
        "images_seen": getattr(model, "images_seen", None),
    }
    with scoring_group() as together:
        with isolated_inference(model, mix_seed(seed, "score", together.rank)):
            generated = extract(draw, num, extractor, batch_size, together, metrics)
        return score(generated, reference, extractor, metrics, batch_size, together, split, facts)


def score_reconstructor(
    model: Reconstructor,
    images: ImageSet,
    extractor: Extractor,
    *,
    metrics: Sequence[str] = ("fid",),
    num_samples: int | None = None,
    batch_size: int = 100,
    seed: int = 0,
    split: str | None = None,
    weights: Literal["ema", "raw"] | None = None,
) -> ScoreCard:
    """Score the reconstructions of a split against that split; besides the metrics, ``mse``, ``psnr`` and ``ssim``.

    With u, v in [0, 1] the stored images and their reconstructions, ``mse = mean (u - v)^2`` over all images,
    ``psnr = -10 log10 mse``, at most 100 dB, and ``ssim`` the mean structural similarity (Wang et al. 2004,
    https://doi.org/10.1109/TIP.2003.819861) with a Gaussian window of 11 pixels, left out of images below 6.

    Args:
        model: what reconstructs images.
        images: the real images.
        extractor: whose features are compared.
        metrics: out of ``METRICS``.
        num_samples: how many images to reconstruct, the set's first; all when None.
        batch_size: how many to reconstruct at once.
        seed: of whatever the model draws from torch's global generators.
        split: name of the split in the protocol's name; the last part of the set's name when None.
        weights: whether averaged or raw weights reconstruct, for the card; asked of the model when None.

    Returns:
        The score card, on every rank.

    Raises:
        InputError: when a metric is unknown or undefined for so many images, or the extractor cannot see them.
    """
    num = len(images) if num_samples is None else min(num_samples, len(images))
    refuse(metrics, extractor, num, len(images))
    device = model_device(model)

    def draw(indices: range) -> Drawn:
        index = np.asarray(indices, dtype=np.int64)
        real = images[index]
        labels = None if images.labels is None else torch.from_numpy(images.labels[index]).to(device)
        drawn = checked(model.reconstruct(to_float(real.to(device)), labels=labels))
        again, true = drawn.images.cpu().double() / 255, real.double() / 255
        figures = {"mse": (again - true).square().flatten(1).mean(1)}
        if min(true.shape[2:]) >= FEWEST_PIXELS:
            figures["ssim"] = ssim(again, true)
        return Drawn(drawn.images, {**drawn.figures, **figures})

    facts = {
        "subject": "reconstructions",
        "generated": type(model).__name__,
        "num_generated": num,
        "precision": precision(model),
        "weights": weights or sampled_weights(model),
        "images_seen": getattr(model, "images_seen", None),
    }
    with scoring_group() as together:
        with isolated_inference(model, mix_seed(seed, "score", together.rank)):
            generated = extract(draw, num, extractor, batch_size, together, metrics)
        return score(generated, images, extractor, metrics, batch_size, together, split, facts)


def score_sets(
    generated: ImageSet,
    reference: ImageSet,
    extractor: Extractor,
    *,
    metrics: Sequence[str] = ("fid",),
    batch_size: int = 100,
    split: str | None = None,
) -> ScoreCard:
    """Score a set of images, e.g. a folder, against another; held-out real images give the floor of a protocol.

    Args:
        generated: the images to score.
        reference: the real images.
        extractor: whose features are compared.
        metrics: out of ``METRICS``.
        batch_size: how many to look at at once.
        split: name of the reference in the protocol's name; the last part of the set's name when None.

    Returns:
        The score card, on every rank.

    Raises:
        InputError: when a metric is unknown or undefined for so many images, or the extractor cannot see them.
    """
    refuse(metrics, extractor, len(generated), len(reference))
    facts = {
        "subject": "folder",
        "generated": generated.name,
        "num_generated": len(generated),
        "precision": precision(extractor),
    }
    with scoring_group() as together:
        extracted = extract(from_set(generated), len(generated), extractor, batch_size, together, metrics)
        return score(extracted, reference, extractor, metrics, batch_size, together, split, facts)


class UniformNoise:
    """A Sampler that knows nothing: every pixel uniform in [-1, 1]. Its score is the ceiling of a protocol.

    Args:
        image_shape: (channels, height, width) of the images.
    """

    def __init__(self, image_shape: ImageShape) -> None:
        self.image_shape = image_shape

    def sample(self, num: int, *, labels: Labels | None = None, generator: Randomness = None) -> Images:
        """Draw ``num`` images; ``labels`` change nothing."""
        return torch.erf(randn(num, *self.image_shape, generator=generator) / math.sqrt(2))


def score(
    generated: Extracted | None,
    reference: ImageSet,
    extractor: Extractor,
    metrics: Sequence[str],
    batch_size: int,
    ranks: ScoringGroup,
    split: str | None,
    facts: Mapping[str, Any],
) -> ScoreCard:
    """Score extracted features on rank 0 and give every rank the card.

    Args:
        generated: features to score; None on all ranks but the first.
        reference: the real images.
        extractor: whose features are compared.
        metrics: out of ``METRICS``.
        batch_size: how many real images to look at at once.
        ranks: the processes that score together.
        split: name of the reference's split.
        facts: further fields of the card.

    Returns:
        The score card.
    """
    real = extract_reference(reference, extractor, metrics, batch_size, ranks)

    def fill() -> ScoreCard:
        assert generated is not None
        assert real is not None
        num, subject = facts["num_generated"], facts["subject"]
        name = split or reference.name.rstrip("/").rsplit("/", 1)[-1]
        scores = score_features(metrics, generated.features, real)
        flags = weaknesses(metrics, extractor, num, len(reference))
        notes = extractor.notes(generated.image_shape[0])
        if "mse" in generated.figures:
            mse = generated.figures["mse"].mean().item()
            scores |= {"mse": mse, "psnr": psnr(mse)}
            scores |= {name: generated.figures[name].mean().item() for name in ("ssim",) if name in generated.figures}
        if "right" in generated.figures:
            scores["class_accuracy"] = generated.figures["right"].double().mean().item()
        broken = num - int(generated.figures["finite"].sum()) if "finite" in generated.figures else 0
        if broken:
            flags |= dict.fromkeys(metrics, f"{broken:,} images held values that are not finite, taken as grey")
        real_shape = tuple(reference[:1].shape[1:])
        if real_shape != generated.image_shape:
            notes.append("generated {}x{}x{}, reference {}x{}x{}".format(*generated.image_shape, *real_shape))
        return ScoreCard(
            scores=scores,
            metrics=tuple(metrics),
            protocol={metric: protocol_name(metric, num, name, extractor.name, subject) for metric in metrics},
            reference=reference.name,
            reference_key=reference.key,
            num_reference=len(reference),
            split=name,
            extractor=extractor.name,
            weights_hash=extractor.weights_hash,
            extractor_accuracy=extractor.accuracy,
            resizer=extractor.resizer,
            image_shape=generated.image_shape,
            num_modes=extractor.classes if "modes" in metrics else None,
            notes=tuple(notes),
            flags=flags,
            **facts,
        )

    return ranks.on_first_rank(fill)


def ssim(images: Float64[Tensor, "batch channels height width"], others: Tensor) -> Float64[Tensor, " batch"]:
    """Structural similarity of pairs of images, in [-1, 1].

    Wang et al. 2004 (https://doi.org/10.1109/TIP.2003.819861): a Gaussian window of 11 pixels with a standard deviation
    of 1.5, by torchmetrics.

    Args:
        images: in [0, 1], with sides of ``FEWEST_PIXELS`` or more.
        others: of the same shape.

    Returns:
        One number a pair.
    """
    found = structural_similarity_index_measure(images, others, data_range=1.0, reduction="none")
    assert isinstance(found, Tensor)
    return found.reshape(-1)  # torchmetrics gives one number for one image and a row for several


def psnr(mse: float) -> float:
    """PSNR = -10 log10 mse in dB of a mean squared error in [0, 1], cut off at 100 dB."""
    return -10 * math.log10(max(mse, EXACT))


def sample_labels(model: Sampler, reference: ImageSet, num: int, seed: int) -> Labels | None:
    """Choose classes for a class-conditional model, as often as the reference has them; a function of the seed.

    Args:
        model: conditional when its ``num_classes`` is above 0.
        reference: whose classes are drawn from, with replacement; all classes alike where it has none.
        num: how many to choose.
        seed: of the samples.

    Returns:
        Class of each image on the CPU, or None for an unconditional model.
    """
    classes = getattr(model, "num_classes", 0) or 0
    if classes < 1:
        return None
    random = np.random.default_rng(mix_seed(seed, "labels"))
    return torch.from_numpy(random.choice(np.arange(classes) if reference.labels is None else reference.labels, num))


def drawn_by(sampling: Sampling) -> str:
    """Say how images were drawn, e.g. ``ddim, 50 steps, trailing, eta 0``; what changes nothing is left out."""
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


def checked(images: Images) -> Drawn:
    """Store a model's images, with values that are not finite as grey, and note which images had such values."""
    finite = images.isfinite().flatten(1).all(1)
    return Drawn(to_uint8(images.nan_to_num(0.0, 0.0, 0.0)), {"finite": finite})


def sampled_weights(model: object) -> Literal["ema", "raw"] | None:
    """Ask a model which weights it shows: averaged ones where it has an ``ema`` and does not say otherwise."""
    if not isinstance(model, nn.Module):
        return None
    return "ema" if getattr(model, "ema", None) is not None and getattr(model, "use_ema", True) else "raw"


def precision(model: object) -> str:
    """The numbers that a model computes with here and now, e.g. ``float32`` or ``float32, autocast to bfloat16``."""
    device = model_device(model)
    parameters = model.parameters() if isinstance(model, nn.Module) else iter(())
    names = [str(next((parameter.dtype for parameter in parameters), torch.float32))]
    if torch.is_autocast_enabled(device.type):
        names.append(f"autocast to {torch.get_autocast_dtype(device.type)}")
    if device.type == "cuda" and torch.backends.cudnn.allow_tf32:
        names.append("TF32 convolutions")
    return ", ".join(names).replace("torch.", "")
