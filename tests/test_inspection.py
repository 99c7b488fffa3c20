"""``inspect``: its scaffold, and what looks into a latent space."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from scipy.stats import norm
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from lightning_gen.cli import main
from lightning_gen.cli.inspecting import INSPECTIONS, caption_of
from lightning_gen.data import ImageData
from lightning_gen.errors import InputError
from lightning_gen.images import to_float, to_uint8
from lightning_gen.inspection import Findings, Subject
from lightning_gen.inspection.findings import render_figure
from lightning_gen.inspection.interpolate import interpolate
from lightning_gen.inspection.latent_map import Embedding, latent_map, probe_accuracy, scatter_plot
from lightning_gen.inspection.latents import encode_split
from lightning_gen.inspection.manifold import manifold
from lightning_gen.inspection.reconstruct import reconstruct
from lightning_gen.inspection.traverse import traverse
from lightning_gen.models.autoencoders.autoencoder import Autoencoder
from lightning_gen.models.autoencoders.conditional_vae import ConditionalVAE
from lightning_gen.models.autoencoders.vae import VAE
from lightning_gen.models.base import GenerativeModule
from lightning_gen.models.gans.conditional_gan import ConditionalGAN
from lightning_gen.noise import randn
from tests.helpers import trainer
from tests.test_cli import lines_of

SHAPE = (1, 16, 16)
SIDE = 48 + 1  # an enlarged digit and its border


class Linear(nn.Module):
    """Latents are projections of an image on some orthonormal images, times a scale; decoding is the way back."""

    num_classes = 0
    device = torch.device("cpu")

    def __init__(self, scales=(0.5, 2.0, 1.0, 1e-3)):
        super().__init__()
        random = torch.randn(256, len(scales), generator=torch.Generator().manual_seed(0))
        self.axes, self.scales = torch.linalg.qr(random).Q, torch.tensor(scales)
        self.decoded: list[torch.Tensor] = []

    def encode(self, images, *, labels=None):
        return images.flatten(1) @ self.axes * self.scales

    def decode(self, latents):
        self.decoded.append(latents)
        return (latents / self.scales @ self.axes.T).clamp(-1, 1).unflatten(1, SHAPE)


class Gaussian(Linear):
    """The same with a prior."""

    def sample_latents(self, num, *, generator=None):
        return randn(num, len(self.scales), generator=generator)


class Prior(nn.Module):
    """A prior and a decoder alone; each latent lights up a row of the image, the last ones according to a class."""

    device = torch.device("cpu")

    def __init__(self, dims, num_classes=0):
        super().__init__()
        self.dims, self.num_classes = dims, num_classes

    def sample_latents(self, num, *, generator=None):
        classes = (
            torch.eye(self.num_classes)[torch.zeros(num, dtype=torch.long)] if self.num_classes else torch.empty(num, 0)
        )
        return torch.cat([randn(num, self.dims, generator=generator), classes], 1)

    def decode(self, latents):
        weights = torch.arange(1, latents.shape[1] + 1)
        rows = (latents * weights).tanh() * 0.9
        return nn.functional.pad(rows, (0, 16 - rows.shape[1]))[:, None, :, None].expand(-1, 1, -1, 16)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> ImageData:
    return ImageData("digits", root=str(tmp_path_factory.mktemp("data")), batch_size=64)


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory) -> dict[str, Path]:
    """Checkpoints after two batches."""
    models: dict[str, GenerativeModule] = {
        "vae": VAE(SHAPE, latent_dim=5, width=4),
        "flat": VAE(SHAPE, latent_dim=2, network="mlp", hidden=(16,)),
        "conditional": ConditionalVAE(SHAPE, num_classes=10, latent_dim=2, width=4),
        "autoencoder": Autoencoder(SHAPE, latent_dim=3, width=4),
        "gan": ConditionalGAN(SHAPE, num_classes=10, latent_dim=4, width=4),
    }
    folder, checkpoints = tmp_path_factory.mktemp("inspected"), {}
    for name, model in models.items():
        fit = trainer(limit_train_batches=2, limit_val_batches=0)
        fit.fit(model, data)
        checkpoints[name] = folder / name / "checkpoints" / "last.ckpt"
        fit.save_checkpoint(checkpoints[name])
    return checkpoints


def digits(data: ImageData, num: int, split: str = "test") -> torch.Tensor:
    return data.image_set(split)[:num]


def tile(picture: torch.Tensor, row: int, column: int, left: int = 0) -> torch.Tensor:
    """A digit of a grid, at its own size again."""
    top, left = 1 + row * SIDE, left + 1 + column * SIDE
    return picture[:1, top : top + 48 : 3, left : left + 48 : 3]


# ---- interpolate


@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_interpolation_between_images_ends_at_their_codes_beside_the_images(data, path):
    model = Linear()
    found = interpolate(Subject(model, data), path=path, rows=3, columns=4)
    codes = model.encode(to_float(digits(data, 6)))
    way = model.decoded[0].unflatten(0, (3, 4))
    assert way[:, 0].equal(codes[0::2])
    assert way[:, -1].equal(codes[1::2])
    again = to_uint8(model.decode(codes))
    moved = SIDE + 1 + 8  # one column, its right border, and the gap
    for row in range(3):
        assert tile(found.picture, row, 0).equal(digits(data, 6)[2 * row])
        assert tile(found.picture, row, 0, left=moved).equal(again[2 * row])
        assert tile(found.picture, row, 3, left=moved).equal(again[2 * row + 1])
    assert found.picture[:1, 1:49:3, -49:-1:3].equal(digits(data, 2)[1])
    assert found.numbers["path"] == path
    assert found.numbers["norm"] == pytest.approx(way.norm(dim=2).mean(0).tolist())
    assert len(found.numbers["change"]) == 3


def test_linear_steps_are_even_and_spherical_ones_keep_the_norm(data):
    model = Linear(scales=(1.0,) * 8)
    encode = model.encode
    model.encode = lambda images, *, labels=None: nn.functional.normalize(encode(images), dim=1)  # type: ignore[method-assign]
    interpolate(Subject(model, data), path="spherical", columns=5)
    torch.testing.assert_close(model.decoded[0].norm(dim=1), torch.ones(8 * 5))
    model.decoded.clear()
    found = interpolate(Subject(model, data), columns=5)
    assert found.numbers["path"] == "linear"
    steps = model.decoded[0].unflatten(0, (8, 5)).diff(dim=1)
    torch.testing.assert_close(steps, steps[:, :1].expand_as(steps))


def test_interpolation_between_latents_of_the_prior_follows_arcs_and_is_seeded(data):
    model = Gaussian()
    found = interpolate(Subject(model, data, seed=3), between="latents", rows=2, columns=3)
    assert (found.numbers["path"], found.numbers["seed"]) == ("spherical", 3)
    assert found.picture.shape == (3, 1 + 2 * SIDE, 1 + 3 * SIDE)
    again = interpolate(Subject(model, data, seed=3), between="latents", rows=2, columns=3)
    other = interpolate(Subject(model, data, seed=4), between="latents", rows=2, columns=3)
    assert found.picture.equal(again.picture)
    assert not found.picture.equal(other.picture)


def test_the_animation_goes_forth_and_back(data, tmp_path):
    model = Linear()
    found = interpolate(Subject(model, data), rows=2, columns=2, frames=5)
    assert found.frames is not None
    assert found.frames.shape == (8, 3, 1 + SIDE, 1 + 2 * SIDE)
    assert found.frames[5:].equal(found.frames[1:4].flip(0))
    ends = to_uint8(model.decode(model.encode(to_float(digits(data, 4)))))
    for row in range(2):
        assert tile(found.frames[0], 0, row).equal(ends[2 * row])
        assert tile(found.frames[4], 0, row).equal(ends[2 * row + 1])
    files = found.save(tmp_path / "best_interpolate")
    assert [file.suffix for file in files] == [".png", ".json", ".gif"]
    with Image.open(files[2]) as gif:
        assert (gif.format, gif.n_frames, gif.size) == ("GIF", 8, (1 + 2 * SIDE, 1 + SIDE))


# ---- traverse


def test_traversal_moves_one_latent_at_a_time_the_most_active_first(data):
    model = Gaussian()
    found = traverse(Subject(model, data), rows=3, columns=5, limit=2.0, image=7)
    codes = model.encode(to_float(digits(data, 360)))
    activity = codes.double().numpy().var(0, ddof=1)
    np.testing.assert_allclose(found.numbers["activity"], activity, rtol=1e-4)
    assert found.numbers["drawn"] == np.argsort(-activity)[:3].tolist()
    assert found.numbers["active_units"] == (activity > 0.01).sum() == 3
    latents = model.decoded[0].unflatten(0, (3, 5))
    for row, dimension in enumerate(found.numbers["drawn"]):
        others = [i for i in range(4) if i != dimension]
        assert latents[row, :, others].equal(latents[row, :1, others].expand(5, -1))
        torch.testing.assert_close(latents[row, 0, others], codes[7, others])
        torch.testing.assert_close(latents[row, :, dimension], torch.linspace(-2, 2, 5))


def test_traversal_without_a_prior_goes_over_the_range_of_the_codes(data):
    model = Linear()
    found = traverse(Subject(model, data), columns=3, limit=2.0, at="mean")
    codes = model.encode(to_float(digits(data, 360)))
    latents = model.decoded[0].unflatten(0, (4, 3))
    first = found.numbers["drawn"][0]
    wanted = codes[:, first].mean() + codes[:, first].std() * torch.tensor([-2.0, 0.0, 2.0])
    torch.testing.assert_close(latents[0, :, first], wanted)
    torch.testing.assert_close(latents[1, 0, first], codes[:, first].mean())
    assert "active_units" not in found.numbers


def test_traversal_without_an_encoder_sorts_by_effect_and_leaves_the_class(data):
    model = Prior(3, num_classes=4)
    found = traverse(Subject(model, data), label=2, limit=1.0)
    assert found.numbers["drawn"] == sorted(range(3), key=lambda i: -found.numbers["effect"][i])
    assert found.numbers["latent_dim"] == 3
    still = traverse(Subject(model, data), rows=1, label=2, at="mean", limit=1.0)
    assert found.picture[:, : still.picture.shape[1] - 8].equal(still.picture[:, :-8])
    assert not found.picture.equal(traverse(Subject(model, data), limit=1.0).picture)  # class 0


def test_traversal_of_maps_is_refused(data):
    model = Gaussian()
    model.sample_latents = lambda num, *, generator=None: torch.zeros(num, 8, 2, 3)  # type: ignore[method-assign]
    with pytest.raises(InputError, match="vectors; those of Gaussian are 8 x 2 x 3"):
        traverse(Subject(model, data))


# ---- latent-map


@pytest.mark.parametrize("batch_size", [7, 256])
def test_latent_map_explains_what_sklearn_says(data, batch_size):
    model = Linear()
    found = latent_map(Subject(model, data, batch_size=batch_size))
    codes = {split: model.encode(to_float(digits(data, 5000, split))).numpy() for split in ("train", "test")}
    wanted = PCA(2).fit(codes["test"]).explained_variance_ratio_
    assert found.numbers["explained_variance"] == pytest.approx(wanted.tolist(), rel=1e-4)
    knn = KNeighborsClassifier(5).fit(codes["train"], data.image_set("train").labels)
    accuracy = knn.score(codes["test"], data.image_set("test").labels)
    assert found.numbers["knn_accuracy"] == pytest.approx(accuracy, abs=0.01)
    assert 0.1 < found.numbers["linear_accuracy"] <= 1
    assert found.picture.shape == (3, 600, 700)
    assert found.picture.float().std() > 5


def test_latent_map_without_labels_or_with_many(data):
    points = np.random.default_rng(0).normal(size=(30, 2))
    flat = Embedding(points, ("a", "b"), {})
    pictures = [scatter_plot(flat, labels) for labels in (None, np.arange(30) % 3, np.arange(30))]
    assert not pictures[0].equal(pictures[1])
    assert not pictures[0].equal(pictures[2])
    assert not pictures[0].equal(scatter_plot(flat, None, "a title"))
    assert probe_accuracy((points, None), (points, None)) == {}
    assert probe_accuracy((points, np.zeros(30, np.int64)), (points, np.zeros(30, np.int64))) == {}


def test_the_caption_names_model_data_and_seed(data):
    assert caption_of(torch.nn.Identity(), "latent-map", data, 3) == "Identity latent-map, raw weights, digits, seed 3"


def test_umap_is_asked_for_where_it_is_missing(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(InputError, match=r"--method umap needs umap-learn: pip install 'lightning_gen\[umap\]'"):
        latent_map(Subject(Linear(), data), method="umap", num=20)


def test_images_lie_evenly_over_the_split(data):
    model = Linear()
    subject = Subject(model, data, batch_size=3)
    codes = encode_split(subject, "test", 10)
    index = [i * 36 for i in range(10)]
    torch.testing.assert_close(codes.latents, model.encode(to_float(data.image_set("test")[np.array(index)])))
    assert codes.labels is not None
    assert codes.labels.tolist() == data.image_set("test").labels[index].tolist()
    assert len(encode_split(subject, "test", 10**6).latents) == 360


# ---- manifold


def test_manifold_is_the_inverse_of_the_normal_distribution_function(data):
    model = Gaussian(scales=(1.0, 2.0))
    found = manifold(Subject(model, data), side=5)
    wanted = norm.ppf((np.arange(5) + 0.5) / 5)
    assert found.numbers["values"] == pytest.approx(wanted.tolist(), abs=1e-6)
    latents = model.decoded[0].unflatten(0, (5, 5))
    for row in range(5):
        for column in range(5):
            assert latents[row, column].tolist() == pytest.approx([wanted[column], wanted[4 - row]], abs=1e-6)
    corner = to_uint8(model.decode(latents[0, :1]))[0]
    assert found.picture.shape == (3, 1 + 5 * 129, 1 + 5 * 129)  # eight times as large, and borders
    assert found.picture[:1, 1:129:8, 1:129:8].equal(corner)


def test_manifold_of_a_conditional_model_has_one_class(data):
    subject = Subject(Prior(2, num_classes=3), data)
    assert manifold(subject, side=2).picture.equal(manifold(subject, side=2, label=0).picture)
    assert not manifold(subject, side=2).picture.equal(manifold(subject, side=2, label=2).picture)


# ---- the scaffold


def test_reconstructions_stand_below_their_images(data):
    class Identity(nn.Module):
        device = torch.device("cpu")

        def reconstruct(self, images, *, labels=None):
            return images

    found = reconstruct(Subject(Identity(), data), num=5, columns=3)
    assert found.numbers["mse"] == 0
    assert found.numbers["num"] == 5
    height = found.picture.shape[1] // 4
    assert found.picture[:, :height].equal(found.picture[:, height : 2 * height])


def test_a_figure_becomes_its_pixels():
    figure = Figure((2, 1), dpi=50, facecolor=(1.0, 0.0, 0.0))
    picture = render_figure(figure)
    assert picture.shape == (3, 50, 100)
    assert (picture == torch.tensor([255, 0, 0], dtype=torch.uint8)[:, None, None]).all()


def test_findings_become_files_only_where_there_is_something(tmp_path):
    picture = torch.zeros(3, 4, 5, dtype=torch.uint8)
    assert Findings(picture).save(tmp_path / "new" / "best_x") == [tmp_path / "new" / "best_x.png"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["best_x.png"]


@pytest.mark.parametrize(
    ("run", "what", "ends"),
    [
        ("vae", ["reconstruct"], [".png", ".json"]),
        ("vae", ["interpolate", "--rows", "2", "--columns", "3", "--frames", "3"], [".png", ".json", ".gif"]),
        ("vae", ["traverse", "--columns", "3"], [".png", ".json"]),
        ("vae", ["latent-map"], [".png", ".json"]),
        ("flat", ["manifold", "--side", "3"], [".png", ".json"]),
        ("conditional", ["interpolate", "--rows", "2"], [".png", ".json", ".gif"]),
        ("conditional", ["interpolate", "--between", "latents"], [".png", ".json", ".gif"]),
        ("conditional", ["traverse", "--label", "3"], [".png", ".json"]),
        ("conditional", ["latent-map", "--split", "val"], [".png", ".json"]),
        ("conditional", ["manifold", "--label", "9"], [".png", ".json"]),
        ("gan", ["interpolate"], [".png", ".json", ".gif"]),
        ("gan", ["traverse", "--raw"], [".png", ".json"]),
        ("autoencoder", ["traverse", "--at", "mean"], [".png", ".json"]),
    ],
)
def test_inspections_leave_pictures_and_numbers(runs, run, what, ends, tmp_path, capsys):
    assert main(["inspect", "--ckpt", str(runs[run]), *what, "--device=cpu", f"--out={tmp_path}"]) == 0
    files = [tmp_path / f"last_{what[0]}{end}" for end in ends]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    with Image.open(files[0]) as picture:
        assert picture.mode == "RGB"
    numbers = json.loads(files[1].read_text())
    assert all(math.isfinite(value) for value in numbers.values() if isinstance(value, float))
    printed = capsys.readouterr().out.splitlines()
    assert printed[-len(files) :] == [str(file) for file in files]
    if what[0] == "latent-map":
        assert numbers["latent_dim"] == {"vae": 5, "conditional": 2}[run]
    if what[0] == "traverse":
        assert numbers["latent_dim"] == {"vae": 5, "conditional": 2, "gan": 4, "autoencoder": 3}[run]


def test_the_name_stands_anywhere_and_the_files_beside_the_checkpoints(runs):
    ckpt = runs["flat"]
    for words in (["--ckpt", ckpt, "manifold", "--side=2"], ["manifold", "--ckpt", ckpt.parent.parent, "--side", "2"]):
        assert main(["inspect", *map(str, words)]) == 0
        picture = ckpt.parent.parent / "inspection" / "last_manifold.png"
        picture.unlink()


def test_help_lists_the_inspections_and_their_options(capsys):
    assert main(["inspect", "--help"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in INSPECTIONS)
    for name in INSPECTIONS:
        with pytest.raises(SystemExit) as stop:
            main(["inspect", name, "--help"])
        assert stop.value.code == 0
        printed = " ".join(capsys.readouterr().out.split())
        assert "a checkpoint, or a run's folder" in printed, name
        assert "model and data." not in printed, name
    with pytest.raises(SystemExit):
        main(["inspect", "traverse", "--help"])
    assert "--limit" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("run", "what", "words"),
    [
        ("vae", [], ["name what to inspect", "interpolate", "latent-map"]),
        ("vae", ["interpolate", "--columns", "1"], ["--columns is 1", "at least 2"]),
        ("vae", ["interpolate", "--frames", "1"], ["--frames is 1", "at least 2"]),
        ("vae", ["interpolate", "--rows", "0"], ["--rows is 0", "at least 1"]),
        ("vae", ["interpolate", "--path", "cubic"], ["path", "cubic"]),
        ("vae", ["interpolate", "--split", "all"], ["split", "all"]),
        ("gan", ["interpolate", "--between", "images"], ["ConditionalGAN encodes no images", "--between latents"]),
        ("autoencoder", ["interpolate", "--between=latents"], ["Autoencoder has no prior", "--between images"]),
        ("vae", ["traverse", "--limit", "0"], ["--limit is 0", "above 0"]),
        ("vae", ["traverse", "--limit", "nan"], ["limit", "nan"]),
        ("vae", ["traverse", "--columns", "1"], ["--columns is 1", "at least 2"]),
        ("vae", ["traverse", "--image", "360"], ["--image is 360", "0 to 359"]),
        ("vae", ["traverse", "--label", "1"], ["--label is 1", "VAE is not conditional"]),
        ("gan", ["traverse", "--label", "10"], ["--label is 10", "0 to 9"]),
        ("gan", ["traverse", "--at", "image"], ["encodes no images", "--at mean"]),
        ("gan", ["latent-map"], ["ConditionalGAN encodes no images"]),
        ("vae", ["latent-map", "--num", "2"], ["--num is 2", "at least 5"]),
        ("vae", ["latent-map", "--method", "tsne"], ["method", "tsne"]),
        ("vae", ["manifold"], ["manifold needs 2 latents, this model has 5", "--model.latent_dim 2"]),
        ("gan", ["manifold"], ["manifold needs 2 latents, this model has 4"]),
        ("autoencoder", ["manifold"], ["Autoencoder has no prior"]),
        ("flat", ["manifold", "--side", "0"], ["--side is 0", "at least 1"]),
        ("conditional", ["manifold", "--label=-1"], ["--label is -1", "0 to 9"]),
        ("vae", ["manifold", "--batch_size=0"], ["--batch_size is 0"]),
        ("vae", ["reconstruct", "--columns", "0"], ["--columns is 0", "at least 1"]),
        ("gan", ["reconstruct"], ["ConditionalGAN reconstructs no images"]),
    ],
)
def test_bad_input_is_one_clear_line(runs, run, what, words, tmp_path, capsys):
    assert main(["inspect", "--ckpt", str(runs[run]), *what, f"--out={tmp_path / 'none'}"]) == 2
    line = lines_of(capsys)
    assert all(word in line for word in words), line
    assert not (tmp_path / "none").exists()
