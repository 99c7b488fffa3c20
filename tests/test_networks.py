"""Tests of networks against the tables of the papers, closed forms, explicit loops and NumPy."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from lightning_gen.errors import InputError
from lightning_gen.networks.augment import color, cutout, diff_augment, translation
from lightning_gen.networks.minibatch import MinibatchDiscrimination, MinibatchStddev
from lightning_gen.networks.norms import ConditionalBatchNorm, apply_spectral_norm
from lightning_gen.networks.resnet import DiscriminatorBlock, GeneratorBlock, ResNetBody, ResNetGenerator

SIDES = (16, 32, 64, 128)
POLICY = ("color", "translation", "cutout")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def random_class_weights(batch: int, classes: int) -> torch.Tensor:
    return torch.randn(batch, classes).softmax(1)


def bf16_autocast() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16)


# residual networks


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("channels", "num_classes", "batch"), [(1, 0, 3), (3, 5, 2), (2, 1, 1)])
def test_residual_networks_map_latents_to_images_and_images_to_features(side, channels, num_classes, batch):
    generator = ResNetGenerator(7, (channels, side, side), width=2, num_classes=num_classes)
    body = ResNetBody((channels, side, side), width=2)
    images = generator(torch.cat([torch.randn(batch, 7), random_class_weights(batch, num_classes)], dim=1))
    assert images.shape == (batch, channels, side, side)
    features = body(images)
    assert features.shape == (batch, body.features)
    assert (features >= 0).all()
    with bf16_autocast():
        assert body(images).isfinite().all()


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 64), (3, 8, 8), (3, 256, 256)])
@pytest.mark.parametrize("make", [lambda shape: ResNetGenerator(4, shape, 2), lambda shape: ResNetBody(shape, 2)])
def test_unsupported_image_sizes_are_rejected(shape, make):
    with pytest.raises(InputError, match=f"not {shape[1]} x {shape[2]}; set data.image_size"):
        make(shape)


def block_output_shapes(network: nn.Module, inputs: torch.Tensor) -> list[tuple[int, int]]:
    """The number of channels and the side of the output of each block."""
    shapes: list[tuple[int, int]] = []
    for block in network.blocks:
        block.register_forward_hook(lambda _, __, maps: shapes.append((maps.shape[1], maps.shape[2])))
    network(inputs)
    return shapes


@pytest.mark.parametrize(
    ("side", "width", "first", "blocks"),
    [
        (16, 256, 256, [(256, 8), (256, 16)]),
        (32, 256, 256, [(256, 8), (256, 16), (256, 32)]),
        (64, 64, 1024, [(512, 8), (256, 16), (128, 32), (64, 64)]),
        (128, 64, 1024, [(1024, 8), (512, 16), (256, 32), (128, 64), (64, 128)]),
    ],
)
def test_generator_has_the_papers_blocks(side, width, first, blocks):
    with torch.device("meta"):
        generator = ResNetGenerator(128, (3, side, side), width)
        assert generator.linear.out_features == first * 4 * 4
        assert block_output_shapes(generator, torch.randn(2, 128)) == blocks


@pytest.mark.parametrize(
    ("side", "width", "blocks"),
    [
        (16, 128, [(128, 8), (128, 4), (128, 4), (128, 4)]),
        (32, 128, [(128, 16), (128, 8), (128, 8), (128, 8)]),
        (64, 64, [(64, 32), (128, 16), (256, 8), (512, 4), (1024, 4)]),
        (128, 64, [(64, 64), (128, 32), (256, 16), (512, 8), (1024, 4), (1024, 4)]),
    ],
)
def test_discriminator_has_the_papers_blocks(side, width, blocks):
    with torch.device("meta"):
        body = ResNetBody((3, side, side), width)
        assert block_output_shapes(body, torch.randn(2, 3, side, side)) == blocks
        assert body.features == blocks[-1][0]


def test_blocks_apply_the_papers_layers_in_order():
    maps, no_classes = torch.randn(4, 3, 8, 8), torch.empty(4, 0)
    upsample, pool = nn.Upsample(scale_factor=2), nn.AvgPool2d(2)
    up = GeneratorBlock(3, 5, num_classes=0)
    residual = nn.Sequential(up.norm1, nn.ReLU(), upsample, up.conv1, up.norm2, nn.ReLU(), up.conv2)
    torch.testing.assert_close(up(maps, no_classes), residual(maps) + up.shortcut(upsample(maps)))
    down = DiscriminatorBlock(3, 5, downsample=True, batch_norm=True)
    residual = nn.Sequential(down.norm1, nn.ReLU(), down.conv1, down.norm2, nn.ReLU(), down.conv2, pool)
    torch.testing.assert_close(down(maps), residual(maps) + pool(down.shortcut(maps)))
    first = DiscriminatorBlock(3, 5, downsample=True, first=True)
    residual = nn.Sequential(first.conv1, nn.ReLU(), first.conv2, pool)
    torch.testing.assert_close(first(maps), residual(maps) + first.shortcut(pool(maps)))
    plain = DiscriminatorBlock(3, 3, downsample=False)
    residual = nn.Sequential(nn.ReLU(), plain.conv1, nn.ReLU(), plain.conv2)
    torch.testing.assert_close(plain(maps), residual(maps) + maps)
    body = ResNetBody((3, 16, 16), width=4)
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(body(images), body.blocks(images).clamp(min=0).flatten(2).sum(2))


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize("conditional_and_normalised", [False, True])
def test_gradients_reach_every_parameter_of_the_residual_networks(side, conditional_and_normalised):
    generator = ResNetGenerator(7, (3, side, side), width=4, num_classes=3 if conditional_and_normalised else 0)
    body = ResNetBody((3, side, side), width=4, batch_norm=conditional_and_normalised)
    latents = torch.cat([torch.randn(6, 7), random_class_weights(6, generator.num_classes)], dim=1)
    features = body(generator(latents))
    (features * torch.randn_like(features)).sum().backward()
    for network in (generator, body):
        # the gradient of a parameter that BatchNorm cancels consists of rounding errors
        largest = max(parameter.grad.abs().max() for parameter in network.parameters())
        for name, parameter in network.named_parameters():
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 1e-5 * largest, name


def test_the_first_block_of_the_body_has_no_batch_norm():
    def num_norms(module: nn.Module) -> int:
        return sum(isinstance(part, nn.BatchNorm2d) for part in module.modules())

    assert num_norms(ResNetBody((3, 32, 32), 2)) == 0
    assert [num_norms(block) for block in ResNetBody((3, 32, 32), 2, batch_norm=True).blocks] == [0, 2, 2, 2]


@pytest.mark.parametrize(
    "network", [lambda: ResNetGenerator(64, (3, 64, 64), 8), lambda: ResNetBody((3, 64, 64), 8)], ids=["up", "down"]
)
def test_initial_weights_follow_xaviers_uniform_distribution(network):
    checked = 0
    for name, layer in network().named_modules():
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            continue
        gain = math.sqrt(2) if name.endswith(("conv1", "conv2")) else 1
        fan_out, fan_in = layer.weight.shape[0], layer.weight[0].numel()
        kernel_size = layer.weight[0, 0].numel()
        bound = gain * math.sqrt(6 / (fan_in + fan_out * kernel_size))
        assert layer.weight.abs().max() <= bound * 1.0001, name
        assert layer.weight.std().item() == pytest.approx(
            bound / math.sqrt(3), rel=3 / math.sqrt(layer.weight.numel())
        ), name
        assert layer.bias is None or not layer.bias.any(), name
        checked += 1
    assert checked > 12


@pytest.mark.parametrize("num_classes", [0, 4])
def test_an_image_does_not_depend_on_the_rest_of_the_batch(num_classes):
    generator = ResNetGenerator(5, (3, 32, 32), width=4, num_classes=num_classes)
    latents = torch.cat([torch.randn(5, 5), random_class_weights(5, num_classes)], dim=1)
    generator(latents)
    generator.eval()
    with torch.no_grad():
        batched, single = generator(latents), torch.cat([generator(latent[None]) for latent in latents])
    torch.testing.assert_close(batched, single, atol=1e-5, rtol=1e-5)


def test_the_first_layer_receives_only_noise_and_classes_change_the_image():
    generator = ResNetGenerator(5, (3, 16, 16), width=4, num_classes=2)
    assert generator.linear.in_features == 5
    for norm in generator.modules():
        if isinstance(norm, ConditionalBatchNorm):
            nn.init.normal_(norm.gain, mean=1.0)
    noise = torch.randn(1, 5).expand(2, 5)
    first, second = generator.eval()(torch.cat([noise, torch.eye(2)], dim=1))
    assert (first - second).abs().max() > 1e-2


# normalisation


@pytest.mark.parametrize("training", [True, False])
def test_conditional_batch_norm_equals_batch_norm_with_the_gain_and_bias_of_the_class(training):
    norm = ConditionalBatchNorm(4, 3)
    maps = torch.randn(6, 4, 5, 5) * 3 + 1
    torch.testing.assert_close(
        norm(maps, random_class_weights(6, 3)), nn.BatchNorm2d(4)(maps)
    )  # initially gain 1 and bias 0
    nn.init.normal_(norm.gain)
    nn.init.normal_(norm.bias)
    norm.train(training)
    labels = torch.tensor([0, 1, 2, 2, 1, 0])
    statistics = copy.deepcopy(norm.norm)
    conditional = norm(maps, F.one_hot(labels, 3).float())
    for label in range(3):
        plain = nn.BatchNorm2d(4).train(training)
        plain.load_state_dict({**statistics.state_dict(), "weight": norm.gain[label], "bias": norm.bias[label]})
        torch.testing.assert_close(conditional[labels == label], plain(maps)[labels == label])


def test_conditional_batch_norm_is_linear_in_the_class_weights():
    norm = ConditionalBatchNorm(4, 3).eval()
    nn.init.normal_(norm.gain)
    nn.init.normal_(norm.bias)
    maps, weights = torch.randn(2, 4, 3, 3), random_class_weights(2, 3)
    one_hot = torch.stack([norm(maps, F.one_hot(torch.full((2,), k), 3).float()) for k in range(3)], dim=1)
    torch.testing.assert_close(norm(maps, weights), torch.einsum("bk,bkchw->bchw", weights, one_hot))


def test_conditional_batch_norm_is_converted_to_sync_batch_norm():
    generator = nn.SyncBatchNorm.convert_sync_batchnorm(ResNetGenerator(5, (3, 32, 32), width=2, num_classes=2))
    assert sum(isinstance(part, nn.SyncBatchNorm) for part in generator.modules()) == 7
    assert not any(isinstance(part, nn.BatchNorm2d) for part in generator.modules())
    assert generator.eval()(torch.randn(2, 7)).isfinite().all()


class Layers(nn.Module):
    """One layer of each type that spectral normalisation supports."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 12)
        self.linear = nn.Linear(12, 4 * 3 * 3)
        self.up = nn.ConvTranspose2d(4, 6, 4, stride=2)
        self.norm = nn.BatchNorm2d(6)
        self.conv = nn.Conv2d(6, 8, 3)

    def forward(self, labels: torch.Tensor) -> torch.Tensor:
        maps = self.linear(self.embedding(labels)).unflatten(1, (4, 3, 3))
        return self.conv(self.norm(self.up(maps)))


