"""Perceptual path length against closed forms and torchmetrics, and as a metric of evaluate and of training."""

import json

import numpy as np
import pytest
import torch
from torch import nn
from torchmetrics.functional.image.perceptual_path_length import perceptual_path_length
from torchvision.models import alexnet

from lightning_gen.errors import InputError
from lightning_gen.evaluation import (
    GENERATOR_METRICS,
    FeatureDistance,
    Lpips,
    LpipsDistance,
    UniformNoise,
    make_extractor,
    score_images,
    score_samples,
)
from lightning_gen.evaluation.classifier import Classifier, StackedClassifier
from lightning_gen.evaluation.metric_record import FeatureInputs, Features, LatentBatch, Reference
from lightning_gen.evaluation.metrics import compute_scores
from lightning_gen.evaluation.path_length import EPSILON, PATH_LENGTHS, PathLength, path_quotients
from lightning_gen.images import to_float
from lightning_gen.models.gans.dcgan import DCGAN
from lightning_gen.networks.classifier import ClassifierNetwork
from tests.test_evaluation import Linear, digit_sets
from tests.toy_styles import Floats, ToyStyles


class SquaredError:
    """The squared distance of pixels."""

    name, note = "pixels", "squared distance of pixels"

    def check(self, image_shape):
        pass

    def __call__(self, images, targets):
        return (images.double() - targets.double()).square().flatten(1).sum(1)


def quotients(model, probe, num=4000, seed=0, labels=None):
    return probe(LatentBatch(model, seed, range(num), labels), SquaredError())


class Reference255(nn.Module):
    """A generator as torchmetrics wants it, with images in [0, 255]."""

    def __init__(self, matrix):
        super().__init__()
        self.matrix = matrix

    def sample(self, num):
        return torch.randn(num, len(self.matrix), dtype=torch.float64)

    def forward(self, z):
        return (z @ self.matrix + 1) * 127.5


def test_path_length_of_a_linear_generator_is_the_closed_form_and_that_of_torchmetrics():
    torch.manual_seed(0)
    matrix = torch.randn(6, 64, dtype=torch.float64) / 8

    def decode(z):
        return (z @ matrix).view(-1, 1, 8, 8)

    start, end = torch.randn(2, 20_000, 6, dtype=torch.float64)
    found = path_quotients(decode, "linear", start, end, torch.rand(20_000, 1).double(), SquaredError())
    torch.testing.assert_close(found, ((end - start) @ matrix).square().sum(1), rtol=1e-3, atol=0)
    expected = 2 * matrix.square().sum()  # 2 tr(A^T A), because the ends are independent
    torch.testing.assert_close(found.mean(), expected, rtol=0.02, atol=0)

    class Distance(nn.Module):
        def forward(self, x, y):
            return (x - y).square().sum(1)

    mean, _, kept = perceptual_path_length(Reference255(matrix), 20_000, resize=None, sim_net=Distance())
    inputs = FeatureInputs(
        None, Features(torch.empty(0, 0)), Reference(torch.empty(0, 0), {}), 1, 1, {"ppl_zend": found}
    )
    scores = compute_scores(["ppl_zend"], inputs)
    assert len(kept) == pytest.approx(0.98 * 20_000, abs=2)
    error = (2**0.5) * scores["ppl_zend_sem"]
    assert scores["ppl_zend"] == pytest.approx(mean.item(), abs=4 * error)
    assert scores["ppl_zend"] < found.mean()  # the tail is left out


def test_one_percent_at_each_end_is_left_out():
    values = torch.arange(1001.0, dtype=torch.float64).flip(0)
    values[0] = 1e9
    inputs = FeatureInputs(
        None, Features(torch.empty(0, 0)), Reference(torch.empty(0, 0), {}), 1, 1, {"ppl_wend": values}
    )
    assert compute_scores(["ppl_wend"], inputs)["ppl_wend"] == pytest.approx(500)


@pytest.mark.parametrize("name", [name for name in GENERATOR_METRICS if name.startswith("ppl_")])
def test_lengths_scale_with_the_square_of_the_images_and_vanish_for_a_constant_generator(name):
    probe = PathLength(name[4], name[5:])
    model, twice = ToyStyles(), ToyStyles(scale=0.2)
    found = quotients(model, probe, 50)
    assert (found > 0).all()
    torch.testing.assert_close(quotients(twice, probe, 50), 4 * found, rtol=1e-3, atol=0)
    twice.images.zero_()
    assert quotients(twice, probe, 50).eq(0).all()
    torch.testing.assert_close(
        quotients(model, probe, 9)[5:], probe(LatentBatch(model, 0, range(5, 9)), SquaredError())
    )
    assert quotients(model, probe, 9, seed=1).ne(quotients(model, probe, 9)).all()


