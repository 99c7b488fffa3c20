"""Two-dimensional maps of the latent space."""

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

from lightning_gen.checks import check_at_least
from lightning_gen.drawing import Picture
from lightning_gen.errors import InputError
from lightning_gen.inspection.findings import Findings, render_figure
from lightning_gen.inspection.latents import encode_split, without_class
from lightning_gen.inspection.subject import Subject
from lightning_gen.types import Encoder

Points = Float[np.ndarray, "_ dims"]
Classes = npt.NDArray[np.int64]
Labelled = tuple[Points, Classes | None]
NEIGHBOURS = 5
MAX_LEGEND_CLASSES = 10


class Embedding(NamedTuple):
    """Points in two dimensions, labels of the axes, and statistics."""

    points: Float[np.ndarray, "images 2"]
    axes: tuple[str, str]
    numbers: dict[str, Any]


def latent_map(
    subject: Subject,
    method: Literal["pca", "umap"] = "pca",
    split: Literal["train", "val", "test"] = "test",
    num: int = 5000,
) -> Findings:
    """Map the latents of images to two dimensions, coloured by class, and measure how well they separate the classes.

    The class in the latents of a conditional model is ignored.

    Args:
        subject: model and data.
        method: pca, the two principal axes; or umap (McInnes et al. 2018, https://arxiv.org/abs/1802.03426), which
            preserves neighbourhoods but not distances, and needs the package umap-learn.
        split: the split of the map.
        num: maximum number of images of a split, evenly spaced.

    Returns:
        The map; for pca, the fraction of the variance that each axis explains; for labelled data, the accuracy on the
        test split of a 5-nearest-neighbour classifier and of logistic regression (on standardised dimensions), both
        fitted to the latents of the train split.

    Raises:
        InputError: if the model encodes no images or has a single latent, or umap is not installed.
    """
    check_at_least(NEIGHBOURS, prefix="--", num=num)
    subject.require(Encoder, "encodes no images, and latent-map needs latents")
    points, labels = _points(subject, split, num)
    if points.shape[1] < 2:
        raise InputError(f"latent-map needs at least 2 latents, this model has {points.shape[1]}")
    embedding = METHODS[method](points, subject.seed)
    numbers = {"split": split, "num": len(points), "latent_dim": points.shape[1], "method": method, **embedding.numbers}
    summary = [f"{method} of the latents of {len(points)} images of {split}"]
    if method == "pca":
        summary = [f"{summary[0]}: {sum(embedding.numbers['explained_variance']):.1%} of their variance"]
    if accuracy := probe_accuracy(_points(subject, "train", num), _points(subject, "test", num)):
        numbers |= accuracy
        summary.append(", ".join(f"{name.replace('_', ' ')} {value:.1%}" for name, value in accuracy.items()))
    title = f"{method} of the latents of {len(points):,} images of {split}, {points.shape[1]} dimensions"
    return Findings(scatter_plot(embedding, labels, title), numbers, summary=tuple(summary))


def by_pca(points: Points, seed: int) -> Embedding:
    """Project points on their two principal axes, with ``explained_variance``; the seed is not used."""
    pca = PCA(2, svd_solver="full")
    embedding = pca.fit_transform(points)
    first, second = (float(share) for share in pca.explained_variance_ratio_)
    axes = (f"first principal axis ({first:.1%} of the variance)", f"second principal axis ({second:.1%})")
    return Embedding(embedding, axes, {"explained_variance": [first, second]})


def by_umap(points: Points, seed: int) -> Embedding:
    """Embed points by UMAP with its defaults; ``InputError`` if umap-learn is not installed."""
    try:
        from umap import UMAP
    except ImportError:
        raise InputError("--method umap needs umap-learn: pip install 'lightning_gen[umap]', or use pca") from None
    # with a seed, UMAP uses one job, and warns unless n_jobs is set
    embedding = UMAP(n_neighbors=min(15, len(points) - 1), random_state=seed, n_jobs=1).fit_transform(points)
    return Embedding(embedding, ("UMAP 1", "UMAP 2"), {})


METHODS: dict[str, Callable[[Points, int], Embedding]] = {"pca": by_pca, "umap": by_umap}


def probe_accuracy(train: Labelled, test: Labelled) -> dict[str, float]:
    """Test accuracies in [0, 1] of classifiers fitted to the training points; empty with fewer than two classes."""
    if train[1] is None or len(np.unique(train[1])) < 2:
        return {}
    classifiers = {
        "knn_accuracy": KNeighborsClassifier(min(NEIGHBOURS, len(train[0]))),
        "linear_accuracy": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    }
    return {name: float(classifier.fit(*train).score(*test)) for name, classifier in classifiers.items()}


def scatter_plot(embedding: Embedding, labels: Classes | None, title: str = "") -> Picture:
    """Scatter plot with one colour per class, and a legend for at most ``MAX_LEGEND_CLASSES`` classes."""
    figure = Figure((7, 6), dpi=100)
    axes = figure.add_axes((0.1, 0.09, 0.79, 0.85))
    x, y = embedding.points.T
    size = 600 / len(embedding.points) ** 0.5
    style: dict[str, Any] = {"s": min(max(size, 4), 24), "alpha": 0.8, "linewidths": 0}
    if labels is None:
        axes.scatter(x, y, **style)
    elif len(classes := np.unique(labels)) > MAX_LEGEND_CLASSES:
        axes.scatter(x, y, c=labels, cmap="turbo", **style)
    else:
        for i, label in enumerate(classes):
            mask = labels == label
            axes.scatter(x[mask], y[mask], color=colormaps["tab10"](i), label=str(label), **style)
        axes.legend(title="class", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, markerscale=2)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set(xlabel=embedding.axes[0], ylabel=embedding.axes[1], title=title)
    axes.spines[["top", "right"]].set_visible(False)
    return render_figure(figure)


def _points(subject: Subject, split: str, num: int) -> Labelled:
    """Latents of a split without their class, and the labels."""
    encoded = encode_split(subject, split, num)
    points = without_class(subject, encoded.latents).double().cpu().numpy()
    return points, None if encoded.labels is None else encoded.labels.cpu().numpy()