def normalised_layers(network: nn.Module) -> dict[str, nn.Module]:
    return {name: layer for name, layer in network.named_modules() if parametrize.is_parametrized(layer, "weight")}


def largest_singular_values(network: nn.Module) -> dict[str, float]:
    """The largest singular value of each normalised weight, reshaped to (outputs, all other dimensions)."""
    network.eval()
    values = {}
    for name, layer in normalised_layers(network).items():
        weight = layer.weight.detach()
        matrix = (weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight).flatten(1)
        values[name] = torch.linalg.svdvals(matrix.double())[0].item()
    return values


@pytest.mark.parametrize("mixed", [False, True], ids=["float32", "bf16"])
def test_the_largest_singular_value_of_every_weight_is_1(mixed):
    layers = apply_spectral_norm(Layers())
    body = apply_spectral_norm(ResNetBody((3, 16, 16), width=4))
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed), torch.no_grad():
        for _ in range(150):
            layers(torch.arange(5))
            body(torch.zeros(1, 3, 16, 16))
    assert set(normalised_layers(layers)) == {"embedding", "linear", "up", "conv"}
    assert len(normalised_layers(body)) == 10  # two in each of four blocks, and two shortcuts
    for network in (layers, body):
        for name, value in largest_singular_values(network).items():
            assert value == pytest.approx(1, abs=1e-2), name