def test_lines_in_w_have_the_length_of_the_closed_form():
    model = ToyStyles()
    expected = 2 * (2 * model.images.sum(0).double()).square().sum()  # w = 2 z + 1
    for position in ("full", "end"):  # a line has one speed
        torch.testing.assert_close(quotients(model, PathLength("w", position)).mean(), expected, rtol=0.1, atol=0)


def test_an_arc_has_the_length_of_its_derivative():
    torch.manual_seed(0)
    matrix = torch.randn(4, 64, dtype=torch.float64)
    start, end = torch.randn(2, 50, 4, dtype=torch.float64)
    angle = torch.cosine_similarity(start, end).acos().unsqueeze(1)
    for times in (torch.zeros(50, 1).double(), torch.rand(50, 1).double()):
        derivative = (
            ((times * angle).cos() * end - ((1 - times) * angle).cos() * start) * angle / angle.sin()
        ) @ matrix
        found = path_quotients(lambda z: (z @ matrix).view(-1, 1, 8, 8), "spherical", start, end, times, SquaredError())
        torch.testing.assert_close(found, derivative.square().sum(1), rtol=5e-3, atol=0)


def test_an_orthogonal_map_of_the_latents_changes_no_length():
    torch.manual_seed(0)
    matrix, rotation = torch.randn(4, 64, dtype=torch.float64), torch.linalg.qr(torch.randn(4, 4).double()).Q
    start, end = torch.randn(2, 30, 4, dtype=torch.float64)
    times = torch.rand(30, 1).double()

    def lengths(kind, linear, *ends):
        return path_quotients(lambda z: (z @ linear).tanh().view(-1, 1, 8, 8), kind, *ends, times, SquaredError())

    for kind in ("linear", "spherical"):
        found = lengths(kind, matrix, start, end)
        torch.testing.assert_close(
            lengths(kind, rotation.T @ matrix, start @ rotation, end @ rotation), found, rtol=1e-4, atol=0
        )


def test_truncation_shrinks_lengths_in_both_spaces():
    model = ToyStyles()
    full = {space: quotients(model, PathLength(space, "full"), 20) for space in "zw"}
    model.truncation = 0.5
    for space in "zw":
        torch.testing.assert_close(quotients(model, PathLength(space, "full"), 20), full[space] / 4, rtol=2e-3, atol=0)
    model.truncation, model.truncated_layers = 0.0, 1
    rest = model.images[1:].double().square().sum() / model.images.double().square().sum()
    torch.testing.assert_close(
        quotients(model, PathLength("w", "end")).mean() / quotients(ToyStyles(), PathLength("w", "end")).mean(),
        rest,
        rtol=0.05,
        atol=0,
    )


def test_both_ends_have_the_requested_class():
    model = ToyStyles(num_classes=3)
    seen = []
    decode = model.decode
    model.decode = lambda latents: seen.append(latents) or decode(latents)
    labels = torch.tensor([2, 0, 1, 1])
    quotients(model, PathLength("z", "full"), 4, labels=labels)
    assert torch.cat(seen)[:, 4:].equal(torch.eye(3)[labels].repeat(2, 1))


def test_autocast_and_lower_precision_are_kept_out(monkeypatch):
    seen = []
    model = ToyStyles()
    decode = model.decode_styles

    def watched(styles):
        seen.append(
            (torch.is_autocast_enabled("cpu"), torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)
        )
        return decode(styles)

    model.decode_styles = watched
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu"):
            quotients(model, PathLength("w", "full"), 2)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert seen == [(False, "highest", False)]
    with pytest.raises(InputError, match="needs float32 weights, not torch\\.bfloat16"):
        PathLength("z", "end").check(DCGAN((1, 16, 16), latent_dim=4, width=4).bfloat16())


# ---- as a metric


