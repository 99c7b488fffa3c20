"""Scores of translations, against scikit-image, lpips and closed forms; baselines, draws and refusals."""

import json
import math

import lpips
import numpy as np
import pytest
import torch
from rich.console import Console
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import nn
from torchmetrics.functional.image.lpips import _LPIPS
from torchvision.models import alexnet

from lightning_gen.errors import InputError
from lightning_gen.evaluation import Extractor, Features, Lpips, ScoreCard, score_images, score_translations
from lightning_gen.evaluation.lpips import MIN_SIDE
from lightning_gen.images import to_float, to_uint8
from lightning_gen.losses.image_quality import luma, mse, psnr, psnr_y, ssim, ssim_y, total_variation, variation_ratio
from lightning_gen.noise import randn
from lightning_gen.resize import bicubic_downscale, bicubic_upscale
from lightning_gen.types import PairSet
from tests.test_evaluation import Images, Linear


class Model(nn.Module):
    """A translator without weights."""

    needs_pairs, context = True, None

    def __init__(self, function, scale=1, back=None):
        super().__init__()
        self.function, self.back, self.scale = function, back, scale
        self.input_shape, self.image_shape = (3, 16, 16), (3, 16 * scale, 16 * scale)

    def translate(self, inputs, *, generator=None):
        return self.function(inputs)


class TwoWay(Model):
    def translate_back(self, images, *, generator=None):
        return self.back(images)


class Noisy(Model):
    """Adds noise of one grey value per image."""

    def translate(self, inputs, *, generator=None):
        return inputs * 0.5 + 0.1 * randn(len(inputs), 1, 1, 1, generator=generator)


class Unequal:
    """Images of unequal size, one at a time."""

    def __init__(self, name, images):
        self.name, self.key, self.labels, self.images = name, name, None, images
        self.sizes = [tuple(image.shape[2:]) for image in images]

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        (image,) = self.images[index]
        return image


class ByBrightness(Extractor):
    """Assigns the class 1 to images that are bright on average, 0 to the others."""

    name, weights_hash, resizer, width, classes, own_classes = "brightness", "0", "none", 2, 2, True
    accuracy = 0.9

    def __call__(self, images):
        mean = to_float(images).mean((1, 2, 3)).cpu()
        return Features(torch.stack([mean, mean**2], 1), torch.stack([-mean, mean], 1))


def identity(images):
    return images


