"""The reference band, several draws of samples, and the classes of a conditional model's samples."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console

from lightning_gen.cache import cache_dir
from lightning_gen.evaluation import Extractor, Features, ScoreCard, UniformNoise, score_images, score_samples
from lightning_gen.evaluation.band import Band, bootstrap_indices, compare_with_bands, permuted_indices
from lightning_gen.evaluation.scoring import sample_labels
from tests.test_evaluation import Generator, Images, Linear, digit_sets


class Values(Extractor):
    """Four features: the numbers that an image's sixteen bytes encode."""

    name, weights_hash, resizer, width = "values", "0", "none", 4

    def __call__(self, images):
        return Features(torch.from_numpy(images.numpy().copy().view(np.float32).reshape(len(images), 4)))


def images_of(name, values):
    return Images(
        name, torch.from_numpy(values.astype(np.float32).view(np.uint8).reshape(len(values), 1, 1, 16).copy())
    )


def rendered(card):
    console = Console(record=True, width=300)
    console.print(card.table())
    return " ".join(console.export_text().split())


@pytest.mark.parametrize("num", [300, 1000])
def test_the_band_of_fid_has_the_closed_form_of_normal_features(num):
    """For N draws of d independent normal features of variance v, to first order in 1 / N,

        E FID = v / N (d + d (d + 1) / 4),    Var FID = 2 (v / N)^2 (d + d / 4 + d (d - 1) / 8)

    of which the first terms are the mean's and the others the covariance's: sum_ij S_ij^2 / 4v for an error S of it.
    """
    random = np.random.default_rng(0)
    reference, held_out = (
        images_of(name, 3 * random.standard_normal((size, 4))) for name, size in (("a/train", 20_000), ("a/test", 50))
    )
    card = score_images(images_of("a/fake", np.ones((num, 4))), reference, Values(), held_out=held_out)
    band = card.bands["fid"]
    assert band.draws == 100
    assert band.mean == pytest.approx(9 / num * 9, rel=0.1)
    assert band.std == pytest.approx(9 / num * np.sqrt(2 * (4 + 1 + 1.5)), rel=0.2)
    assert band.held_out == pytest.approx(score_images(held_out, reference, Values()).scores["fid"])
    assert band.held_out_images == 50


def test_draws_have_random_classes_or_exactly_those_of_the_reference():
    labels = np.repeat(np.arange(5), [50, 40, 30, 20, 10])
    drawn = labels[bootstrap_indices(150, labels, 150, seed=1)]
    assert np.array_equal(np.bincount(drawn), [50, 40, 30, 20, 10])
    more = np.bincount(labels[bootstrap_indices(150, labels, 200, seed=1)])
    assert more.sum() == 200
    assert (more >= [50, 40, 30, 20, 10]).all()
    free = bootstrap_indices(150, None, 150, seed=1)
    assert len(np.unique(free)) == pytest.approx(150 * (1 - np.exp(-1)), abs=15)  # with replacement
    assert not np.array_equal(np.bincount(labels[free]), [50, 40, 30, 20, 10])
    assert len(np.unique(bootstrap_indices(150, labels, 150, seed=1))) < 120
    assert not np.array_equal(free, bootstrap_indices(150, None, 150, seed=2))


def test_permuted_indices_are_whole_permutations_and_a_remainder_without_repetition():
    counts = np.bincount(permuted_indices(7, 25, seed=0), minlength=7)
    assert sorted(counts) == [3, 3, 3, 4, 4, 4, 4]
    assert not np.array_equal(permuted_indices(7, 7, seed=0), np.arange(7))


def test_the_classes_of_samples_are_permutations_of_the_references():
    train, _ = digit_sets()
    labels = sample_labels(Generator(num_classes=10), train, len(train), seed=3)
    assert np.array_equal(np.bincount(labels), np.bincount(train.labels))
    assert not np.array_equal(labels, train.labels)
    twice = sample_labels(Generator(num_classes=10), train, 2 * len(train) + 100, seed=3)
    assert (np.bincount(twice) >= 2 * np.bincount(train.labels)).all()
    unlabelled = Images("x/train", train.images)
    uniform = np.bincount(sample_labels(Generator(num_classes=10), unlabelled, 25, seed=0))
    assert sorted(uniform) == [2] * 5 + [3] * 5


def test_the_band_is_narrower_with_the_classes_of_the_reference_and_flags_scores_within_it():
    train, test = digit_sets()
    free = score_samples(Generator(), train, Linear(), held_out=test)
    by_class = score_samples(Generator(num_classes=10), train, Linear(), held_out=test)
    assert 0 < by_class.bands["fid"].mean < free.bands["fid"].mean
    assert "fid" not in free.comparisons
    assert by_class.bands["fid"].std < free.bands["fid"].std
    text = rendered(free)
    assert "resampled reference" in text
    assert f"({len(test)})" in text
    assert "one draw, seed 0" in text
    assert score_samples(Generator(), train, Linear(), band_draws=0).bands == {}


