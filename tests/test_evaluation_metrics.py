"""The table of metrics, and the helpers for image quality and hashes."""

from collections import Counter
from hashlib import sha256
from typing import get_args

import pytest
import torch
from torch import nn

from lightning_gen.cli import scoring as command
from lightning_gen.data import ImageData
from lightning_gen.errors import InputError
from lightning_gen.evaluation import (
    FEATURE_METRICS,
    GENERATOR_METRICS,
    LIKELIHOOD_METRICS,
    METRICS,
    PAIR_METRICS,
    Extractor,
    check_metrics,
    classifier_splits,
    score_images,
    score_likelihood,
    score_reconstructions,
    score_samples,
)
from lightning_gen.evaluation.copies import CopyReference
from lightning_gen.evaluation.directions import direction_of
from lightning_gen.evaluation.metrics import METRIC_OF_SCORE, RECORDS
from lightning_gen.hashing import file_hash, weights_hash
from lightning_gen.losses.image_quality import MAX_PSNR, MIN_MSE, mse, psnr, ssim
from lightning_gen.models.autoencoders.vae import VAE
from tests.test_evaluation import Blur, Generator, Linear, digit_sets


class NoLogits(Extractor):
    name, weights_hash, resizer, width = "vectors", "0", "none", 8

    def __call__(self, images):
        raise NotImplementedError


def test_names_and_scores_are_unique_and_every_metric_is_of_one_kind():
    assert len(METRICS) == len(RECORDS)
    keys = Counter(key for metric in RECORDS for key in metric.scores)
    # of reconstructions and of pairs, which are never on one card
    assert {key for key, num in keys.items() if num > 1} == {"psnr", "ssim"}
    automatic = {metric.name for metric in RECORDS if metric.automatic}
    requested = (*FEATURE_METRICS, *GENERATOR_METRICS, *PAIR_METRICS, *LIKELIHOOD_METRICS)
    assert {*requested, *automatic} == set(METRICS)
    assert len(requested) + len(automatic) == len(METRICS)


def test_records_name_the_scores_that_their_functions_return():
    train, test = digit_sets()
    found = score_images(test, train, Linear(), metrics=FEATURE_METRICS, held_out=test).scores
    assert list(found) == [key for name in FEATURE_METRICS for key in METRICS[name].scores]
    found = score_reconstructions(Blur(), test, Linear(), metrics=("prc",)).scores
    assert list(found) == [key for name in ("prc", "mse", "ssim") for key in METRICS[name].scores]
    found = score_samples(Generator(num_classes=4), train, Linear(), metrics=("isc",), num_samples=100).scores
    assert list(found) == [key for name in ("isc", "class_accuracy") for key in METRICS[name].scores]
    torch.manual_seed(0)
    found = score_likelihood(VAE((1, 8, 8), width=2, latent_dim=3), test, num_images=3, importance_samples=2).scores
    assert list(found) == [key for name in LIKELIHOOD_METRICS for key in METRICS[name].scores]
    spreads = {key for metric in RECORDS for key, direction in metric.scores.items() if direction is None}
    assert spreads == {key for key in METRIC_OF_SCORE if key.endswith(("_std", "_sem"))}


@pytest.mark.parametrize("metric", RECORDS, ids=lambda metric: metric.name)
def test_the_checks_follow_from_the_record(metric):
    if metric.name not in FEATURE_METRICS:
        reason = "compares pairs" if metric.name in PAIR_METRICS else f"unknown metric '{metric.name}'"
        if metric.name in GENERATOR_METRICS:
            reason = f"{metric.name} is computed from a model"
        with pytest.raises(InputError, match=reason):
            check_metrics([metric.name], Linear(), 1000, 1000)
        return
    real = CopyReference(*digit_sets()) if "held_out" in metric.needs else None
    check_metrics([metric.name], Linear(), metric.min_images, metric.min_images, real)
    with pytest.raises(InputError, match=f"{metric.name} is undefined for {metric.min_images - 1} generated images"):
        check_metrics([metric.name], Linear(), metric.min_images - 1, 1000)
    if metric.uses_reference:
        with pytest.raises(InputError, match=f"{metric.name} is undefined for {metric.min_images - 1} reference"):
            check_metrics([metric.name], Linear(), 1000, metric.min_images - 1)
    else:
        check_metrics([metric.name], Linear(), metric.min_images, 0, real)
    if metric.needs & {"logits", "class_logits"}:
        with pytest.raises(InputError, match=f"{metric.name} .* vectors .*; use .*classifier"):
            check_metrics([metric.name], NoLogits(), 1000, 1000)