class AutocastRecorder(TorchFunctionMode):
    """Records for each matrix-vector product whether autocast is enabled."""

    def __init__(self) -> None:
        super().__init__()
        self.autocast: list[bool] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.mv:
            self.autocast.append(torch.is_autocast_enabled("cpu"))
        return function(*args, **(kwargs or {}))


def test_the_power_iteration_runs_without_autocast():
    layers = apply_spectral_norm(Layers())
    with AutocastRecorder() as recorder, bf16_autocast():
        weights = [layer.weight for layer in normalised_layers(layers).values()]
        layers.eval()(torch.arange(5))
        assert torch.is_autocast_enabled("cpu")
    assert len(recorder.autocast) == 4 * 3 + 4  # two per power iteration and one for sigma; in evaluation only sigma
    assert not any(recorder.autocast)
    assert {weight.dtype for weight in weights} == {torch.float32}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_autocast_does_not_change_the_power_iteration_on_a_gpu():
    layers = apply_spectral_norm(Layers()).cuda()
    twin = copy.deepcopy(layers)
    for _ in range(3):
        for name, layer in normalised_layers(layers).items():
            with torch.autocast("cuda", torch.bfloat16):
                mixed = layer.weight
            assert torch.equal(mixed, twin.get_submodule(name).weight), name
    for name, buffer in layers.named_buffers():
        assert torch.equal(buffer, twin.get_buffer(name)), name