def test_the_comparison_contains_the_references_own_sampling_error():
    band = {"fid": Band(1.0, 0.2, 100)}
    assert compare_with_bands({"fid": 1.4}, band, 50, 10**6)["fid"].startswith("not distinguishable from real images")
    assert "50 new real images score about 1 ± 0.2" in compare_with_bands({"fid": 1.5}, band, 50, 10**6)["fid"]
    assert compare_with_bands({"fid": 1.5}, band, 50, 10**6)["fid"].startswith("biased")
    assert compare_with_bands({"fid": 11.0}, band, 50, 10**6) == {}
    assert compare_with_bands({"fid": 2.7}, band, 50, 50)["fid"].startswith("not distinguishable")
    assert compare_with_bands({"fid": 2.9}, band, 50, 50)["fid"].startswith("biased")
    assert compare_with_bands({"fid": 1.0}, {}, 50, 50) == {}


def test_new_images_of_the_same_distribution_are_not_distinguished():
    """As many as the reference has, their FID is twice that of a resample: about 19 of 20 are within the range."""
    within, resampled = 0, []
    for seed in range(12):
        random = np.random.default_rng(seed)
        new, reference = (images_of(f"{seed}/{name}", random.standard_normal((400, 4))) for name in ("new", "train"))
        card = score_images(new, reference, Values())
        within += "not distinguishable" in card.comparisons["fid"]
        resampled.append(card.scores["fid"] / card.bands["fid"].mean)
    assert within >= 10
    assert np.mean(resampled) == pytest.approx(2, abs=0.6)


def test_a_band_is_computed_once_per_protocol():
    train, test = digit_sets()

    def files():
        return set((cache_dir() / "bands").glob("*.npz"))

    score_images(test, train, Linear(), held_out=test, band_draws=3)
    before = files()
    score_images(test, train, Linear(), held_out=test, band_draws=3)
    assert files() == before
    score_images(test, train, Linear(), held_out=test, band_draws=4)
    score_images(test, train, Linear(), band_draws=3)
    score_images(Images("x/some", test.images[:100]), train, Linear(), held_out=test, band_draws=3)
    assert len(files() - before) == 3


def test_the_band_of_precision_and_recall():
    train, test = digit_sets()
    card = score_images(test, train, Linear(), metrics=("prc",), held_out=test, band_draws=2)
    assert card.bands["precision"].mean == 1
    assert card.bands["precision"].held_out == card.scores["precision"]
    assert 0.5 < card.bands["recall"].mean < 1
    assert card.bands["recall"].draws == 2


def test_the_card_of_several_draws_has_their_mean_their_spread_and_each_value():
    train, _ = digit_sets()
    cards = [score_samples(Generator(), train, Linear(), num_samples=200, seed=seed) for seed in (4, 5, 6)]
    values = [card.scores["fid"] for card in cards]
    mean = ScoreCard.mean_of(cards)
    assert mean.scores["fid"] == pytest.approx(np.mean(values))
    assert mean.spread["fid"] == pytest.approx(np.std(values, ddof=1))
    assert [draw["fid"] for draw in mean.draws] == values
    assert mean.spread["fid"] > 0
    assert mean.seed == 4
    assert "3 draws, seeds 4 to 6" in rendered(mean)
    assert ScoreCard.mean_of(cards[:1]) is cards[0]


def test_the_mean_is_compared_with_the_band_and_keeps_the_flags():
    train, _ = digit_sets()
    card = score_samples(UniformNoise((1, 8, 8)), train, Linear(), num_samples=200, band_draws=2)
    low, high = (replace(card, scores={"fid": score}, bands={"fid": Band(1.0, 0.1, 100)}) for score in (1.1, 99.0))
    mean = ScoreCard.mean_of([replace(low, flags={"fid": "a"}, comparisons={"fid": "b"}), high])
    assert mean.flags == {"fid": "a"}
    assert mean.comparisons == {}
    near = ScoreCard.mean_of([low, low])
    assert near.comparisons["fid"].startswith("not distinguishable")
    assert near.comparisons["fid"] in rendered(near)


def test_several_draws_of_copies_are_one_test():
    """The p-value of K draws is K times the smallest; the flag stays if that is significant."""
    train, test = digit_sets()
    card = score_images(test, train, Linear(), band_draws=0)
    flag = "memorised training images: small distance ratios"

    def draw(p):
        return replace(card, scores={"copies_p": p}, flags={"copies": f"{flag}; few"} if p < 0.001 else {})

    honest = ScoreCard.mean_of([draw(0.5), draw(0.0004), draw(1.0)])
    assert honest.scores["copies_p"] == pytest.approx(0.0012)
    assert honest.flags == {"copies": "few"}
    memorised = ScoreCard.mean_of([draw(0.5), draw(1e-9)])
    assert memorised.scores["copies_p"] == pytest.approx(2e-9)
    assert memorised.flags == {"copies": f"{flag}; few"}
    assert "copies_p" not in memorised.spread