def test_the_command_offers_the_metrics_of_the_table():
    assert get_args(command.Metric) == (*FEATURE_METRICS, *GENERATOR_METRICS, *PAIR_METRICS, *LIKELIHOOD_METRICS)


def test_the_classifier_is_trained_on_train_and_tested_on_val(tmp_path):
    data = ImageData("digits", str(tmp_path), leave_out=(3,))
    train, val = classifier_splits(data)
    assert (train.key, val.key) == (data.image_set("train").key, data.image_set("val").key)
    assert 3 not in val.labels
    assert 3 in data.image_set("test").labels


def test_mse_and_psnr_are_of_images_scaled_to_one():
    torch.manual_seed(0)
    stored, others = torch.randint(0, 256, (2, 5, 3, 8, 8), dtype=torch.uint8)
    expected = (stored.double() - others.double()).div(255).square()
    torch.testing.assert_close(mse(stored, others), expected.mean())
    torch.testing.assert_close(mse(stored, others, "image"), expected.flatten(1).mean(1))
    torch.testing.assert_close(mse(stored, others, "none"), expected)
    images, targets = stored / 127.5 - 1, others / 127.5 - 1
    torch.testing.assert_close(mse(images, targets).double(), expected.mean())
    assert mse(images, targets).dtype == torch.float32
    black, white = -torch.ones(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
    assert mse(black, white).item() == 1
    assert psnr(mse(black, white)).item() == 0
    assert psnr(0.01) == pytest.approx(20)
    assert psnr(0.0) == psnr(MIN_MSE) == psnr(torch.tensor(0.0)).item() == MAX_PSNR


def test_ssim_is_one_value_per_pair_and_one_for_equal_images():
    torch.manual_seed(0)
    images, others = torch.randint(0, 256, (2, 3, 1, 8, 8), dtype=torch.uint8)
    torch.testing.assert_close(ssim(images, images), torch.ones(3, dtype=torch.float64))
    found = ssim(images, others)
    assert found.shape == (3,)
    torch.testing.assert_close(ssim(images[1:2], others[1:2]), found[1:2])
    floats = [x.double() / 127.5 - 1 for x in (images, others)]
    torch.testing.assert_close(ssim(*floats), found)


def test_hashes_depend_on_names_and_values_only(tmp_path):
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    first = weights_hash(layer)
    assert len(first) == 16
    assert weights_hash(dict(reversed(layer.state_dict().items()))) == first
    assert weights_hash({f"other.{name}": value for name, value in layer.state_dict().items()}) != first
    with torch.no_grad():
        layer.bias[0] += 1
    assert weights_hash(layer) != first
    path = tmp_path / "file"
    path.write_bytes(b"x" * 3_000_000)
    assert file_hash(path) == sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("fid", "lower"),
        ("fid1437_train_classifier", "lower"),
        ("rfid360_test", "lower"),
        ("isc_std", None),
        ("isc_std10k_train", None),
        ("psnr_y", "higher"),
        ("tpsnr360_test", "higher"),
        ("recall10k_train", "higher"),
        ("reward", None),
    ],
)
def test_which_values_of_a_score_are_better(name, direction):
    assert direction_of(name) == direction