def smooth_images(num, channels=3, side=32, seed=0):
    """Random images with detail at every scale."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.zeros(num, channels, side, side)
    for part in (2, 4, 8):
        noise = torch.rand(num, channels, side // part, side // part, generator=generator)
        images += nn.functional.interpolate(noise, (side, side), mode="bicubic") / 3
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


def super_resolution(num=5, scale=2, side=32, seed=0):
    targets = smooth_images(num, side=side, seed=seed)
    return PairSet(
        Images("small/test", to_uint8(bicubic_downscale(to_float(targets), scale))), Images("large/test", targets), True
    )


def equal_pairs(num=30, labels=None, paired=True, side=16):
    images = smooth_images(num, side=side)
    return PairSet(Images("a/test", images, labels), Images("b/test", images.clone(), labels), paired)


def channels_last(image):
    return image.permute(1, 2, 0).numpy()


# ---- luma, PSNR and SSIM of pairs


def test_luma_is_that_of_scikit_image():
    images = smooth_images(3)
    expected = np.stack([rgb2ycbcr(channels_last(image))[..., 0] for image in images])
    assert np.abs(luma(images)[:, 0].numpy() - expected).max() < 1e-9
    assert (luma(to_float(images)) - luma(images)).abs().max() < 1e-4


def test_a_grey_image_has_the_luma_of_equal_red_green_and_blue():
    grey = smooth_images(2, channels=1)
    expected = 16 + 219 * grey.double() / 255
    torch.testing.assert_close(luma(grey), expected)
    torch.testing.assert_close(luma(grey.expand(-1, 3, -1, -1)), expected)


def test_psnr_of_luma_of_a_constant_offset():
    images = torch.full((1, 3, 20, 20), 100, dtype=torch.uint8)
    # one level of R, G and B is 219 / 255 levels of luma
    assert psnr_y(images, images + 1).item() == pytest.approx(20 * math.log10(255 / (219 / 255)))
    assert psnr_y(images, images).item() == 100


def test_studio_luma_scores_higher_than_full_range_luma_by_the_ratio_of_the_ranges():
    a, b = smooth_images(2), smooth_images(2, seed=1)
    weights = torch.tensor([65.481, 128.553, 24.966]).double().view(1, 3, 1, 1) / 219
    full = [(images.double() / 255 * weights).sum(1, keepdim=True) for images in (a, b)]
    difference = psnr_y(a, b) - psnr((full[0] - full[1]).square().flatten(1).mean(1))
    assert difference.tolist() == pytest.approx([20 * math.log10(255 / 219)] * 2)


@pytest.mark.parametrize("border", [0, 3])
def test_psnr_and_ssim_of_luma_are_those_of_scikit_image(border):
    a, b = smooth_images(2), smooth_images(2, seed=1)
    inner = slice(border, 32 - border)
    for i in range(2):
        x, y = (rgb2ycbcr(channels_last(images[i]))[inner, inner, 0] for images in (a, b))
        assert psnr_y(a, b, border)[i].item() == pytest.approx(peak_signal_noise_ratio(x, y, data_range=255))
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
        _, full = structural_similarity(x, y, full=True, **options)
        assert ssim_y(a, b, border)[i].item() == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-9)


def test_ssim_of_rgb_images_is_that_of_scikit_image_inside_the_image():
    a, b = smooth_images(2), smooth_images(2, seed=1)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    _, full = structural_similarity(channels_last(a[0]), channels_last(b[0]), full=True, channel_axis=2, **options)
    assert ssim(a, b, "valid")[0].item() == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-9)


# ---- translations


def test_the_identity_has_the_highest_psnr_and_equals_the_copied_input():
    pairs = equal_pairs()
    card = score_translations(Model(identity), pairs, Linear(), batch_size=7)
    assert card.scores["psnr"] == 100
    assert card.scores["ssim"] == pytest.approx(1)
    assert card.scores["fid"] == pytest.approx(0, abs=1e-6)
    assert card.baselines == {"copy": pytest.approx(card.scores, abs=1e-9)}
    assert card.subject == "translations"
    assert card.protocol["fid"] == "tfid30_test@linear"
    assert card.protocol["psnr"] == "tpsnr30_test"
    assert "psnr_y" not in card.scores
    assert "consistency" not in card.scores


def test_psnr_is_the_mean_of_the_images_psnr_not_that_of_the_mean_error():
    inputs = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    targets = inputs.clone()
    targets[0] += 1
    targets[1] += 100
    pairs = PairSet(Images("a/test", inputs), Images("b/test", targets), True)
    card = score_translations(Model(identity), pairs, None, metrics=())
    each = [20 * math.log10(255), 20 * math.log10(2.55)]
    assert card.scores["psnr"] == pytest.approx(sum(each) / 2)
    assert card.scores["psnr_sem"] == pytest.approx(np.std(each, ddof=1) / math.sqrt(2))
    assert card.scores["psnr"] - psnr(mse(inputs, targets).item()) > 10


def test_bicubic_enlargement_is_the_baseline_of_super_resolution():
    pairs = super_resolution()
    card = score_translations(Model(lambda x: -bicubic_upscale(x, 2), scale=2), pairs, None, metrics=())
    large = to_uint8(bicubic_upscale(to_float(pairs.inputs.images), 2))
    luminance = [[rgb2ycbcr(channels_last(image))[2:-2, 2:-2, 0] for image in x] for x in (large, pairs.images.images)]
    expected = np.mean([peak_signal_noise_ratio(x, y, data_range=255) for x, y in zip(*luminance, strict=True)])
    assert card.baselines["bicubic"]["psnr_y"] == pytest.approx(expected)
    assert card.scores["psnr_y"] < card.baselines["bicubic"]["psnr_y"] - 5
    assert {"psnr", "ssim", "psnr_y", "ssim_y", "consistency"} <= set(card.scores) == set(card.baselines["bicubic"])
    assert any("border of 2" in note and "16 + 219 g" in note for note in card.notes)
    assert "scale 2" in card.inputs


def test_consistency_is_the_error_of_the_reduced_translation():
    pairs = super_resolution()
    lighter = Model(lambda x: bicubic_upscale((x * 0.5).clamp(-1, 1), 2) + 0.4, scale=2)
    card = score_translations(lighter, pairs, None, metrics=())
    inputs = to_float(pairs.inputs.images).double()
    again = bicubic_downscale(to_float(to_uint8(lighter.translate(inputs.float()))).double(), 2)
    assert card.scores["consistency"] == pytest.approx(((again - inputs) / 2).square().mean().item())
    assert card.baselines["bicubic"]["consistency"] < 1e-3 < card.scores["consistency"]


def test_label_kept_is_the_share_of_translations_of_the_class_of_the_input():
    images = torch.cat([torch.full((30, 3, 16, 16), 20), torch.full((10, 3, 16, 16), 230)]).to(torch.uint8)
    labels = np.repeat([0, 1], [30, 10])
    pairs = PairSet(Images("a/test", images, labels), Images("b/test", 255 - images), False)
    card = score_translations(Model(torch.neg), pairs, ByBrightness())
    assert card.scores["label_kept"] == 0
    assert card.baselines["copy"]["label_kept"] == 1
    assert card.protocol["label_kept"] == "tlabel_kept40_test@brightness"
    assert card.extractor_accuracy == 0.9
    assert "psnr" not in card.scores
    to_white = score_translations(Model(lambda x: x * 0 + 1), pairs, ByBrightness())
    assert to_white.scores["label_kept"] == 0.25
    foreign = ByBrightness()
    foreign.own_classes = False
    assert "label_kept" not in score_translations(Model(torch.neg), pairs, foreign).scores


def test_the_way_back_translates_the_targets():
    images = smooth_images(30, side=16)
    pairs = PairSet(Images("dark/test", images // 2), Images("light/test", images), True)
    model = TwoWay(lambda x: x * 2 + 1, back=lambda x: to_float(to_uint8(x) // 2))
    card = score_translations(model, pairs, Linear(), back=True)
    assert card.scores["psnr"] == 100
    assert card.reference == "dark/test"
    assert card.protocol["fid"] == "bfid30_test@linear"
    with pytest.raises(InputError, match="one direction"):
        score_translations(Model(identity), pairs, Linear(), back=True)


def test_grey_and_rgb_images_are_converted_for_the_baseline():
    images = smooth_images(4, side=16)
    grey = smooth_images(4, channels=1, side=16)
    pairs = PairSet(Images("grey/test", grey), Images("rgb/test", images), True)
    card = score_translations(Model(lambda x: x.expand(-1, 3, -1, -1)), pairs, None, metrics=())
    assert card.baselines["copy"] == pytest.approx(card.scores)
    to_grey = PairSet(pairs.images, pairs.inputs, True)
    luminance = Model(lambda x: (x * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True))
    card = score_translations(luminance, to_grey, None, metrics=())
    assert card.baselines["copy"] == pytest.approx(card.scores)


def test_scores_do_not_depend_on_the_batch_size_and_differ_between_draws():
    pairs = equal_pairs(23)
    cards = [score_translations(Noisy(None), pairs, Linear(), batch_size=size, seed=3) for size in (23, 5, 1)]
    assert all(card.scores == pytest.approx(cards[0].scores, rel=1e-6) for card in cards)
    draws = [score_translations(Noisy(None), pairs, Linear(), seed=seed, with_baseline=seed == 3) for seed in (3, 4)]
    mean = ScoreCard.mean_of(draws)
    assert draws[0].scores["psnr"] != draws[1].scores["psnr"]
    assert mean.scores["psnr"] == pytest.approx((draws[0].scores["psnr"] + draws[1].scores["psnr"]) / 2)
    assert mean.spread["psnr"] > 0
    assert set(mean.baselines) == {"copy"}


def test_the_card_has_a_seed_only_if_the_model_draws_noise():
    pairs = equal_pairs(4)
    assert score_translations(Noisy(None), pairs, None, metrics=(), seed=5).seed == 5
    assert score_translations(Model(identity), pairs, None, metrics=(), seed=5).seed is None


def test_images_of_unequal_size_are_scored_one_at_a_time():
    parts = [super_resolution(1, side=side, seed=side) for side in (32, 48)]
    pairs = PairSet(*(Unequal(f"{name}/test", [part[i].images for part in parts]) for i, name in enumerate("ab")), True)
    model = Model(lambda x: bicubic_upscale(x, 2), scale=2)
    card = score_translations(model, pairs, Linear(), metrics=())
    each = [score_translations(model, part, None, metrics=()).scores["psnr_y"] for part in parts]
    assert card.scores["psnr_y"] == pytest.approx(sum(each) / 2)
    assert card.image_shape is None
    assert card.extractor is None
    with pytest.raises(InputError, match="fid compares features of images of one size"):
        score_translations(model, pairs, Linear())


def test_translations_of_another_size_than_the_targets_are_refused():
    with pytest.raises(InputError, match="16x16 cannot be compared with a target of 32x32"):
        score_translations(Model(identity, scale=2), super_resolution(), None, metrics=())


def test_values_that_are_not_finite_are_flagged():
    card = score_translations(Model(lambda x: x / 0), equal_pairs(4), None, metrics=())
    assert "not finite" in card.flags["psnr"]


def test_weights_of_losses_are_on_the_card_and_baselines_in_its_table(tmp_path):
    model = Model(identity)
    model.hparams = {"identity_weight": 5, "cycle_weight": 10.0, "use_weight": True, "width": 4}
    card = score_translations(model, equal_pairs(), Linear(), input_kind="edges")
    assert card.loss_weights == {"identity_weight": 5, "cycle_weight": 10}
    console = Console(record=True, width=250)
    console.print(card.table())
    text = " ".join(console.export_text().split())
    missing = [
        word
        for word in ("copy", "tpsnr30_test", "identity_weight 5", "edges", "30 of 30 of a/test")
        if word not in text
    ]
    assert not missing, text
    card.save(tmp_path / "card.json")
    assert json.loads((tmp_path / "card.json").read_text())["baselines"]["copy"]["psnr"] == 100


# ---- folders of partners


def test_partners_of_two_image_sets_are_compared():
    images = smooth_images(30, side=16)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    generated, reference = Images("generated/all", images[order]), Images("reference/all", images)
    card = score_images(generated, reference, Linear(), partners=order.tolist(), border=2, batch_size=7)
    assert card.scores["psnr"] == card.scores["psnr_y"] == 100
    assert card.protocol["psnr_y"] == "psnr_y30_all"
    wrong = score_images(generated, reference, None, metrics=(), partners=range(30))
    assert wrong.scores["psnr"] < 60
    assert "psnr_y" not in wrong.scores
    assert "psnr" not in score_images(generated, reference, Linear()).scores


# ---- LPIPS


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """A file of random weights of AlexNet, in the format of torchvision's."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("lpips") / "alexnet.pth"
    state = alexnet(weights=None).state_dict()
    torch.save({name: value for name, value in state.items() if name.startswith("features.")}, path)
    return path


