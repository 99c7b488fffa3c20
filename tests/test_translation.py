"""Pix2Pix, CycleGAN and CUT: networks, losses, replay pool and inference against closed forms."""

import math

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from scipy import ndimage, stats
from torch import nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree
from torch.utils.data import DataLoader

from lightning_gen.errors import InputError
from lightning_gen.losses.patch_nce import patch_nce
from lightning_gen.models.translation.cut import CUT
from lightning_gen.models.translation.cyclegan import CycleGAN
from lightning_gen.models.translation.pix2pix import Pix2Pix
from lightning_gen.networks.patch import PatchDiscriminator, default_patch_layers
from lightning_gen.networks.patch_features import PatchHeads, draw_positions
from lightning_gen.networks.replay import ReplayPool
from lightning_gen.networks.resampling import BlurDownsample, make_upsampling
from lightning_gen.networks.translators import ResNetTranslator, TwoWayTranslator, UNetTranslator
from lightning_gen.noise import image_generators
from lightning_gen.types import Batch
from tests.helpers import loader, trainer

GREY = (1, 16, 16)
SHAPES = {"image_shape": GREY, "input_shape": GREY}
U_NET = {"width": 4, "discriminator_width": 4, **SHAPES}
RESNET = {"width": 4, "blocks": 1, "downsamplings": 1, "discriminator_width": 4, **SHAPES}
HEADS = {"patch_features": 8, "num_patches": 16}