def test_a_card_names_protocol_extractor_truncation_and_spread():
    train, _ = digit_sets(16)
    model = ToyStyles()
    model.truncation, model.truncated_layers = 0.5, 2
    options = {"num_samples": 40, "band_draws": 0}
    names = [metric.name for metric in PATH_LENGTHS]
    card = score_samples(model, train, Floats(), metrics=("fid", *names), **options)
    assert [*card.scores][1:] == [key for name in names for key in (name, f"{name}_sem")]
    assert card.protocol["ppl_wend"] == "ppl_wend40@linear"
    assert card.protocol["fid"] == "fid40_train@linear"
    assert (card.truncation, card.truncated_layers) == (0.5, 2)
    assert any("squared distance of linear's features" in note for note in card.notes)
    assert json.loads(card.to_json())["scores"] == card.scores
    assert "truncation 0.5 of the first 2 layers" in str(card.table().caption)
    again = score_samples(model, train, Floats(), metrics=("ppl_wend",), batch_size=7, **options)
    assert again.scores["ppl_wend"] == pytest.approx(card.scores["ppl_wend"], rel=1e-4)
    assert score_samples(
        model, train, Floats(), metrics=("ppl_wend",), distance=SquaredError(), **options
    ).protocol == {"ppl_wend": "ppl_wend40@pixels"}


def test_models_and_extractors_that_do_not_fit_are_refused():
    train, test = digit_sets(16)
    with pytest.raises(InputError, match="ppl_wfull is of the styles w of StyleGAN, and DCGAN has none; use ppl_zfull"):
        score_samples(DCGAN((1, 16, 16), latent_dim=4, width=4), train, Floats(), metrics=("ppl_wfull",))
    with pytest.raises(InputError, match="needs a model that generates images from latents, and UniformNoise does not"):
        score_samples(UniformNoise((1, 16, 16)), train, Floats(), metrics=("ppl_zend",))
    with pytest.raises(InputError, match="ppl_zend is computed from a model that generates images"):
        score_images(test, train, Floats(), metrics=("ppl_zend",))
    with pytest.raises(InputError, match="linear computes features of images with 256 levels only"):
        score_samples(ToyStyles(), train, Linear(), metrics=("ppl_zend",))


def test_values_that_are_not_finite_are_flagged():
    train, _ = digit_sets(16)
    model = ToyStyles()
    model.images[0, 0, 0] = torch.nan
    card = score_samples(model, train, Floats(), metrics=("ppl_zfull",), num_samples=10)
    assert "not finite" in card.flags["ppl_zfull"]
    json.loads(card.to_json())


# ---- distances


def test_extractors_of_floats_agree_with_those_of_levels():
    torch.manual_seed(0)
    images = digit_sets(16)[1].images[:8]
    arrays = {name: value.numpy() for name, value in ClassifierNetwork(1, 10).state_dict().items()}
    facts = {"accuracy": np.asarray(0.5), "image_shape": np.asarray((1, 16, 16))}
    extractor = Classifier(arrays | facts)
    found = extractor.float_vectors(to_float(images))
    torch.testing.assert_close(found, extractor(images).vectors)
    distance = FeatureDistance(extractor)
    assert distance(to_float(images), to_float(images)).eq(0).all()
    x, y = (nn.functional.normalize(part, dim=1).double() for part in found.chunk(2))
    floats = to_float(images)
    torch.testing.assert_close(distance(floats[:4], floats[4:]), (x - y).square().sum(1), rtol=1e-4, atol=1e-6)
    stacked = StackedClassifier(extractor, 2)
    pairs = images.reshape(4, 2, 16, 16)
    torch.testing.assert_close(stacked.float_vectors(to_float(pairs)), stacked(pairs).vectors)
    nudged = floats + EPSILON * torch.randn(floats.shape, generator=torch.Generator().manual_seed(0))
    assert (distance(floats, nudged) > 0).all()


def test_efficientnet_takes_floats():
    pytest.importorskip("efficientnet_lite_pytorch")
    extractor = make_extractor("efficientnet_lite0")
    images = torch.randint(0, 256, (2, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        extractor.float_vectors(to_float(images)), extractor(images).vectors, rtol=1e-3, atol=1e-4
    )


@pytest.fixture(scope="module")
def lpips(tmp_path_factory) -> Lpips:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("lpips") / "alexnet.pth"
    torch.save(alexnet().state_dict(), path)
    return Lpips(path)


def test_lpips_of_floats_is_that_of_levels_and_large_images_are_averaged_down(lpips):
    images, others = torch.randint(0, 256, (2, 2, 3, 64, 64), dtype=torch.uint8)
    distance = LpipsDistance(lpips)
    torch.testing.assert_close(distance(to_float(images), to_float(others)), lpips(images, others))
    large = [to_float(part).repeat_interleave(8, 2).repeat_interleave(8, 3) for part in (images, others)]
    halved = [part.repeat_interleave(4, 2).repeat_interleave(4, 3) for part in (images, others)]
    torch.testing.assert_close(distance(*large), lpips(*halved), rtol=1e-4, atol=1e-6)
    with pytest.raises(InputError, match="lpips needs images of 31x31 or more, not 16x16"):
        distance.check((1, 16, 16))
