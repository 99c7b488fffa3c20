"""``inspect``: what people use a trained model for: denoising, anomalies, compression, and whether it memorises."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import nn

from lightning_gen.cli import main
from lightning_gen.data import ImageData
from lightning_gen.errors import InputError
from lightning_gen.evaluation import Extractor, Features
from lightning_gen.evaluation.nearest import Nearest
from lightning_gen.images import save_png, to_float
from lightning_gen.inspection import Subject
from lightning_gen.inspection import neighbours as neighbours_module
from lightning_gen.inspection.anomaly import (
    JoinedImages,
    NoiseImages,
    anomaly,
    histograms,
    measure,
    normal_and_anomalous,
)
from lightning_gen.inspection.compress import compress, decode_jpeg, encode_jpeg, fitted_jpeg, quality, scan_bytes
from lightning_gen.inspection.denoise import denoise
from lightning_gen.inspection.neighbours import neighbours
from lightning_gen.inspection.subject import of_classes, whole, without_classes
from lightning_gen.losses.image_quality import psnr
from lightning_gen.models.autoencoders.conditional_vae import ConditionalVAE
from lightning_gen.models.autoencoders.vae import VAE
from lightning_gen.models.gans.dcgan import DCGAN
from tests.helpers import trainer
from tests.test_cli import lines_of

SHAPE = (1, 16, 16)


class Model(nn.Module):
    """What every model has."""

    device = torch.device("cpu")
    image_shape = SHAPE
    num_classes = 0


class Copier(Model):
    """Reconstructs everything perfectly."""

    def reconstruct(self, images, *, labels=None):
        return images.clone()


class Blank(Model):
    """Knows black images alone: the error of an image is the sum of its squared pixels."""

    def reconstruct(self, images, *, labels=None):
        return torch.full_like(images, -1.0)


class Shades(Model):
    """A conditional model that knows an even grey for each class, and a likelihood to match: minus ten times that."""

    num_classes = 3
    likelihood = "gaussian"

    def reconstruct(self, images, *, labels=None):
        return (labels - 1.0)[:, None, None, None].expand_as(images)

    def log_weights(self, images, num, *, labels=None):
        return -10 * labels[None] - torch.arange(num)[:, None] + 0.0


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> ImageData:
    return ImageData("digits", root=str(tmp_path_factory.mktemp("data")), image_size=16)


@pytest.fixture(scope="module")
def without_four(data) -> ImageData:
    return ImageData("digits", root=str(data.root), image_size=16, leave_out=(4,))


def zero_to_one(data: ImageData, split: str) -> torch.Tensor:
    return data.image_set(split)[:].double() / 255


# ---- denoise


def test_perfect_reconstructions_have_100_db(data):
    numbers = denoise(Subject(Copier(), data), "masking", 0.0).numbers
    assert numbers["psnr_corrupted"] == numbers["psnr_denoised"] == psnr(0.0) == 100
    clean = to_float(data.image_set("test")[:])

    class Oracle(Model):
        def reconstruct(self, images, *, labels=None):
            assert not images.equal(clean[: len(images)])
            return clean[: len(images)]

    findings = denoise(Subject(Oracle(), data), num=20, shown=5)
    assert findings.numbers["psnr_denoised"] == 100
    assert findings.picture.shape[0] == 3


def test_gaussian_noise_has_the_psnr_of_its_deviation(data):
    numbers = denoise(Subject(Copier(), data, batch_size=100), "gaussian", 0.25).numbers
    assert numbers["psnr_corrupted"] == pytest.approx(-20 * math.log10(0.25 / 2), abs=0.05)
    assert numbers["gain"] == 0
    assert numbers["num"] == 360


def test_masking_costs_what_the_masked_pixels_held(data):
    numbers = denoise(Subject(Copier(), data), "masking", 0.3).numbers
    expected = psnr(0.3 * zero_to_one(data, "test").square().mean().item())
    assert numbers["psnr_corrupted"] == pytest.approx(expected, abs=0.1)


def test_a_denoiser_is_shown_what_it_was_trained_on(data):
    class Trained(Copier):
        corruption, amount = "masking", 0.25

    def asked(model: nn.Module, *options) -> tuple[str, float]:
        numbers = denoise(Subject(model, data), *options, num=2).numbers
        return numbers["corruption"], numbers["amount"]

    assert asked(Copier()) == ("gaussian", 0.5)
    assert asked(Trained()) == ("masking", 0.25)
    assert asked(Trained(), "gaussian") == ("gaussian", 0.5)
    assert asked(Trained(), None, 0.1) == ("masking", 0.1)


# ---- anomaly


def test_auroc_and_average_precision_are_sklearns():
    generator = torch.Generator().manual_seed(0)
    normal = (40 + 60 * torch.rand(200, generator=generator, dtype=torch.float64)).round()  # large, and with ties
    strange = (70 + 60 * torch.rand(50, generator=generator, dtype=torch.float64)).round()
    truth, scores = [0] * 200 + [1] * 50, torch.cat([normal, strange]).numpy()
    found = measure(normal, strange)
    assert found.auroc == pytest.approx(roc_auc_score(truth, scores))
    assert found.average_precision == pytest.approx(average_precision_score(truth, scores))
    assert measure(normal, normal).auroc == 0.5
    assert measure(torch.full_like(normal, 3), torch.full_like(strange, 3)).auroc == 0.5
    assert measure(-normal - 1000, strange) == pytest.approx((1, 1))


def test_anomalies_by_the_error(data):
    numbers = anomaly(Subject(Blank(), data, batch_size=50), anomalous_class=[1, 7]).numbers
    labels = data.image_set("test").labels
    assert labels is not None
    scores = zero_to_one(data, "test").square().flatten(1).sum(1).numpy()
    truth = np.isin(labels, [1, 7])
    assert numbers["auroc"] == pytest.approx(roc_auc_score(truth, scores))
    assert numbers["average_precision"] == pytest.approx(average_precision_score(truth, scores))
    learned = zero_to_one(data, "train").square().flatten(1).sum(1).numpy()
    assert numbers["threshold"] == pytest.approx(np.percentile(learned, 95))
    assert numbers["normal_above"] == pytest.approx((scores[~truth] > numbers["threshold"]).mean())
    assert numbers["anomalous_above"] == pytest.approx((scores[truth] > numbers["threshold"]).mean())
    assert (numbers["num_normal"], numbers["num_anomalous"]) == ((~truth).sum(), truth.sum())


def test_the_histograms_name_sets_threshold_and_unit():
    sets = {"train": torch.rand(50, dtype=torch.float64), "a": torch.zeros(3).double(), "b": torch.ones(3).double()}
    [axes] = histograms(sets, 0.5, "the threshold", "error", "b against a: AUROC 1", 800).axes
    assert axes.get_title() == "b against a: AUROC 1"
    assert axes.get_xlabel() == "squared error of the reconstruction, pixels in [0, 1], summed over an image"
    assert axes.get_ylabel() == "share of images"
    assert {*axes.get_legend_handles_labels()[1]} == {"the threshold", *sets}


def test_identical_sets_have_0_5_and_separable_ones_1(data):
    same = anomaly(Subject(Blank(), data), against="digits", shown=2).numbers
    assert same["auroc"] == 0.5
    assert same["normal_above"] == same["anomalous_above"]
    apart = anomaly(Subject(Blank(), data), against="noise", num=100, percentile=50).numbers
    assert (apart["auroc"], apart["average_precision"]) == pytest.approx((1, 1))
    assert apart["anomalous_above"] == 1
    assert (apart["num_train"], apart["num_normal"], apart["num_anomalous"]) == (100, 100, 100)


def test_a_conditional_model_scores_by_the_class_that_fits_best(data):
    subject = Subject(Shades(), data)
    u = zero_to_one(data, "train").flatten(1)
    errors = torch.stack([(u - shade).square().sum(1) for shade in (0, 0.5, 1)]).amin(0)
    errors = errors[[i * len(errors) // 100 for i in range(100)]]
    by_error = anomaly(subject, against="noise", num=100, shown=2).numbers
    assert by_error["threshold"] == pytest.approx(np.percentile(errors, 95))
    by_elbo = anomaly(subject, against="noise", score="elbo", samples=5, num=20, shown=2).numbers
    assert by_elbo["threshold"] == pytest.approx(2)  # minus the mean of 0, -1 ... -4, of the first class
    assert by_elbo["auroc"] == 0.5


def test_left_out_classes_are_the_anomalies(data, without_four):
    subject = Subject(Blank(), without_four)
    findings = anomaly(subject)
    assert findings.numbers["num_anomalous"] == (data.image_set("test").labels == 4).sum()
    assert findings.numbers["num_train"] == (data.image_set("train").labels != 4).sum()
    assert not any("was trained on" in line for line in findings.summary)
    assert any(
        "was trained on class 4" in line for line in anomaly(Subject(Blank(), data), anomalous_class=[4]).summary
    )
    normal, strange = normal_and_anomalous(subject, None, None, [5], 10_000)
    assert (len(normal.indices), len(strange.indices)) == (
        sum((data.image_set("test").labels != wrong).sum() for wrong in (4, 5)) - 360,
        (data.image_set("test").labels == 5).sum(),
    )
    assert len(normal_and_anomalous(subject, "noise", None, None, 10_000)[0].indices) == len(strange.indices) + len(
        normal.indices
    )


def test_a_folder_is_brought_to_the_models_shape(data, tmp_path):
    for i in range(5):
        save_png(torch.full((3, 20, 30), 50 * i, dtype=torch.uint8), tmp_path / "grey" / f"{i}.png")
    part = normal_and_anomalous(Subject(Blank(), data), str(tmp_path / "grey"), None, None, 10)[1]
    images = part.images[np.asarray(part.indices)]
    assert images.shape == (5, *SHAPE)
    assert sorted(images[:, 0, 0, 0].tolist()) == [0, 50, 100, 150, 200]


def test_noise_is_a_function_of_its_number_and_joined_sets_keep_their_order(data):
    noise = NoiseImages((3, 8, 8), 50, seed=1)
    assert noise[10:12].equal(noise[np.array([10, 11])])
    assert noise[:].double().mean() == pytest.approx(127.5, abs=3)
    assert set(NoiseImages((1, 8, 8), 3, seed=1, binarized=True)[:].unique().tolist()) == {0, 255}
    train, test = data.image_set("train"), data.image_set("test")
    joined = JoinedImages([test, train], "both", "key")
    assert len(joined) == 1797
    assert joined[358:362].equal(torch.cat([test[358:360], train[:2]]))


def test_parts_of_a_set(data):
    test = data.image_set("test")
    assert test.labels is not None
    assert set(test.labels[list(of_classes(test, [3, 5]).indices)]) == {3, 5}
    assert set(test.labels[list(without_classes(test, [3, 5]).indices)]) == {0, 1, 2, 4, 6, 7, 8, 9}
    assert whole(test).at_most(4).indices == [0, 90, 180, 270]
    assert whole(test).at_most(400).indices == list(range(360))


def test_scores_that_are_not_finite_are_refused(data):
    class Broken(Model):
        def reconstruct(self, images, *, labels=None):
            return images / 0

    with pytest.raises(InputError, match="not finite"):
        anomaly(Subject(Broken(), data), against="noise", num=10)


# ---- compress


class Thinned(Model):
    """Keeps some pixels."""

    def __init__(self, length):
        super().__init__()
        self.length, self.decoded = length, torch.empty(0)

    def encode(self, images, *, labels=None):
        return images.flatten(1)[:, : self.length]

    def decode(self, latents):
        self.decoded = latents
        filled = torch.full((len(latents), 256), -1.0)
        filled[:, : latents.shape[1]] = latents
        return filled.unflatten(1, SHAPE)


class Levels(Model):
    """A code for each pixel, its grey level."""

    codebook_size = 256

    def tokenize(self, images):
        return ((images + 1) * 127.5).round().long()[:, 0]

    def detokenize(self, codes):
        return codes[:, None] / 127.5 - 1


def test_the_bytes_of_a_code(data):
    thinned = Thinned(5)
    numbers = compress(Subject(thinned, data), num=9, shown=3).numbers
    assert (numbers["ours"]["bytes"], numbers["raw_bytes"], numbers["ours"]["ratio"]) == (10, 256, 25.6)
    assert numbers["code"] == "5 latents as float16"
    assert thinned.decoded.equal(thinned.decoded.half().float())
    exact = compress(Subject(Levels(), data), num=9).numbers["ours"]
    assert (exact["bytes"], exact["psnr"], exact["ssim"]) == (256, 100, 1)

    class Few(Levels):
        codebook_size = 6

        def tokenize(self, images):
            return torch.zeros(len(images), 5, 5, dtype=torch.int64)

        def detokenize(self, codes):
            return torch.full((len(codes), *SHAPE), -1.0)

    few = compress(Subject(Few(), data), num=9).numbers
    assert (few["ours"]["bytes"], few["code"]) == (10, "25 codes of 3 bits")  # 75 bits

    class OfAClass(Thinned):
        num_classes = 10

    numbers = compress(Subject(OfAClass(15), data), num=9).numbers
    assert (numbers["ours"]["bytes"], numbers["code"]) == (11, "5 latents as float16 and a class of 4 bits")


def test_quality_does_not_depend_on_the_batch_size(data):
    images = data.image_set("test")[:10]
    again = images.flip(-1)
    one, other = quality(images, again, 3), quality(images, again, 10)
    assert one == pytest.approx(other)
    assert one.psnr == pytest.approx(psnr((images.double() - again.double()).div(255).square().mean().item()))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_jpeg_is_headers_and_a_scan(channels):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (24, 24, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    data = encode_jpeg(picture, 60, "file").data
    header = 2 + {1: 8, 3: 12}[channels]  # marker, and the length of a header of so many components
    assert scan_bytes(data) == len(data) - 2 - (data.index(b"\xff\xda") + header)
    assert encode_jpeg(picture, 60, "scan").size == scan_bytes(data)
    assert decode_jpeg(data).shape == (channels, 24, 24)


def test_a_jpeg_is_never_larger_than_asked_where_one_exists(data):
    images = data.image_set("test")[:6]
    for image in images:
        picture = Image.fromarray(image[0].numpy())
        for counted, budgets in (("scan", (0, 20, 40, 80)), ("file", (100, 360, 400))):
            sizes = {quality: encode_jpeg(picture, quality, counted).size for quality in range(1, 101)}
            for budget in budgets:
                found = fitted_jpeg(image, budget, counted)
                assert found.size == sizes[found.quality]
                if sizes[1] <= budget:
                    assert found.size <= budget
                    assert found.quality == 100 or sizes[found.quality + 1] > budget
                else:
                    assert found.quality == 1


def test_small_images_leave_no_room_for_jpegs_headers(data):
    findings = compress(Subject(Thinned(16), data), num=20)
    numbers = findings.numbers
    assert numbers["jpeg_file"]["num_too_large"] == 20
    assert numbers["jpeg_file"]["quality"] == 1
    assert numbers["jpeg_file"]["bytes"] > 300 > 32 >= numbers["jpeg_scan"]["bytes"]
    assert numbers["jpeg_scan"]["num_too_large"] == 0
    assert any("20 of 20 too large even at quality 1" in line for line in findings.summary)


# ---- neighbours


def test_nearest_rows_are_those_of_a_full_search():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(0, 256, (100, 30), generator=generator).double()
    queries = torch.cat([rows[[17, 99]], torch.randint(0, 256, (5, 30), generator=generator).double()])
    nearest = Nearest(queries, 3)
    for chunk in rows.split(7):
        nearest.update(chunk)
    distances, indices = torch.cdist(queries, rows).square().topk(3, largest=False)
    assert nearest.indices.equal(indices)
    torch.testing.assert_close(nearest.distances, distances)
    assert nearest.distances[:2, 0].tolist() == [0, 0]
    assert nearest.indices[:2, 0].tolist() == [17, 99]


class Halves(Extractor):
    """Features are the means of an image's halves."""

    name, weights_hash, resizer, width = "halves", "", "none", 2

    def __call__(self, images):
        return Features(images.float().unflatten(2, (2, -1)).mean((1, 3, 4)))


