"""Inception: equality with torch-fidelity's scores, and weights files that are refused."""

import os
import pickle
from unittest import mock
from urllib.error import URLError

import pytest
import torch
import torch_fidelity
from threadpoolctl import threadpool_limits
from torch import nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from lightning_gen.errors import InputError
from lightning_gen.evaluation import EXTRACTORS, make_extractor, score_images
from tests.test_evaluation import Images, digit_sets

TORCH_FIDELITY_METRICS = ("fid", "isc", "kid", "prc")
SCORE_NAMES = {
    "fid": "frechet_inception_distance",
    "isc": "inception_score_mean",
    "isc_std": "inception_score_std",
    "kid": "kernel_inception_distance_mean",
    "kid_std": "kernel_inception_distance_std",
    "precision": "precision",
    "recall": "recall",
    "f_score": "f_score",
}
"""Our names of scores, and torch-fidelity's."""


def random_inception(images):
    """Inception's architecture with random weights, its batch norms fitted to some images."""
    kind = FeatureExtractorInceptionV3
    with mock.patch.object(kind, "load_state_dict"), mock.patch("torch.load"):
        network = kind("inception-v3-compat", ["2048"], feature_extractor_weights_path="none")
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(images)
    return network.state_dict()


@pytest.fixture(scope="module")
def colour():
    """Two small sets of colour images: digits whose channels differ."""
    images = digit_sets()[0].images
    images = torch.cat([images, images.flip(2), images.flip(3)], dim=1)
    return Images("a/test", images[:16]), Images("b/train", images[16:32])


@pytest.fixture(scope="module")
def weights(colour, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(random_inception(colour[0].images[:8]), path)
    return path


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_GEN_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """LAPACK's eigenvalues of 2048x2048 take most of the time, and more on threads that wait for one another."""
    with threadpool_limits(1, user_api="blas"):
        yield


class AsDataset(torch.utils.data.Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


def test_every_score_equals_torch_fidelitys(colour, weights):
    generated, reference = colour
    expected = torch_fidelity.calculate_metrics(
        input1=AsDataset(generated.images),
        input2=AsDataset(reference.images),
        feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=str(weights),
        **dict.fromkeys(TORCH_FIDELITY_METRICS, True),
        kid_subset_size=len(reference),
        cuda=False,
        save_cpu_ram=True,  # no worker processes
        verbose=False,
    )
    card = score_images(
        generated, reference, make_extractor("inception", inception_weights=weights), metrics=TORCH_FIDELITY_METRICS
    )
    assert set(card.scores) == set(SCORE_NAMES)
    for ours, theirs in SCORE_NAMES.items():
        assert card.scores[ours] == pytest.approx(expected[theirs], rel=1e-6), ours
    assert card.protocol["fid"] == "fid16_train"
    assert "no antialiasing, to 299x299" in card.resizer
    assert card.notes == ()
    assert "covariance is singular" in card.flags["fid"]
    with pytest.raises(InputError, match="modes counts the classes of the dataset, which inception does not know"):
        score_images(generated, reference, make_extractor("inception", inception_weights=weights), metrics=("modes",))


def test_grey_images_are_repeated_to_three_channels_with_a_note_on_the_card(colour, weights):
    extractor = make_extractor("inception", inception_weights=weights)
    grey = colour[0].images[:4, :1]
    assert torch.equal(extractor(grey).vectors, extractor(grey.repeat(1, 3, 1, 1)).vectors)
    few = Images("grey/test", grey)
    card = score_images(few, few, extractor, metrics=("prc",))
    assert card.notes == ("one grey channel repeated to three",)
    assert not any(module.training for module in extractor.trunk.modules())


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_unsafe_and_damaged_weights_files_are_refused(weights, tmp_path):
    bad = tmp_path / "bad.pth"

    def refused(match):
        with pytest.raises(InputError, match=match) as caught:
            make_extractor("inception", inception_weights=bad)
        assert "\n" not in str(caught.value)

    refused("no file .*--inception_weights")
    torch.save({"fc.weight": Payload(tmp_path / "owned")}, bad)
    refused("more than tensors")
    bad.write_bytes(pickle.dumps(Payload(tmp_path / "owned")))
    refused("more than tensors")
    assert not (tmp_path / "owned").exists()
    content = weights.read_bytes()
    bad.write_bytes(content[: len(content) // 2])
    refused("damaged|more than tensors")
    bad.write_bytes(b"")
    refused("damaged|more than tensors")
    torch.save({"weight": torch.zeros(3)}, bad)
    refused("no weights of Inception")
    torch.save([torch.zeros(3)], bad)
    refused("not a plain dictionary")


@pytest.mark.parametrize("name", ["inception", "vgg16", "clip-vit-b-32", "dinov2-vit-s-14"])
def test_the_error_of_a_failed_download_says_what_to_do(name, tmp_path, monkeypatch):
    assert name in EXTRACTORS
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with (
        mock.patch("urllib.request.urlopen", side_effect=URLError("no network")),
        mock.patch("torch.hub.urlopen", side_effect=URLError("no network")),
        pytest.raises(InputError, match=r"cannot be fetched .*(no network|no internet).*: (download|run once)"),
    ):
        make_extractor(name)