def other_lpips(network, backbone):
    """Another implementation's network with the same weights, whose slices number AlexNet's layers as torchvision."""
    state = {name.removeprefix("features."): value for name, value in torch.load(backbone, weights_only=True).items()}
    slices = {name: value for part in range(1, 6) for name, value in network.net.state_dict().items()}
    network.net.load_state_dict({name: state[name.partition(".")[2]] for name in slices})
    return network


def test_lpips_is_that_of_lpips_and_of_torchmetrics(backbone):
    a, b = smooth_images(3, side=48), smooth_images(3, side=48, seed=1)
    found = Lpips(backbone)(a, b)
    published = other_lpips(lpips.LPIPS(pnet_rand=True, verbose=False), backbone)
    metric = other_lpips(_LPIPS(pnet_rand=True), backbone)
    with torch.no_grad():
        for network in (published, metric):
            torch.testing.assert_close(found.float(), network(to_float(a), to_float(b)).flatten(), rtol=1e-4, atol=1e-7)
    assert found.min() > 0
    assert Lpips(backbone)(a, a).tolist() == [0, 0, 0]


def test_lpips_of_translations(backbone):
    pairs = super_resolution(3)
    network = Lpips(backbone)
    card = score_translations(
        Model(lambda x: bicubic_upscale(x, 2), scale=2), pairs, None, metrics=("lpips",), lpips=network
    )
    large = to_uint8(bicubic_upscale(to_float(pairs.inputs.images), 2))
    assert card.scores["lpips"] == pytest.approx(network(large, pairs.images.images).mean().item())
    assert card.protocol["lpips"] == "tlpips3_test"
    assert any(network.weights_hash in note for note in card.notes)