def test_spectrally_normalised_networks_can_be_saved_and_copied():
    layers, labels = apply_spectral_norm(Layers()), torch.arange(5)
    layers(labels)
    copied, loaded = copy.deepcopy(layers), apply_spectral_norm(Layers())
    loaded.load_state_dict(layers.state_dict())
    expected = layers.eval()(labels)
    for other in (copied, loaded):
        assert torch.equal(other.eval()(labels), expected)
    # evaluation changes nothing, and the copy shares no memory
    assert torch.equal(layers(labels), expected)
    copied.train()(labels)
    with torch.no_grad():
        copied.linear.parametrizations.weight.original.mul_(2).add_(1)
    assert torch.equal(layers(labels), expected)


def test_spectral_normalisation_is_applied_once_and_in_place():
    layers = Layers()
    assert apply_spectral_norm(layers) is layers
    names = set(layers.state_dict())
    assert set(apply_spectral_norm(layers).state_dict()) == names


def test_gradients_pass_through_a_frozen_spectrally_normalised_network():
    body = apply_spectral_norm(ResNetBody((3, 16, 16), width=4))
    assert all(parameter.requires_grad for parameter in body.parameters())
    body.requires_grad_(False)
    images = torch.randn(2, 3, 16, 16, requires_grad=True)
    body(images).sum().backward()
    assert images.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in body.parameters())
    body.requires_grad_(True)
    # two forward passes before one backward pass: the second must not invalidate the graph of the first
    (body(images.detach()).sum() - body(-images.detach()).sum()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in body.parameters())


def test_the_gradient_of_a_spectrally_normalised_weight_includes_sigma():
    linear = apply_spectral_norm(nn.Linear(3, 4).double())
    linear(torch.zeros(1, 3).double())
    for _ in range(500):
        linear.weight  # noqa: B018  one power iteration
    weight = linear.parametrizations.weight.original
    direction = torch.randn(4, 3).double()
    (gradient,) = torch.autograd.grad((linear.weight * direction).sum(), weight)
    reference = weight.detach().clone().requires_grad_()
    quotient = reference / torch.linalg.matrix_norm(reference, 2)
    (expected,) = torch.autograd.grad((quotient * direction).sum(), reference)
    torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=1e-6)


# minibatch layers


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_minibatch_discrimination_against_the_double_loop(batch):
    layer = MinibatchDiscrimination(6, num_kernels=4, kernel_dim=3)
    features = torch.randn(batch, 6)
    outputs = layer(features)
    assert outputs.shape == (batch, layer.out_features) == (batch, 10)
    assert torch.equal(outputs[:, :6], features)
    projections = (features @ layer.projection.weight.T).reshape(batch, 4, 3).detach().numpy()
    for i in range(batch):
        for b in range(4):
            others = [j for j in range(batch) if j != i]
            expected = sum(np.exp(-np.abs(projections[i, b] - projections[j, b]).sum()) for j in others)
            assert outputs[i, 6 + b].item() == pytest.approx(expected, abs=1e-5)


def test_minibatch_discrimination_of_equal_images_is_the_number_of_other_images():
    layer = MinibatchDiscrimination(6)
    features = torch.randn(1, 6).expand(4, 6).clone().requires_grad_()
    outputs = layer(features)
    assert outputs.shape == (4, 56)
    torch.testing.assert_close(outputs[:, 6:], torch.full((4, 50), 3.0))
    outputs.sum().backward()
    assert features.grad.isfinite().all()


