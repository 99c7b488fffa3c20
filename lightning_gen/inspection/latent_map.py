"""The latent space in two dimensions."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lightning_gen.errors import InputError
from lightning_gen.inspection.findings import Findings, Picture, picture_of
from lightning_gen.inspection.latents import encode_split, noise_of
from lightning_gen.inspection.subject import Subject, at_least
from lightning_gen.types import Encoder

Points = Float[np.ndarray, "_ dims"]
Classes = npt.NDArray[np.int64]
Labelled = tuple[Points, Classes | None]
NEIGHBOURS = 5
MOST_IN_LEGEND = 10


class Flat(NamedTuple):
    """Points in two dimensions, what their axes are called, and what is known of them."""

    points: Float[np.ndarray, "images 2"]
    axes: tuple[str, str]
    numbers: dict[str, Any]


def latent_map(
    subject: Subject,
    method: Literal["pca", "umap"] = "pca",
    split: Literal["train", "val", "test"] = "test",
    num: int = 5000,
) -> Findings:
    """Draw the latents of images in two dimensions, coloured by class, and measure how well they tell the classes.

    A conditional model's latents are taken without their classes.

    Args:
        subject: model and data.
        method: pca, the two principal axes; or umap (McInnes et al. 2018, https://arxiv.org/abs/1802.03426), which
            keeps neighbours together and no distances, and needs the package umap-learn.
        split: the split that is drawn.
        num: images of a split, at most, spread evenly over it.

    Returns:
        The map; with pca, the share of the variance that each axis explains; where there are classes, the share of the
        test split's latents whose class is told right by their 5 nearest neighbours among the train split's, and by
        logistic regression on these (each dimension standardised).

    Raises:
        InputError: when the model encodes no images or has a single latent, or umap is not installed.
    """
    at_least(NEIGHBOURS, num=num)
    subject.need(Encoder, "encodes no images, which latent-map needs")
    points, labels = _points(subject, split, num)
    if points.shape[1] < 2:
        raise InputError(f"latent-map needs at least 2 latents, this model has {points.shape[1]}")
    flat = METHODS[method](points, subject.seed)
    numbers = {"split": split, "num": len(points), "latent_dim": points.shape[1], "method": method, **flat.numbers}
    summary = [f"{method} of the latents of {len(points)} images of {split}"]
    if method == "pca":
        summary = [f"{summary[0]}: {sum(flat.numbers['explained_variance']):.1%} of their variance"]
    if accuracy := probes(_points(subject, "train", num), _points(subject, "test", num)):
        numbers |= accuracy
        summary.append(", ".join(f"{name.replace('_', ' ')} {value:.1%}" for name, value in accuracy.items()))
    return Findings(chart(flat, labels), numbers, summary=tuple(summary))


def by_pca(points: Points, seed: int) -> Flat:
    """Project points on their two principal axes.

    Args:
        points: float vectors.
        seed: not used.

    Returns:
        The projections, and the shares of the variance as ``explained_variance``.
    """
    pca = PCA(2, svd_solver="full")
    flat = pca.fit_transform(points)
    first, second = (float(share) for share in pca.explained_variance_ratio_)
    axes = (f"first principal axis ({first:.1%} of the variance)", f"second principal axis ({second:.1%})")
    return Flat(flat, axes, {"explained_variance": [first, second]})


def by_umap(points: Points, seed: int) -> Flat:
    """Lay points out by UMAP, with its own defaults.

    Args:
        points: float vectors.
        seed: where its randomness starts.

    Returns:
        The layout.

    Raises:
        InputError: when umap-learn is not installed.
    """
    try:
        from umap import UMAP
    except ImportError:
        raise InputError("--method umap needs umap-learn: pip install 'lightning_gen[umap]', or take pca") from None
    # without n_jobs it warns that a seed leaves it one job
    flat = UMAP(n_neighbors=min(15, len(points) - 1), random_state=seed, n_jobs=1).fit_transform(points)
    return Flat(flat, ("UMAP 1", "UMAP 2"), {})


METHODS: dict[str, Callable[[Points, int], Flat]] = {"pca": by_pca, "umap": by_umap}


def probes(known: Labelled, asked: Labelled) -> dict[str, float]:
    """Measure how well classifiers of some points tell the classes of others.

    Args:
        known: points and their classes, to fit to.
        asked: points and their classes, to score.

    Returns:
        Accuracies in [0, 1]; none where there are no classes to tell from one another.
    """
    if known[1] is None or len(np.unique(known[1])) < 2:
        return {}
    classifiers = {
        "knn_accuracy": KNeighborsClassifier(min(NEIGHBOURS, len(known[0]))),
        "linear_accuracy": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    }
    return {name: float(classifier.fit(*known).score(*asked)) for name, classifier in classifiers.items()}


def chart(flat: Flat, labels: Classes | None) -> Picture:
    """Draw points, a colour a class, with a legend where the classes are few.

    Args:
        flat: the points.
        labels: their classes.

    Returns:
        uint8 RGB.
    """
    figure = Figure((7, 6), dpi=100)
    axes = figure.add_axes((0.1, 0.09, 0.79, 0.88))
    x, y = flat.points.T
    size = 600 / len(flat.points) ** 0.5
    style: dict[str, Any] = {"s": min(max(size, 4), 24), "alpha": 0.8, "linewidths": 0}
    if labels is None:
        axes.scatter(x, y, **style)
    elif len(classes := np.unique(labels)) > MOST_IN_LEGEND:
        axes.scatter(x, y, c=labels, cmap="turbo", **style)
    else:
        for i, label in enumerate(classes):
            of = labels == label
            axes.scatter(x[of], y[of], color=colormaps["tab10"](i), label=str(label), **style)
        axes.legend(title="class", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, markerscale=2)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel(flat.axes[0])
    axes.set_ylabel(flat.axes[1])
    axes.spines[["top", "right"]].set_visible(False)
    return picture_of(figure)


def _points(subject: Subject, split: str, num: int) -> Labelled:
    """The latents of a split's images without their classes, and the images' classes."""
    codes = encode_split(subject, split, num)
    points = noise_of(subject, codes.latents).double().cpu().numpy()
    return points, None if codes.labels is None else codes.labels.cpu().numpy()