def test_lpips_is_refused_without_weights_pairs_or_pixels(backbone, tmp_path):
    pairs = equal_pairs(4)
    with pytest.raises(InputError, match="lpips needs a file of AlexNet's weights"):
        score_translations(Model(identity), pairs, None, metrics=("lpips",))
    with pytest.raises(InputError, match="lpips compares pairs"):
        score_translations(Model(identity), equal_pairs(4, paired=False), None, metrics=("lpips",))
    with pytest.raises(InputError, match=f"{MIN_SIDE}x{MIN_SIDE} or more, not 16x16"):
        score_translations(Model(identity), pairs, None, metrics=("lpips",), lpips=Lpips(backbone))
    Lpips(backbone)(*[smooth_images(1, side=MIN_SIDE + 1)[..., :MIN_SIDE, :MIN_SIDE]] * 2)
    with pytest.raises(InputError, match="lpips_weights"):
        Lpips(None)
    with pytest.raises(InputError, match="does not exist"):
        Lpips(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(InputError, match="cannot be read as weights"):
        Lpips(tmp_path / "text.pth")
    for name, state in {
        "other.pth": {"weight": torch.zeros(1)},
        "part.pth": {"features.0.bias": torch.zeros(1)},
    }.items():
        torch.save(state, tmp_path / name)
        with pytest.raises(InputError, match="does not contain AlexNet's weights"):
            Lpips(tmp_path / name)


def test_total_variation_is_that_of_hand_and_its_ratio_tells_blur_from_noise():
    image = torch.tensor([[[[0, 255], [0, 51]]]], dtype=torch.uint8)
    assert total_variation(image).item() == pytest.approx((0 + 204) / 2 / 255 + (255 + 51) / 2 / 255)
    sharp = torch.randint(0, 256, (2, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    blurred = torch.nn.functional.avg_pool2d(sharp.float(), 3, 1, 1).round().to(torch.uint8)
    assert (variation_ratio(blurred, sharp) < 0.5).all()
    assert variation_ratio(sharp, sharp).tolist() == pytest.approx([1, 1])
    assert total_variation(to_float(sharp)).tolist() == pytest.approx(total_variation(sharp).tolist(), rel=1e-6)
    flat = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    assert variation_ratio(flat, flat).item() == 0