def test_initial_similarities_of_minibatch_discrimination_are_moderate():
    layer = MinibatchDiscrimination(128)
    similarities = layer(torch.randn(32, 128))[:, 128:] / 31
    assert 0.2 < similarities.mean() < 0.5


def test_minibatch_discrimination_has_second_derivatives_and_supports_autocast():
    layer = MinibatchDiscrimination(6, num_kernels=4, kernel_dim=3)
    features = torch.randn(5, 6, requires_grad=True)
    outputs = layer(features)[:, 6:]
    (gradient,) = torch.autograd.grad(outputs.sum(), features, create_graph=True)
    gradient.square().sum().backward()
    assert layer.projection.weight.grad.abs().max() > 0
    with bf16_autocast():
        torch.testing.assert_close(layer(features)[:, 6:], outputs, atol=0.05, rtol=0)


@pytest.mark.parametrize("shape", [(), (3, 5)], ids=["flat", "maps"])
@pytest.mark.parametrize(
    ("batch", "group", "size"), [(8, 4, 4), (6, 4, 3), (7, 4, 1), (3, 4, 3), (1, 4, 1), (5, 8, 5), (6, 1, 1)]
)
def test_minibatch_stddev_against_numpy(shape, batch, group, size):
    features = torch.randn(batch, 6, *shape)
    outputs = MinibatchStddev(group)(features)
    assert outputs.shape == (batch, 7, *shape)
    assert torch.equal(outputs[:, :6], features)
    for first in range(0, batch, size):
        expected = features[first : first + size].numpy().std(axis=0).mean()
        np.testing.assert_allclose(outputs[first : first + size, 6].numpy(), expected, atol=1.1e-4, rtol=1e-5)


def test_minibatch_stddev_of_equal_images_has_a_finite_gradient():
    features = torch.ones(4, 3, 2, 2, requires_grad=True)
    MinibatchStddev()(features)[:, 3].sum().backward()
    assert features.grad.isfinite().all()


def test_minibatch_stddev_is_computed_in_float32():
    # in bf16, the rounding error of the mean would exceed the standard deviation
    features = (100 + torch.randint(0, 3, (4, 64)) * 0.5).bfloat16()
    with bf16_autocast():
        outputs = MinibatchStddev()(features)
    assert outputs.dtype == torch.bfloat16
    expected = MinibatchStddev()(features.double())[:, 64]
    torch.testing.assert_close(outputs[:, 64].double(), expected, rtol=2**-8, atol=0)


# differentiable augmentation


def with_seed(function, images: torch.Tensor, seed: int = 3) -> torch.Tensor:
    torch.manual_seed(seed)
    return function(images)


@pytest.mark.parametrize("policy", [("color",), ("translation",), ("cutout",), POLICY, POLICY[::-1]])
@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 7, 12)])
def test_augmentation_is_affine_and_has_exact_gradients(policy, shape):
    def augment(images: torch.Tensor) -> torch.Tensor:
        return with_seed(lambda images: diff_augment(images, policy), images)

    images, others = torch.randn(2, 2, *shape).double()
    origin = augment(torch.zeros_like(images))
    torch.testing.assert_close(augment(images + others), augment(images) + augment(others) - origin)
    images.requires_grad_()
    assert torch.autograd.gradcheck(augment, (images,), fast_mode=True)
    augment(images).sum().backward()
    assert images.grad.isfinite().all()
    assert (images.grad.flatten(1).abs().amax(1) > 0).all()


@pytest.mark.parametrize("name", POLICY)
def test_images_are_augmented_independently_and_reproducibly(name):
    images = torch.rand(1, 3, 32, 32).expand(16, 3, 32, 32) + 0.5
    augmented = with_seed(lambda images: diff_augment(images, [name]), images)
    assert len({image.numpy().tobytes() for image in augmented}) > 8
    assert torch.equal(augmented, with_seed(lambda images: diff_augment(images, [name]), images))
    assert not torch.equal(augmented, with_seed(lambda images: diff_augment(images, [name]), images, seed=4))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_augmentation_preserves_shape_and_type(channels):
    images = torch.randn(3, channels, 16, 16).bfloat16()
    augmented = diff_augment(images, POLICY)
    assert augmented.shape == images.shape
    assert augmented.dtype == images.dtype


