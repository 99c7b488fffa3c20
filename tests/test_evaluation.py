"""Scores compared with prdc and closed forms, invariance of scores, refusals and flags."""

import json
from hashlib import sha256

import numpy as np
import prdc
import pytest
import torch
from rich.console import Console
from sklearn.datasets import load_digits
from torch import nn

from lightning_gen.errors import InputError
from lightning_gen.evaluation import (
    FEATURE_METRICS,
    Extractor,
    Features,
    UniformNoise,
    make_extractor,
    metrics,
    protocol_name,
    score_images,
    score_reconstructions,
    score_samples,
)
from lightning_gen.images import to_float, to_uint8
from lightning_gen.noise import randn


class Images:
    def __init__(self, name, images, labels=None):
        self.name, self.images, self.labels = name, images, labels
        self.key = sha256(images.numpy().tobytes()).hexdigest()

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[torch.from_numpy(index) if isinstance(index, np.ndarray) else index]


class Linear(Extractor):
    """A random projection with logits."""

    name, weights_hash, resizer, width, classes = "linear", "0", "none", 8, 4
    own_classes = True

    def __init__(self):
        self.calls = 0

    def __call__(self, images):
        self.calls += len(images)
        flat = to_float(images).flatten(1).double()
        weight = torch.randn(flat.shape[1], 12, generator=torch.Generator().manual_seed(0)).double()
        return Features(*(flat @ weight).float().split([8, 4], dim=1))


class Generator(nn.Module):
    """A conditional generator with BatchNorm and dropout; in double precision, so that rounding to uint8 is stable."""

    def __init__(self, num_classes=0):
        super().__init__()
        self.num_classes, self.labels = num_classes, []
        self.net = nn.Sequential(nn.Linear(4, 64), nn.BatchNorm1d(64), nn.Dropout(0.5), nn.Tanh()).double()
        self.net[3].eval()

    def sample(self, num, *, labels=None, generator=None):
        self.labels.append(labels)
        return self.net(randn(num, 4, generator=generator).double()).float().view(num, 1, 8, 8)


class Blur(nn.Module):
    def reconstruct(self, images, *, labels=None):
        return images * 0.5


def digit_sets(size=8):
    source = load_digits()
    images = torch.from_numpy(source.images * 255 / 16)[:, None]
    images = nn.functional.interpolate(images, size=size, mode="bilinear").round().to(torch.uint8)
    labels = source.target.astype(np.int64)
    return Images("digits/train", images[:1400], labels[:1400]), Images("digits/test", images[1400:], labels[1400:])


@pytest.fixture(scope="module")
def digits():
    return digit_sets()


def cache_files(kind):
    from lightning_gen.cache import cache_dir

    return set((cache_dir() / kind).glob("*.npz"))


def test_fid_of_two_gaussians_is_the_closed_form():
    random = np.random.default_rng(0)
    mean, scale = np.array([1.0, -2.0, 0.5]), np.array([2.0, 0.5, 1.5])
    a, b = random.standard_normal((200_000, 3)), random.standard_normal((200_000, 3)) * scale + mean
    found = metrics.fid(*(metrics.statistics(torch.from_numpy(x)) for x in (a, b)))["fid"]
    # diagonal covariances commute: |m|^2 + sum (s - 1)^2
    assert found == pytest.approx((mean**2).sum() + ((scale - 1) ** 2).sum(), rel=2e-2)
    exact = [{"mu": m, "sigma": np.diag(s**2)} for m, s in ((np.zeros(3), np.ones(3)), (mean, scale))]
    assert metrics.fid(*exact)["fid"] == pytest.approx((mean**2).sum() + ((scale - 1) ** 2).sum(), rel=1e-9)