class Showing(Model):
    """Draws the images of a split in their order, and notes the classes that it was asked for."""

    def __init__(self, data, split, num_classes=0):
        super().__init__()
        self.images, self.num_classes = to_float(data.image_set(split)[:]), num_classes
        self.drawn, self.labels = 0, []

    def sample(self, num, *, labels=None, generator=None):
        self.labels += [] if labels is None else labels.tolist()
        self.drawn += num
        return self.images[self.drawn - num : self.drawn]


@pytest.fixture
def _halves(monkeypatch):
    monkeypatch.setattr(neighbours_module, "make_extractor", lambda *_, **__: Halves())


@pytest.mark.usefixtures("_halves")
def test_a_model_that_shows_training_images_is_found_out(data):
    findings = neighbours(Subject(Showing(data, "train"), data, batch_size=100), num=250, k=2, shown=3)
    for space in ("pixels", "features"):
        figures = findings.numbers[space]
        assert (figures["samples_median"], figures["samples_mean"], figures["ratio"]) == (0, 0, 0)
        assert figures["samples_nearer"] == 1
        assert figures["test_median"] > 0
    assert sum("memorised" in line for line in findings.summary) == 2
    side = 48
    sample, nearest = (findings.picture[:, -(2 * side + 3) - 7 :, left:][:, :side, :side] for left in (17, 17 + 58))
    assert sample.shape == nearest.shape
    assert sample.float().std() > 0
    assert sample.equal(nearest)