def test_an_empty_policy_changes_neither_images_nor_the_random_state():
    images, state = torch.randn(2, 3, 8, 8), torch.get_rng_state()
    assert torch.equal(diff_augment(images, ()), images)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_unknown_augmentation_is_rejected_by_name():
    with pytest.raises(InputError, match=r"model\.augment has 'colour'; choose from color, translation, cutout"):
        diff_augment(torch.zeros(1, 1, 8, 8), ["translation", "colour"])


def assert_uniform(values: torch.Tensor, low: float, high: float) -> None:
    """Check that about a thousand values cover [low, high] and have its mean."""
    assert low - 1e-4 <= values.min() < low + 0.02 * (high - low)
    assert high - 0.02 * (high - low) < values.max() <= high + 1e-4
    assert values.mean().item() == pytest.approx((low + high) / 2, abs=0.04 * (high - low))


def test_colour_changes_have_the_papers_ranges():
    """With two lightnesses and one hue, each change can be recovered: lightness from channel 2, hue from channel 0."""
    light = torch.tensor([-1.0, 1.0]).repeat(4, 2)
    hue = torch.tensor([1.0, -1.0, 0.0])
    images = (light + hue[:, None, None]).expand(1000, 3, 4, 4)
    augmented = color(images)
    dark, bright = augmented[:, :, 0, 0], augmented[:, :, 0, 1]
    contrast = (bright - dark)[:, 2] / 2
    brightness = (bright + dark)[:, 2] / 2
    saturation = (dark[:, 0] - dark[:, 2]) / contrast
    assert_uniform(brightness, -0.5, 0.5)
    assert_uniform(saturation, 0.0, 2.0)
    assert_uniform(contrast, 0.5, 1.5)
    correlations = torch.corrcoef(torch.stack([brightness, saturation, contrast]))
    assert (correlations - torch.eye(3)).abs().max() < 0.15
    expected = contrast[:, None, None, None] * (light + saturation[:, None, None, None] * hue[:, None, None])
    torch.testing.assert_close(augmented, expected + brightness[:, None, None, None], atol=1e-4, rtol=0)


def test_saturation_does_not_change_a_single_channel():
    images = torch.linspace(-1, 1, 16).reshape(1, 1, 4, 4).expand(1000, 1, 4, 4)
    augmented = color(images)
    contrast = (augmented.amax((1, 2, 3)) - augmented.amin((1, 2, 3))) / 2
    assert_uniform(contrast, 0.5, 1.5)


@pytest.mark.parametrize(("height", "width", "max_shift"), [(16, 16, (2, 2)), (28, 28, (4, 4)), (7, 12, (1, 2))])
def test_translation_pads_with_zeros(height, width, max_shift):
    image = torch.arange(1.0, 1 + 2 * height * width).reshape(2, height, width)
    padded = F.pad(image, (max_shift[1], max_shift[1], max_shift[0], max_shift[0]))
    shifts = set()
    middle = image[0, height // 2, width // 2]
    for augmented in translation(image.expand(1500, 2, height, width)):
        ((y, x),) = (augmented[0] == middle).nonzero().tolist()
        up, left = height // 2 - y, width // 2 - x
        assert abs(up) <= max_shift[0]
        assert abs(left) <= max_shift[1]
        top, first = max_shift[0] + up, max_shift[1] + left
        assert torch.equal(augmented, padded[:, top : top + height, first : first + width])
        shifts.add((up, left))
    assert len(shifts) == (2 * max_shift[0] + 1) * (2 * max_shift[1] + 1)


@pytest.mark.parametrize("side", [16, 28, 7])
def test_cutout_masks_a_square_of_half_the_side(side):
    length = (side + 1) // 2
    augmented = cutout(torch.ones(1000, 2, side, side))
    masked = augmented == 0
    assert ((augmented == 1) | masked).all()
    assert torch.equal(masked[:, 0], masked[:, 1])
    rows, columns = masked[:, 0].any(2), masked[:, 0].any(1)
    assert torch.equal(masked[:, 0], rows[:, :, None] & columns[:, None, :])
    for lines in (rows, columns):
        edges = (lines[:, 1:] != lines[:, :-1]).sum(1)
        touches = lines[:, 0] | lines[:, -1]
        assert (edges == torch.where(touches, 1, 2)).all()  # contiguous
        lengths = lines.sum(1)
        assert (lengths[~touches] == length).all()
        # at either border, at least half of the window is inside the image
        for border in (0, -1):
            assert lengths[lines[:, border]].min() == (length + 1) // 2
            assert lengths.max() == length
        assert lines.any(0).all()