def test_precision_and_recall_against_prdc():
    random = np.random.default_rng(0)
    fake, real = random.standard_normal((300, 5)) * 0.8, random.standard_normal((400, 5))
    found = metrics.prc(torch.from_numpy(fake), torch.from_numpy(real))
    # prdc excludes a ball's boundary, torch-fidelity includes it: no distance lies on a boundary here
    truth = prdc.compute_prdc(real, fake, nearest_k=3)
    assert found["precision"] == pytest.approx(truth["precision"], abs=1e-6)
    assert found["recall"] == pytest.approx(truth["recall"], abs=1e-6)


def test_inception_score_of_certain_and_uncertain_classifiers():
    certain = torch.eye(10).repeat(100, 1) * 1000
    assert metrics.isc(certain)["isc"] == pytest.approx(10, rel=0.05)
    assert metrics.isc(torch.zeros(100, 10))["isc"] == pytest.approx(1)


def test_a_set_against_itself_scores_zero_after_a_round_trip_through_floats(digits):
    train, _ = digits
    again = Images("again/train", to_uint8(to_float(train.images)))
    assert again.key == train.key
    card = score_images(again, train, Linear(), metrics=("fid", "prc"))
    assert card.scores["fid"] == pytest.approx(0, abs=1e-6)
    assert card.scores["precision"] == card.scores["recall"] == 1


def test_scores_do_not_depend_on_the_batch_size_and_leave_model_and_random_state_unchanged(digits):
    train, _ = digits
    model = Generator()
    modes = [module.training for module in model.modules()]
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    cards = [score_samples(model, train, Linear(), num_samples=203, batch_size=size, seed=3) for size in (203, 32, 1)]
    for card in cards[1:]:
        assert card.scores["fid"] == pytest.approx(cards[0].scores["fid"], rel=1e-6)
    assert score_samples(model, train, Linear(), num_samples=203, seed=4).scores != cards[0].scores
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_a_conditional_model_gets_the_classes_of_the_reference(digits):
    train, _ = digits
    model = Generator(num_classes=10)
    card = score_samples(model, train, Linear(), num_samples=500, batch_size=100)
    requested = torch.cat(model.labels)
    model.labels = []
    score_samples(model, train, Linear(), num_samples=500, batch_size=77)
    assert torch.equal(requested, torch.cat(model.labels))
    assert set(requested.tolist()) == set(range(10))
    assert card.labels == "permuted reference labels"
    unconditional = Generator()
    assert score_samples(unconditional, train, Linear(), num_samples=50).labels is None
    assert unconditional.labels == [None]


class Replay(nn.Module):
    """Returns constant images whose grey value is the requested class."""

    num_classes = 4

    def sample(self, num, *, labels=None, generator=None):
        return (labels / 4 - 0.5)[:, None, None, None].float().expand(num, 1, 8, 8)


class Grey(Linear):
    """Assigns bright images to class 2 and the others to class 1."""

    def __call__(self, images):
        scores = torch.zeros(len(images), 4)
        bright = to_float(images).mean((1, 2, 3)) > -0.01
        scores[torch.arange(len(images)), torch.where(bright, 2, 1)] = 1
        return Features(torch.randn(len(images), 8, generator=torch.Generator().manual_seed(0)), scores)


def test_class_accuracy_is_the_share_of_images_of_the_requested_class(digits):
    train, _ = digits
    four = Images("four/train", train.images[:400], np.arange(400) % 4)
    card = score_samples(Replay(), four, Grey(), num_samples=800)
    # images of classes 1 and 2 are classified correctly, those of 0 as 1 and those of 3 as 2
    assert card.scores["class_accuracy"] == pytest.approx(0.5, abs=0.05)
    assert "class_accuracy" not in score_samples(Generator(), train, Linear(), num_samples=50).scores
    foreign = Grey()
    foreign.own_classes = False
    assert "class_accuracy" not in score_samples(Replay(), four, foreign, num_samples=50).scores