@pytest.mark.usefixtures("_halves")
def test_test_images_are_the_yardstick(data):
    findings = neighbours(Subject(Showing(data, "test"), data), num=360, k=1)
    for space in ("pixels", "features"):
        figures = findings.numbers[space]
        assert figures["ratio"] == 1
        assert figures["samples_mean"] == figures["test_mean"]
        assert figures["samples_nearer"] == pytest.approx(0.01, abs=0.002)
    assert not any("memorised" in line for line in findings.summary)
    train, test = (zero_to_one(data, split).flatten(1) for split in ("train", "test"))
    expected = torch.cdist(test, train).square().amin(1)
    assert findings.numbers["pixels"]["test_median"] == pytest.approx(np.median(expected))


@pytest.mark.usefixtures("_halves")
def test_conditional_models_draw_their_classes_in_turn(data):
    model = Showing(data, "train", num_classes=3)
    neighbours(Subject(model, data, batch_size=4), num=10, k=1)
    assert model.labels == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]


# ---- the command line


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory) -> dict[str, Path]:
    """Checkpoints of untrained models, by name."""
    folder = tmp_path_factory.mktemp("runs")
    small = {"latent_dim": 4, "width": 4}
    models = {
        "vae": VAE(SHAPE, **small),
        "conditional": ConditionalVAE(SHAPE, num_classes=10, **small),
        "gan": DCGAN(SHAPE, latent_dim=4, width=4),
    }
    checkpoints = {}
    for name, model in models.items():
        fit = trainer(limit_train_batches=1, limit_val_batches=0)
        fit.fit(model, ImageData("digits", root=str(data.root), image_size=16))
        checkpoints[name] = folder / name / "checkpoints" / "last.ckpt"
        fit.save_checkpoint(checkpoints[name])
    return checkpoints