def parameters_of(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def a_batch(size: int = 4) -> Batch:
    return next(iter(loader(size=size, scale=1)))


# ---- networks


def test_the_u_net_is_the_published_one():
    with torch.device("meta"):
        network = UNetTranslator(3, (3, 256, 256), norm="batch", dropout=0.5, upsampling="transposed")
    biases_without_norm = 64 + 512  # of the encoder's first and last layer, which the published code leaves out
    assert parameters_of(network) == 54_413_955 + biases_without_norm
    assert len(network.encoder) == len(network.decoder) == 8
    assert [any(isinstance(m, nn.Dropout) for m in layer) for layer in network.decoder] == [True] * 3 + [False] * 5


def test_the_resnet_is_the_published_one():
    with torch.device("meta"):
        network = ResNetTranslator(3, (3, 256, 256), upsampling="transposed")
    biases_before_norms = 64 + 128 + 256 + 9 * 2 * 256 + 128 + 64
    assert parameters_of(network) == 11_378_179 - biases_before_norms
    assert len(network.blocks) == 9


def test_the_patch_discriminator_is_the_published_one():
    with torch.device("meta"):
        network = PatchDiscriminator((6, 256, 256), norm="batch")
    assert parameters_of(network) == 2_768_705
    assert network.to_empty(device="cpu")(torch.zeros(2, 6, 256, 256)).shape == (2, 1, 30, 30)


@pytest.mark.parametrize(("layers", "side"), [(0, 1), (1, 16), (2, 34), (3, 70), (4, 142)])
def test_a_patch_has_the_papers_side(layers, side):
    torch.manual_seed(0)
    images = torch.zeros(1, 1, 192, 192, dtype=torch.float64).normal_().requires_grad_()
    network = PatchDiscriminator((1, 192, 192), 2, layers, norm="none").double()
    logits = network(images)
    middle = logits.shape[-1] // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], images)
    rows, columns = gradient[0, 0].nonzero(as_tuple=True)
    assert rows.max() - rows.min() + 1 == columns.max() - columns.min() + 1 == side
    assert len(rows) == side**2


@pytest.mark.parametrize(("side", "layers"), [(16, 1), (28, 1), (32, 2), (64, 3), (256, 3)])
def test_patches_follow_the_images_size(side, layers):
    assert default_patch_layers((3, side, side)) == layers


@pytest.mark.parametrize("halvings", [None, 3])
def test_a_pixel_of_the_u_net_sees_the_whole_image_only_with_all_halvings(halvings):
    torch.manual_seed(0)
    network = UNetTranslator(1, (1, 32, 32), 8, halvings, norm="none").double()
    images = torch.randn(1, 1, 32, 32, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(images)[0, 0, 3, 5], images)
    assert gradient.all() == (halvings is None)
    assert gradient[0, 0, 3, 5] != 0


@pytest.mark.parametrize("upsampling", ["nearest", "bilinear", "transposed"])
@pytest.mark.parametrize("norm", [nn.InstanceNorm2d, nn.BatchNorm2d])
def test_every_decoder_layer_but_the_last_has_its_norm(upsampling, norm):
    kind = "instance" if norm is nn.InstanceNorm2d else "batch"
    network = UNetTranslator(1, (1, 32, 32), 2, norm=kind, upsampling=upsampling)
    has_norm = [[isinstance(m, norm) for m in layer.modules()].count(True) for layer in network.decoder]
    assert has_norm == [1] * (len(network.decoder) - 1) + [0]
    has_norm = [[isinstance(m, norm) for m in layer.modules()].count(True) for layer in network.encoder]
    assert has_norm == [0] + [1] * (len(network.encoder) - 2) + [0]


def test_no_bias_precedes_a_norm_that_would_cancel_it():
    for network in (UNetTranslator(1, (1, 32, 32), 2), ResNetTranslator(1, (1, 32, 32), 2, blocks=2)):
        gradients = torch.autograd.grad(network(torch.randn(2, 1, 32, 32)).square().sum(), [*network.parameters()])
        for (name, _), gradient in zip(network.named_parameters(), gradients, strict=True):
            assert gradient.abs().max() > 1e-6 * gradients[-1].abs().max(), name


@pytest.mark.parametrize(("height", "width"), [(16, 16), (21, 35), (7, 64)])
def test_translators_take_any_size_and_equal_channels_are_not_needed(height, width):
    for network in (
        UNetTranslator(3, (1, 16, 16), 2),
        ResNetTranslator(3, (1, 16, 16), 2, 1),
        ResNetTranslator(3, (1, 16, 16), 2, 1, antialias=True, upsampling="bilinear", initialization="xavier"),
    ):
        assert network(torch.randn(2, 3, height, width)).shape == (2, 1, height, width)


def test_blurred_downsampling_is_a_filter_at_every_second_pixel():
    maps = torch.randn(2, 3, 9, 6, dtype=torch.float64)
    filtered = maps.numpy()
    for axis in (2, 3):
        filtered = ndimage.convolve1d(filtered, [0.25, 0.5, 0.25], axis=axis, mode="mirror")
    torch.testing.assert_close(BlurDownsample().double()(maps), torch.from_numpy(filtered[:, :, ::2, ::2].copy()))


def test_bilinear_upsampling_filters_the_zero_stuffed_maps():
    maps = torch.randn(1, 1, 8, 8)
    layer = make_upsampling("bilinear", 1, 1)
    stuffed = np.zeros((16, 16))
    stuffed[::2, ::2] = maps[0, 0]
    for axis in (0, 1):
        stuffed = ndimage.convolve1d(stuffed, np.array([1, 3, 3, 1]) / 4, axis=axis, mode="constant", origin=-1)
    interior = slice(4, 12)
    np.testing.assert_allclose(layer[0](maps)[0, 0, interior, interior], stuffed[interior, interior], atol=1e-6)


def test_features_have_the_stated_channels_and_start_with_the_image():
    network = ResNetTranslator(3, (3, 32, 32), 4, blocks=6)
    images = torch.randn(2, 3, 32, 32)
    features = network.features(images)
    assert [maps.shape[1] for maps in features] == network.feature_channels == [3, 8, 16, 16, 16]
    assert [maps.shape[2] for maps in features] == [32, 16, 8, 8, 8]
    assert torch.equal(features[0], images)


# ---- replay pool


def ages_of_returned(size: int, num: int) -> torch.Tensor:
    torch.manual_seed(0)
    pool = ReplayPool(size, (1, 1, 1))
    numbers = torch.arange(num, dtype=torch.float32).view(-1, 1, 1, 1)
    assert torch.equal(pool(numbers[:size]), numbers[:size])
    returned = torch.cat([pool(part) for part in numbers[size:].split(7)])
    return (numbers[size:] - returned).flatten().long()


def test_half_of_what_the_pool_returns_is_old_and_its_age_is_geometric():
    size = 10
    ages = ages_of_returned(size, 8_000)[500:]
    old = ages[ages > 0].numpy()
    assert stats.binomtest(len(old), len(ages), 0.5).pvalue > 1e-3
    law = stats.geom(1 / (2 * size))
    edges = law.ppf(np.linspace(0, 1, 11)[1:-1]).astype(int)
    probabilities = np.diff([0, *law.cdf(edges), 1])
    counts = np.bincount(np.searchsorted(edges, old), minlength=10)
    assert stats.chisquare(counts, probabilities * len(old)).pvalue > 1e-3
    assert old.mean() == pytest.approx(2 * size, rel=0.06)


def test_a_pool_holds_what_it_did_not_return():
    torch.manual_seed(1)
    pool = ReplayPool(5, (1, 1, 1))
    numbers = torch.arange(100.0).view(-1, 1, 1, 1)
    returned = torch.cat([pool(part) for part in numbers.split(8)]).flatten()
    # a number that was stored when the pool filled up was returned at once, too
    assert pool.images.flatten().unique().numel() == 5
    assert set(returned.tolist()) | set(pool.images.flatten().tolist()) == set(numbers.flatten().tolist())


def test_a_pool_resumes_exactly():
    pools = [ReplayPool(4, (1, 2, 2)) for _ in range(2)]
    torch.manual_seed(0)
    for _ in range(3):
        pools[0](torch.randn(3, 1, 2, 2))
    pools[1].load_state_dict(pools[0].state_dict())
    images = torch.randn(8, 1, 2, 2)
    torch.manual_seed(5)
    first = pools[0](images)
    torch.manual_seed(5)
    assert torch.equal(pools[1](images), first)


def test_a_pool_of_size_0_returns_every_image_and_has_no_state():
    pool = ReplayPool(0, GREY)
    images = torch.randn(3, *GREY)
    assert torch.equal(pool(images), images)
    assert not pool.state_dict()


def test_each_rank_keeps_a_pool_of_its_own():
    model = CycleGAN(**{**RESNET, "norm": "batch"})
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        broadcast = {id(buffer) for buffer in nn.parallel.DistributedDataParallel(model).modules_buffers}
    finally:
        torch.distributed.destroy_process_group()
    pools = {id(buffer) for pool in (model.image_pool, model.input_pool) for buffer in pool.buffers()}
    assert len(pools) == 4
    assert not broadcast & pools
    assert broadcast | pools == {id(buffer) for buffer in model.buffers()}


# ---- losses


@pytest.mark.parametrize(("num", "dims"), [(7, 3), (16, 16)])
def test_patch_nce_is_the_cross_entropy_of_the_positions(num, dims):
    query, key = (F.normalize(torch.randn(2, num, dims), dim=2).requires_grad_() for _ in range(2))
    loss = patch_nce(query, key, 0.07)
    logits = torch.einsum("bsc,brc->bsr", query, key) / 0.07
    torch.testing.assert_close(loss, F.cross_entropy(logits.flatten(0, 1), torch.arange(num).repeat(2)))
    loss.backward()
    assert query.grad is not None
    assert key.grad is None


def test_patch_nce_of_equal_and_of_orthonormal_features():
    equal = F.normalize(torch.ones(3, 11, 4), dim=2)
    assert patch_nce(equal, equal).item() == pytest.approx(math.log(11))
    orthonormal = torch.eye(11)[None]
    assert patch_nce(orthonormal, orthonormal, 0.5).item() == pytest.approx(math.log(1 + 10 * math.exp(-2)))


def test_patch_nce_is_in_float32_under_autocast():
    query, key = (F.normalize(torch.randn(1, 32, 8), dim=2) for _ in range(2))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(patch_nce(query, key), patch_nce(query.float(), key.float()))
    assert patch_nce(query.bfloat16(), key.bfloat16()).dtype == torch.float32


def test_heads_return_unit_vectors_of_distinct_positions():
    maps = [torch.randn(2, 3, 8, 8), torch.randn(2, 5, 2, 3)]
    positions = draw_positions(maps, 16)
    assert [len(chosen.unique()) for chosen in positions] == [16, 6]
    heads = PatchHeads([3, 5], 7)
    for head, one, chosen, vectors in zip(heads.heads, maps, positions, heads(maps, positions), strict=True):
        assert vectors.shape == (2, len(chosen), 7)
        torch.testing.assert_close(vectors.norm(dim=2), torch.ones(2, len(chosen)))
        pixel = one[1, :, chosen[2] // one.shape[3], chosen[2] % one.shape[3]]
        torch.testing.assert_close(vectors[1, 2], F.normalize(head(pixel), dim=0))


def test_features_of_flipped_translations_are_flipped_back():
    model = CUT(mode="fastcut", **RESNET, **HEADS)
    model.network.features = lambda images: [images]  # commutes with flips
    model.heads = PatchHeads([1], 8)
    inputs, translations = torch.randn(3, *GREY), torch.randn(3, *GREY)
    flipped = torch.tensor([True, False, True])
    torch.manual_seed(0)
    expected = model.contrast(inputs, translations, torch.zeros(3, dtype=torch.bool))
    translations[flipped] = translations[flipped].flip(3)
    torch.manual_seed(0)
    torch.testing.assert_close(model.contrast(inputs, translations, flipped), expected)
    torch.manual_seed(0)
    assert not torch.allclose(model.contrast(inputs, translations, torch.zeros_like(flipped)), expected)


@pytest.mark.parametrize(("mode", "weight"), [("cut", 1.0), ("fastcut", 10.0)])
def test_the_modes_of_cut_weight_and_flip(mode, weight):
    torch.manual_seed(0)
    model = CUT(mode=mode, **RESNET, **HEADS)
    batch = a_batch(16)
    fakes = model.generate(batch)
    loss = model.generator_loss(batch, fakes)
    torch.testing.assert_close(loss.total, loss.terms["generator"] + weight * loss.terms["nce"])
    assert fakes["flipped"].any() == (mode == "fastcut")
    assert not fakes["flipped"].all()
    unflipped = torch.where(fakes["flipped"][:, None, None, None], batch.inputs.flip(3), batch.inputs)
    torch.testing.assert_close(fakes["images"], model.network(unflipped))


def identity_cyclegan(**options: float) -> CycleGAN:
    torch.manual_seed(0)
    model = CycleGAN(**RESNET, **options)
    model.set_network(TwoWayTranslator(nn.Identity(), nn.Identity()))
    return model


def test_identity_networks_have_no_cycle_and_no_identity_loss():
    model, batch = identity_cyclegan(), a_batch()
    loss = model.generator_loss(batch, model.generate(batch))
    assert loss.terms["cycle"] == loss.terms["identity"] == 0
    assert loss.total == loss.terms["generator"] > 0


def test_a_weight_scales_its_loss_alone():
    torch.manual_seed(0)
    models = [CycleGAN(**RESNET, cycle_weight=c, identity_weight=i) for c, i in ((10, 5), (30, 5), (10, 0.5))]
    for model in models[1:]:
        model.load_state_dict(models[0].state_dict())
    batch = a_batch()
    plain, more_cycle, less_identity = (model.generator_loss(batch, model.generate(batch)) for model in models)
    assert plain.terms == more_cycle.terms == less_identity.terms
    cycle, identity = plain.terms["cycle"], plain.terms["identity"]
    torch.testing.assert_close(plain.total, plain.terms["generator"] + 10 * cycle + 5 * identity)
    torch.testing.assert_close(more_cycle.total - plain.total, 20 * cycle)
    torch.testing.assert_close(plain.total - less_identity.total, 4.5 * identity)


def test_without_identity_weight_there_is_no_identity_loss():
    model = CycleGAN(**RESNET, identity_weight=0)
    assert "identity" not in model.generator_loss(a_batch(), model.generate(a_batch())).terms


def test_losses_are_the_papers_means_over_patches():
    torch.manual_seed(0)
    model, batch = Pix2Pix(**U_NET, loss="least_squares"), a_batch()
    fakes = torch.tanh(torch.randn(4, *GREY)).requires_grad_()
    inputs = batch.inputs
    maps = model.discriminator(torch.cat([inputs, fakes], 1))
    assert maps.shape[2:] == (6, 6)
    expected = torch.stack([(maps[i, 0, r, c] - 1) ** 2 for i in range(4) for r in range(6) for c in range(6)]).mean()
    adversarial = model.generator_loss(batch, fakes).terms["generator"]
    torch.testing.assert_close(adversarial, expected)
    ours, theirs = (torch.autograd.grad(value, fakes, retain_graph=True)[0] for value in (adversarial, expected))
    torch.testing.assert_close(ours, theirs)
    real = model.discriminator(torch.cat([inputs, batch.images], 1))
    halved = ((real - 1).square().mean() + maps.square().mean()) / 2
    torch.testing.assert_close(model.discriminator_loss(batch, fakes).total, halved)


def test_the_cross_entropy_of_the_discriminator_is_halved():
    model, batch = Pix2Pix(**U_NET), a_batch()
    for parameter in model.discriminator.parameters():
        nn.init.zeros_(parameter)
    fakes = torch.zeros(4, *GREY)
    assert model.discriminator_loss(batch, fakes).total.item() == pytest.approx(math.log(2))
    assert model.generator_loss(batch, fakes).terms["generator"].item() == pytest.approx(math.log(2))


def test_a_large_weight_makes_pix2pix_a_regression():
    torch.manual_seed(0)
    model, batch = Pix2Pix(**U_NET), a_batch()
    regression = torch.autograd.grad(F.l1_loss(model.generate(batch), batch.images), [*model.network.parameters()])
    direction = torch.cat([gradient.flatten() for gradient in regression])
    cosines = []
    for model.l1_weight in (0.0, 1e6):
        loss = model.generator_loss(batch, model.generate(batch)).total
        gradient = torch.autograd.grad(loss, [*model.network.parameters()])
        cosines.append(F.cosine_similarity(torch.cat([one.flatten() for one in gradient]), direction, 0).item())
    assert cosines[0] < 0.9
    assert cosines[1] == pytest.approx(1, abs=1e-5)


def test_the_discriminator_of_pix2pix_sees_the_inputs():
    torch.manual_seed(0)
    model, batch = Pix2Pix(**U_NET), a_batch()
    with torch.no_grad():
        fakes = model.generate(batch)
    other = batch._replace(inputs=batch.inputs.roll(1, 0))
    for loss in (model.discriminator_loss, model.generator_loss):
        name = "discriminator" if loss == model.discriminator_loss else "generator"
        assert loss(batch, fakes).terms[name] != loss(other, fakes).terms[name]


@pytest.mark.parametrize("model", [CycleGAN(**RESNET), CUT(**RESNET, **HEADS)], ids=["CycleGAN", "CUT"])
def test_unpaired_models_ignore_the_order_of_the_images_in_the_adversarial_losses(model):
    batch = a_batch()
    model.image_pool = model.input_pool = nn.Identity()
    fakes = pytree.tree_map(torch.detach, model.generate(batch))
    other = batch._replace(images=batch.images.roll(1, 0))
    torch.testing.assert_close(model.discriminator_loss(batch, fakes), model.discriminator_loss(other, fakes))


# ---- training and inference


class LearningRates(pl.Callback):
    def __init__(self) -> None:
        self.rates: list[list[float]] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.rates.append([optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers])

    def on_train_end(self, trainer, pl_module):
        self.rates.append([optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers])


def test_the_learning_rate_is_constant_and_then_linear():
    recorder = LearningRates()
    model = CycleGAN(**RESNET, lr_schedule="linear", decay_start=0.5, generator_lr=1.0, discriminator_lr=2.0)
    trainer(max_steps=8, max_epochs=-1, callbacks=[recorder]).fit(model, loader(num=8, size=1, scale=1))
    assert [recorder.rates[i] for i in (0, 2, 4, 6, 8)] == [[1, 2], [1, 2], [1, 2], [0.5, 1], [0, 0]]


def rectangles(seed: int) -> Batch:
    """Pairs of the outline of a filled rectangle and the rectangle, white on black."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.full((8, *GREY), -1.0)
    for image in images:
        top, left, height, width = torch.randint(2, 8, (4,), generator=generator).tolist()
        image[:, top : top + height, left : left + width] = 1
    inner = -F.max_pool2d(-images, 3, 1, 1)
    return Batch(images, inputs=images - inner - 1)


def test_a_short_training_of_pix2pix_does_not_collapse_to_a_constant():
    pl.seed_everything(0)
    model = Pix2Pix(**{**U_NET, "width": 8}, generator_lr=1e-3)
    trainer(max_epochs=1).fit(model, DataLoader([rectangles(i) for i in range(120)], batch_size=None))
    batch = rectangles(1000)
    translations = model.translate(batch.inputs)
    assert translations.std(dim=0).max() > 0.5
    error, black = F.l1_loss(translations, batch.images), F.l1_loss(torch.full_like(translations, -1), batch.images)
    assert error < 0.75 * black


def dropout_model(**options) -> Pix2Pix:
    torch.manual_seed(0)
    paper = {"norm": "batch", "discriminator_norm": "batch", "test_mode": "train", **options}
    model = Pix2Pix(**U_NET, **paper)
    for module in model.network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
    return model


def test_in_train_mode_batch_norm_takes_the_statistics_of_each_image():
    model, inputs = dropout_model(), a_batch().inputs
    translations = model.translate(inputs)
    model.network.train()
    expected = torch.cat([model.network(one) for one in inputs.split(1)])
    torch.testing.assert_close(translations, expected)
    model.test_mode = "eval"
    assert not torch.allclose(model.translate(inputs), expected, atol=1e-4)


def test_dropout_at_test_time_draws_from_each_images_generator():
    model, inputs = dropout_model(dropout=0.5), a_batch().inputs
    inputs = inputs[:1].expand(4, -1, -1, -1)
    state = torch.get_rng_state()
    translations = model.translate(inputs, generator=image_generators(0, [0, 1, 0, 2]))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(translations[0], translations[2])
    assert len(translations.unique(dim=0)) == 3
    assert torch.equal(translations[1:2], model.translate(inputs[:1], generator=image_generators(0, [1])))
    assert not torch.equal(model.translate(inputs), model.translate(inputs))
    model.test_mode = "eval"
    assert len(model.translate(inputs).unique(dim=0)) == 1


def test_cyclegan_translates_both_ways_and_averages_both_generators():
    model = CycleGAN(**{**RESNET, "image_shape": (3, 16, 16)}, identity_weight=0, ema_half_life=10.0)
    inputs, images = torch.randn(2, 1, 16, 16), torch.randn(2, 3, 16, 16)
    assert model.translate(inputs).shape == images.shape
    assert model.translate_back(images).shape == inputs.shape
    for use in (True, False):
        model.use_ema = use
        nn.init.zeros_(model.ema.module.backward_generator.up[-2].weight)
        assert model.translate_back(images).any() != use


# ---- errors


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (Pix2Pix, {**U_NET, "input_shape": (1, 8, 8)}, "2 times as large as the inputs"),
        (Pix2Pix, {**U_NET, "halvings": 5}, "model.halvings is 5, and images of 16 pixels can be halved 4 times"),
        (Pix2Pix, {**U_NET, "patch_layers": 3}, "model.patch_layers is 3 .* set it to 2 or less"),
        (Pix2Pix, {**U_NET, "dropout": 1.0}, "model.dropout"),
        (CycleGAN, {**RESNET, "input_shape": (3, 16, 16)}, "model.identity_weight is 5.0, .* set it to 0"),
        (CycleGAN, {**RESNET, "downsamplings": 4}, "model.downsamplings is 4"),
        (CycleGAN, {**RESNET, "pool_size": -1}, "model.pool_size is -1"),
        (CUT, {**RESNET, "input_shape": (3, 16, 16)}, "the inputs have 3 channels and the images 1"),
        (CUT, {**RESNET, "temperature": 0.0}, "model.temperature is 0.0"),
    ],
)
def test_bad_options_raise_one_line(model, options, message):
    with pytest.raises(InputError, match=message) as error:
        model(**options)
    assert "\n" not in str(error.value)


def test_data_without_inputs_raises_one_line():
    with pytest.raises(InputError, match=r"set data\.inputs"):
        Pix2Pix(**U_NET).generate(a_batch()._replace(inputs=None))
