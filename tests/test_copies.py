"""The metric copies: its statistics against scipy, memorisers that are detected, and honest models that are not."""

import json

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import betabinom, hypergeom, mannwhitneyu
from torch import nn

from lightning_gen.callbacks.fidelity import Fidelity
from lightning_gen.cli import main
from lightning_gen.data import ImageData
from lightning_gen.errors import InputError
from lightning_gen.evaluation import (
    classifier_splits,
    copies,
    make_extractor,
    nearest,
    score_images,
    score_reconstructions,
    score_samples,
)
from lightning_gen.evaluation.copies import c_t, copy_statistics, mann_whitney_z, nearest_distances, share_nearer
from lightning_gen.images import to_float
from tests.test_evaluation import Blur, Images, Linear, digit_sets


@pytest.fixture
def seeded():
    return np.random.default_rng(0)


# ---- the statistics


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=["pixels", "features"])
def test_distances_are_scipys_and_a_copy_has_distance_zero(dtype, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(0, 256, (300, 50), generator=generator).to(dtype)
    queries = torch.randint(0, 256, (40, 50), generator=generator).to(dtype)
    if dtype == torch.float32:  # the squared norms are 1e8 times the squared distances
        rows, queries = 1e4 + rows / 256, 1e4 + queries / 256
    queries = torch.cat([queries, rows[[3, 299]]])
    found = nearest_distances(queries, rows.split(64))
    truth = np.sort(cdist(queries.double(), rows.double()), 1)[:, :2]
    np.testing.assert_allclose(found, truth, rtol=1e-12)
    assert found[-2:, 0].tolist() == [0, 0]
    monkeypatch.setattr(nearest, "QUERIES_PER_BLOCK", 7)
    assert torch.equal(nearest_distances(queries, rows.split(300)), found)
    assert torch.equal(nearest_distances(queries, rows.split(1)), found)


def test_the_z_score_is_scipys(seeded):
    for ties in (False, True):
        a, b = seeded.normal(size=50), seeded.normal(0.5, size=70)
        if ties:
            a, b = a.round(), b.round()
        truth = mannwhitneyu(a, b, method="asymptotic", use_continuity=False, alternative="less")
        z = mann_whitney_z(torch.from_numpy(a), torch.from_numpy(b))
        p = 0.5 * (1 + torch.erf(torch.tensor(z, dtype=torch.float64) / 2**0.5)).item()
        assert p == pytest.approx(truth.pvalue, rel=1e-9)
        assert z < 0
    # the closed form of complete separation: U = 0
    z = mann_whitney_z(torch.arange(4).double(), torch.arange(10, 15).double())
    assert z == pytest.approx(-(4 * 5 / 2) / (4 * 5 * 10 / 12) ** 0.5)
    assert mann_whitney_z(torch.zeros(4).double(), torch.zeros(5).double()) == 0


def test_c_t_is_the_mean_of_the_cells_z_scores_weighted_by_held_out_images(seeded):
    samples, held_out = (torch.from_numpy(seeded.normal(size=size)) for size in (100, 60))
    cells, held_out_cells = torch.arange(100) % 3, torch.arange(60) % 4
    cells[cells == 2] = torch.where(torch.arange(int((cells == 2).sum())) < 10, 2, 0)  # 10 samples: left out
    expected = sum(
        n * mann_whitney_z(samples[cells == cell], held_out[held_out_cells == cell]) for cell, n in ((0, 15), (1, 15))
    )
    assert c_t(samples, held_out, cells, held_out_cells) == pytest.approx(expected / 30)
    # no cell with held-out images has samples
    far = torch.full_like(cells, 7)
    assert c_t(samples, held_out, far, held_out_cells) == mann_whitney_z(samples, held_out)


def test_p_values_are_those_of_the_beta_binomial_distribution(seeded):
    for num, n, k in ((500, 299, 3), (60, 1200, 12), (30, 40, 1)):
        held_out = torch.from_numpy(seeded.uniform(1, 2, n))
        threshold = held_out.sort().values[k - 1].item()
        for below in (0, 1, num // 20, num):
            samples = torch.cat([torch.full((below,), threshold / 2), torch.full((num - below,), 3.0)]).double()
            found = share_nearer(samples, held_out)
            assert found.share == below / num
            assert found.expected == pytest.approx(k / (n + 1))
            assert found.p == pytest.approx(betabinom.sf(below - 1, num, k, n + 1 - k), rel=1e-6, abs=1e-12)
            # of the pooled values, the smallest k + below - 1 contain ``below`` samples or more
            assert found.p == pytest.approx(hypergeom.sf(below - 1, num + n, num, k + below - 1), rel=1e-6)
    draws = seeded.uniform(size=(4000, 200 + 150))
    counts = (draws[:, :200] < np.sort(draws[:, 200:])[:, :1]).sum(1)
    found = [share_nearer(*torch.from_numpy(row).split([200, 150])) for row in draws[:400]]
    assert [round(200 * x.share) for x in found] == counts[:400].tolist()
    for below in (1, 2, 4, 8):
        assert np.mean(counts >= below) == pytest.approx(betabinom.sf(below - 1, 200, 1, 150), abs=0.03)


def test_held_out_images_that_are_copies_do_not_hide_copies():
    held_out = torch.cat([torch.zeros(10), torch.linspace(1, 2, 190)]).double()
    copied = share_nearer(torch.zeros(200).double(), held_out)
    assert copied.share == 1
    assert copied.expected == pytest.approx(11 / 201)
    assert copied.p < 1e-9
    honest = share_nearer(torch.cat([torch.zeros(10), torch.linspace(1, 2, 190) + 1e-3]).double(), held_out)
    assert honest.p > 0.3
    assert share_nearer(torch.zeros(30).double(), torch.zeros(30).double()).p == 1


def test_blocks_do_not_change_the_statistics(monkeypatch):
    train, test = digit_sets()
    parts = [(images, Linear()(images[:]).vectors) for images in (train, test)]
    samples = (test.images[:200] // 2, Linear()(test.images[:200] // 2).vectors)
    found = copy_statistics(samples, *parts)
    monkeypatch.setattr(copies, "ROWS_PER_BLOCK", 100)
    monkeypatch.setattr(nearest, "QUERIES_PER_BLOCK", 33)
    assert copy_statistics(samples, *parts) == found


# ---- models


class Splits:
    """Images of the digits: a train split, held-out images, and as many others."""

    def __init__(self):
        data = ImageData("digits")
        self.train = data.image_set("train")
        test = data.image_set("test")
        self.held_out, self.others = (Images(f"digits/{i}", test[i::2], test.labels[i::2]) for i in range(2))
        self.extractor = make_extractor("classifier", labelled=classifier_splits(data))

    def score(self, images):
        return score_images(
            Images("generated", images), self.train, self.extractor, metrics=("copies",), held_out=self.held_out
        )


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_GEN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield Splits()


def noisy(images, deviation):
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0)) * deviation
    return (images + noise).round().clamp(0, 255).to(torch.uint8)


def test_a_memoriser_is_detected(splits):
    card = splits.score(splits.train[:500])
    assert [card.scores[f"copies_{name}"] for name in ("pixels", "ratio_pixels")] == [1, 1]
    assert card.scores["copies_features"] > 0.99
    assert card.scores["copies_ct_pixels"] < -3
    assert card.scores["copies_ct_features"] < -3
    assert card.scores["copies_p"] < 1e-12
    assert card.flags["copies"].startswith("memorised training images: small distance ratios of 100.0% by pixels and")
    assert card.protocol["copies"] == "copies500_train@classifier"
    assert any("180 held-out images of digits/0" in note for note in card.notes)


@pytest.mark.parametrize("share", [0.1, 0.45])
def test_a_part_of_copies_among_honest_samples_is_detected(splits, share):
    others = splits.others.images
    num = round(share / (1 - share) * len(others))
    card = splits.score(torch.cat([others, splits.train[100 : 100 + num]]))
    assert card.scores["copies_ratio_pixels"] == pytest.approx(share, abs=0.03)
    assert "memorised" in card.flags["copies"]


@pytest.mark.parametrize("deviation", [2, 10, 20])
def test_noisy_copies_are_detected(splits, deviation):
    card = splits.score(noisy(splits.train[:500], deviation))
    assert "memorised" in card.flags["copies"]
    assert card.scores["copies_ct_pixels"] < -3


def test_honest_images_are_accepted(splits):
    card = splits.score(splits.others.images)
    assert "copies" not in card.flags
    assert card.scores["copies_p"] > 0.01
    assert abs(card.scores["copies_ct_pixels"]) < 3


def test_smooth_images_are_nearer_but_accepted(splits):
    # each image is averaged with its nearest ones: nearer to the training images than real images are
    images = splits.others.images.flatten(1).double()
    nearby = torch.cdist(images, images).topk(4, largest=False).indices
    smooth = images[nearby].mean(1).round().to(torch.uint8).view_as(splits.others.images)
    card = splits.score(smooth)
    assert card.scores["copies_ct_pixels"] < -3
    assert "copies" not in card.flags


def test_a_generative_model_is_accepted(splits):
    random, parts = np.random.default_rng(0), []
    pixels = splits.train[:].flatten(1).numpy().astype(np.float64)
    for label in range(10):
        own = pixels[splits.train.labels == label]
        parts.append(random.multivariate_normal(own.mean(0), np.cov(own.T), 50))
    samples = torch.from_numpy(np.concatenate(parts)).round().clamp(0, 255).to(torch.uint8)
    card = splits.score(samples.view(-1, *splits.train[:1].shape[1:]))
    assert "copies" not in card.flags
    assert card.scores["copies_p"] > 0.01


def test_the_error_rate_over_random_splits_is_that_stated():
    images = torch.cat([part.images for part in digit_sets()])
    features = Linear()(images).vectors
    tables = {"pixels": torch.cdist(images.flatten(1).double(), images.flatten(1).double())}
    tables["features"] = torch.cdist(features.double(), features.double())
    random, p_values, memorised = np.random.default_rng(0), [], 0
    for _ in range(200):
        train, rest = torch.from_numpy(random.permutation(len(images))).split([900, len(images) - 900])
        cells = torch.zeros(len(rest), dtype=torch.int64)
        spaces = {}
        for name, table in tables.items():
            distances = table[rest][:, train].topk(2, largest=False).values
            spaces[name] = copies.space_statistics(distances, cells, 500)
        found = copies.CopyStatistics(spaces, len(rest) - 500)
        p_values.append([x.p for space in spaces.values() for x in (space.distance, space.ratio)] + [found.p])
        memorised += bool(found.memorised)
    assert memorised <= 2  # 0.2 expected at most
    assert (np.array(p_values) < 0.05).mean(0).max() < 0.1
    assert (np.array(p_values) < 0.5).mean(0)[:4].min() > 0.3


# ---- what is refused, and the command


class Replay(nn.Module):
    """Generates given images in their order."""

    def __init__(self, images):
        super().__init__()
        self.images, self.start = to_float(images), 0

    def sample(self, num, *, labels=None, generator=None):
        self.start += num
        return self.images[self.start - num : self.start]


def test_samples_are_compared_with_the_training_images_whatever_the_reference():
    train, test = digit_sets()
    options = {"metrics": ("copies",), "num_samples": 300, "held_out": test}
    card = score_samples(Replay(train.images), test, Linear(), training=train, **options)
    other = score_samples(Replay(train.images), train, Linear(), **options)
    assert card.scores == other.scores
    assert card.scores["copies_pixels"] == 1
    assert card.protocol == other.protocol == {"copies": "copies300_train@linear"}


def test_what_has_no_held_out_images_is_refused():
    train, test = digit_sets()
    with pytest.raises(InputError, match="copies compares samples with training images and with held-out images"):
        score_images(test, train, Linear(), metrics=("copies",))
    with pytest.raises(InputError, match="copies compares samples"):
        score_reconstructions(Blur(), test, Linear(), metrics=("copies",))
    again = Images("again/test", train.images)
    with pytest.raises(InputError, match="those of again/test are the training images"):
        score_images(test, train, Linear(), metrics=("copies",), held_out=again)
    few = Images("few/test", test.images[:19])
    with pytest.raises(InputError, match="copies is undefined for 19 held-out images"):
        score_images(test, train, Linear(), metrics=("copies",), held_out=few)
    large = Images("large/test", torch.zeros(30, 1, 9, 9, dtype=torch.uint8))
    with pytest.raises(InputError, match="copies compares pixels"):
        score_images(large, train, Resized(), metrics=("copies",), held_out=test)
    with pytest.raises(InputError, match="evaluate --metrics copies"):
        Fidelity(metrics=("fid", "copies"))


class Resized(Linear):
    """Features of the upper left 8x8 pixels."""

    def __call__(self, images):
        return super().__call__(images[..., :8, :8])


def test_weak_comparisons_are_flagged():
    train, test = digit_sets()
    overlapping = Images("overlap/test", torch.cat([test.images[:90], train.images[:10]]))
    card = score_images(test, train, Linear(), metrics=("copies",), held_out=overlapping)
    assert card.flags["copies"] == "10.0% of the held-out images are copies of training images"
    few = Images("few/test", test.images[:50])
    card = score_images(test, train, Linear(), metrics=("copies",), held_out=few)
    assert card.flags["copies"].startswith("50 held-out images: no 1% quantile")


def test_the_command_scores_a_checkpoint(tmp_path, capsys):
    out = tmp_path / "card.json"
    fit = ["fit", "--model", "VAE", "--model.width=4", "--model.latent_dim=2", "--data.image_size=16"]
    fit += ["--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--fidelity.features=null"]
    assert main([*fit, "--runs", str(tmp_path / "runs")]) == 0
    (run,) = (tmp_path / "runs").glob("*/*")
    command = ["evaluate", "--ckpt", str(run), "--metrics", "copies", "--num_samples", "100", "--out", str(out)]
    assert main([*command, "--device", "cpu", "--split", "test"]) == 0
    card = json.loads(out.read_text())
    assert card["protocol"]["copies"] == "copies100_train@classifier"
    assert any("held-out images of digits/test" in note for note in card["notes"])
    assert main([*command, "--device", "cpu", "--reconstructions"]) == 2
    assert "copies compares samples" in capsys.readouterr().err