@pytest.mark.parametrize(
    ("run", "what"),
    [
        ("vae", ["denoise", "--corruption", "salt_and_pepper", "--amount", "0.2", "--num", "20"]),
        ("vae", ["anomaly", "--against", "noise", "--score", "elbo", "--samples", "2", "--num", "50"]),
        ("conditional", ["anomaly", "--anomalous_class", "4", "--num", "50"]),
        ("conditional", ["compress", "--num", "20"]),
    ],
)
def test_from_the_command_line(runs, run, what, tmp_path, capsys):
    assert main(["inspect", "--ckpt", str(runs[run]), *what, "--device=cpu", f"--out={tmp_path}"]) == 0
    files = [tmp_path / f"last_{what[0]}{end}" for end in (".png", ".json")]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert json.loads(files[1].read_text())
    assert capsys.readouterr().out.splitlines()[-2:] == [str(file) for file in files]


@pytest.mark.parametrize(
    ("run", "what", "words"),
    [
        ("gan", ["denoise"], ["DCGAN reconstructs no images"]),
        ("vae", ["denoise", "--num", "0"], ["--num is 0", "at least 1"]),
        ("vae", ["denoise", "--corruption", "blur"], ["corruption", "blur"]),
        ("vae", ["denoise", "--corruption", "masking", "--amount", "2"], ["amount is 2", "probability"]),
        ("vae", ["anomaly"], ["--against noise", "--anomalous_class"]),
        ("vae", ["anomaly", "--anomalous_class", "12"], ["no class 12", "0 to 9"]),
        ("vae", ["anomaly", "--anomalous_class", "1", "--against", "noise"], ["--against", "use one of them"]),
        ("vae", ["anomaly", "--against", "imagenet"], ["imagenet", "noise", "fashion_mnist"]),
        ("vae", ["anomaly", "--against", "mnist"], ["MNIST"]),
        ("vae", ["anomaly", "--against", "noise", "--samples", "0"], ["--samples is 0", "at least 1"]),
        ("vae", ["anomaly", "--against", "noise", "--percentile", "101"], ["--percentile is 101", "between 0 and 100"]),
        ("gan", ["anomaly", "--against", "noise"], ["DCGAN reconstructs no images"]),
        ("gan", ["anomaly", "--against", "noise", "--score", "elbo"], ["DCGAN has no ELBO"]),
        ("gan", ["compress"], ["DCGAN has no encoder"]),
        ("vae", ["neighbours", "--k", "0"], ["--k is 0", "at least 1"]),
        ("vae", ["neighbours", "--features", "resnet"], ["resnet", "classifier"]),
    ],
)
def test_bad_input_is_one_clear_line(runs, run, what, words, tmp_path, capsys):
    assert main(["inspect", "--ckpt", str(runs[run]), *what, f"--out={tmp_path / 'none'}"]) == 2
    line = lines_of(capsys)
    assert all(word in line for word in words), line
    assert not (tmp_path / "none").exists()