def test_reconstructions_are_named_as_such_and_compared_by_pixel(digits):
    _, test = digits
    card = score_reconstructions(Blur(), test, Linear(), batch_size=50)
    truth = (to_uint8(to_float(test.images) * 0.5).double() - test.images.double()).div(255).square().mean().item()
    assert card.scores["mse"] == pytest.approx(truth, rel=1e-9)
    assert card.scores["psnr"] == pytest.approx(-10 * np.log10(truth))
    assert card.subject == "reconstructions"
    assert card.protocol == {"fid": "rfid397_test@linear"}


def test_values_that_are_not_finite_are_flagged(digits):
    class Broken(Generator):
        def sample(self, num, *, labels=None, generator=None):
            images = super().sample(num, generator=generator).clone()
            images[0] = torch.nan
            return images

    card = score_samples(Broken(), digits[0], Linear(), num_samples=100, batch_size=50)
    assert np.isfinite(card.scores["fid"])
    assert card.flags["fid"].startswith("2 images had values that are not finite")


def test_weak_metrics_are_flagged_and_finite_and_undefined_ones_refused(digits, tmp_path):
    train, test = digits
    few = Images("few/test", test.images[:12])
    names = [name for name in FEATURE_METRICS if name != "copies"]  # undefined for so few images
    card = score_images(few, train, make_extractor("classifier", labelled=digits), metrics=names)
    assert np.isfinite(list(card.scores.values())).all()
    assert set(card.flags) == {"fid", "isc", "kid", "modes"}
    console = Console(record=True, width=300)
    console.print(card.table())
    text = " ".join(console.export_text().split())
    assert "classifier" in text
    assert "covariance is singular" in text
    assert "not distinguishable from real images" in text
    card.save(tmp_path / "deep" / "card.json")
    saved = json.loads((tmp_path / "deep" / "card.json").read_text())
    assert saved["scores"] == card.scores
    assert saved["protocol"]["fid"] == "fid12_train@classifier"
    assert saved["extractor_accuracy"] >= 0.9
    assert {"torch", "torch-fidelity", "torchvision", "lightning_gen", "python"} <= set(saved["versions"])
    for metric, num in {"fid": 1, "kid": 1, "isc": 9, "prc": 3}.items():
        with pytest.raises(InputError, match=f"{metric} is undefined for {num} generated"):
            score_images(Images("few/test", test.images[:num]), train, Linear(), metrics=(metric,))
    with pytest.raises(InputError, match="unknown metric 'FID'"):
        score_images(test, train, Linear(), metrics=("FID",))


def test_reference_features_are_extracted_once_per_content(digits, tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_GEN_CACHE", str(tmp_path))  # the others' files are not damaged
    train, test = digits
    images = train.images.clone()
    images[7, 0, 3, 3] += 1
    changed = Images("digits/train", images)
    assert changed.key != train.key
    extractor = Linear()
    first = score_images(test, train, extractor, metrics=("fid", "prc"))
    before, extractor.calls = cache_files("features"), 0
    assert score_images(test, train, extractor, metrics=("fid", "prc")).scores == first.scores
    assert extractor.calls == len(test)
    other = score_images(test, changed, extractor, metrics=("fid", "prc"))
    assert extractor.calls == 2 * len(test) + len(train)
    assert other.scores["fid"] != first.scores["fid"]
    (new,) = cache_files("features") - before
    for damage in (b"", new.read_bytes()[:-100], b"nonsense"):
        for path in cache_files("features") | cache_files("statistics"):
            path.write_bytes(damage)
        assert score_images(test, train, extractor, metrics=("fid", "prc")).scores == first.scores


def test_protocol_names():
    assert protocol_name("fid", 10_000, "train") == "fid10k_train"
    assert protocol_name("kid", 1437, "train", "classifier") == "kid1437_train@classifier"


def test_lower_and_upper_bound(digits):
    train, test = digits
    extractor = make_extractor("classifier", labelled=digits)
    lower = score_images(test, train, extractor).scores["fid"]
    upper = score_samples(UniformNoise((1, 8, 8)), train, extractor).scores["fid"]
    assert 0 < 10 * lower < upper
