"""UNet and DiT: initialisation, conditioning, receptive field and input checks."""

import pytest
import torch
from torch import nn

from lightning_gen.errors import InputError
from lightning_gen.networks.conditioning import NoiseClassEmbedding, sinusoidal_embedding
from lightning_gen.networks.dit import DiT, positional_embedding
from lightning_gen.networks.unet import SelfAttention, UNet, Upsample, group_norm, modulate

NETWORKS = {
    "unet": lambda shape=(1, 16, 16), **options: UNet(
        shape, **{"width": 8, "multipliers": (1, 2, 2), "blocks": 1, "attention": (8,), **options}
    ),
    "dit": lambda shape=(1, 16, 16), **options: DiT(
        shape, **{"width": 16, "depth": 2, "heads": 2, "patch": 4, **options}
    ),
}
networks = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)


def randomise_zeros(network: nn.Module) -> nn.Module:
    """The network in evaluation mode, with random values in place of parameters that are initialised to zero."""
    torch.manual_seed(1)
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    return network.eval()


@networks
@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 8, 24), (2, 28, 28)])
def test_the_initial_output_is_zero_and_has_the_images_shape(make, shape):
    torch.manual_seed(0)
    network = make(shape)
    images, noise = torch.randn(2, *shape), torch.rand(2)
    assert torch.equal(network(images, noise), torch.zeros_like(images))
    output = randomise_zeros(network)(images, noise)
    assert output.shape == images.shape
    assert output.std() > 0


@pytest.mark.parametrize(("kind", "options"), [("unet", {"attention": ()}), ("dit", {})])
def test_a_network_treats_another_size_as_a_network_of_that_size_does(kind, options):
    network = randomise_zeros(NETWORKS[kind]((1, 16, 16), in_channels=3, **options))
    other = NETWORKS[kind]((1, 8, 24), in_channels=3, **options).eval()
    other.load_state_dict(network.state_dict())
    images, noise = torch.randn(2, 3, 8, 24), torch.rand(2)
    output = network(images, noise)
    assert output.shape == (2, 1, 8, 24)
    assert output.std() > 0
    assert torch.equal(output, other(images, noise))


@networks
def test_every_parameter_receives_a_gradient(make):
    torch.manual_seed(0)
    network = randomise_zeros(make(num_classes=3)).train()
    network(torch.randn(4, 1, 16, 16), torch.tensor([0.0, 10.0, 100.0, 900.0]), torch.eye(4)[:, :3]).sum().backward()
    silent = [
        name for name, parameter in network.named_parameters() if parameter.grad is None or not parameter.grad.any()
    ]
    assert not silent


@networks
def test_outputs_depend_on_noise_class_and_the_whole_image_and_on_no_other_image_of_the_batch(make):
    torch.manual_seed(0)
    network = randomise_zeros(make(num_classes=3))
    images, noise, classes = torch.randn(3, 1, 16, 16), torch.tensor([5.0, 50.0, 500.0]), torch.eye(4)[[0, 1, 3], :3]
    together = network(images, noise, classes)
    alone = torch.cat([network(*(part[i : i + 1] for part in (images, noise, classes))) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(together, network(images, noise + 1, classes), atol=1e-3)
    assert not torch.allclose(together, network(images, noise, classes.roll(1, 0)), atol=1e-3)
    assert torch.equal(network(images, noise), network(images, noise, torch.zeros(3, 3)))
    images.requires_grad_()
    network(images, noise, classes)[:, :, 0, 0].sum().backward()
    assert images.grad[:, :, -1, -1].abs().min() > 0


def test_attention_equals_torchs():
    torch.manual_seed(0)
    ours = randomise_zeros(SelfAttention(128))
    theirs = nn.MultiheadAttention(128, ours.heads, batch_first=True)
    theirs.in_proj_weight.data, theirs.in_proj_bias.data = ours.qkv.weight.data[:, :, 0, 0], ours.qkv.bias.data
    theirs.out_proj.weight.data, theirs.out_proj.bias.data = ours.out.weight.data[:, :, 0, 0], ours.out.bias.data
    maps = torch.randn(2, 128, 3, 5, requires_grad=True)
    tokens = ours.norm(maps).flatten(2).transpose(1, 2)
    expected = maps + theirs(tokens, tokens, tokens)[0].transpose(1, 2).unflatten(2, (3, 5))
    shared = [maps, *ours.norm.parameters()]
    assert_same(
        ours(maps), expected, [*shared, *ours.qkv.parameters(), *ours.out.parameters()], [*shared, *theirs.parameters()]
    )


def assert_same(output, expected, inputs, expected_inputs=None):
    """Two tensors are equal, and so are their gradients with respect to the inputs."""
    directions = torch.randn_like(expected)
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-5)
    ours = torch.autograd.grad(output, inputs, directions)
    theirs = torch.autograd.grad(expected, expected_inputs or inputs, directions)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other.view_as(one), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shape", [(2, 6, 4, 8), (1, 6, 1, 3)])
def test_upsample_equals_nearest_upsampling_and_a_convolution(shape):
    torch.manual_seed(0)
    layer, maps = Upsample(6), torch.randn(shape, requires_grad=True)
    inputs = [maps, *layer.parameters()]
    assert_same(layer(maps), nn.Sequential.forward(layer, maps), inputs)
    assert list(layer.state_dict()) == ["1.weight", "1.bias"]


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_modulate_equals_scale_and_shift_after_the_norm(order):
    torch.manual_seed(0)
    norm = group_norm(16)
    inputs = [nn.init.normal_(parameter) for parameter in norm.parameters()]
    inputs += [(3 + torch.randn(4, 16, 5, 3)).to(memory_format=order), torch.randn(4, 16), torch.randn(4, 16)]
    maps, scale, shift = (value.requires_grad_() for value in inputs[2:])
    expected = norm(maps) * (1 + scale[:, :, None, None]) + shift[:, :, None, None]
    assert_same(modulate(norm, maps, scale, shift), expected, inputs)


def test_sinusoidal_and_positional_embedding():
    output = sinusoidal_embedding(torch.tensor([0.0, 3.0]), 4)
    angles = torch.tensor([3.0, 0.03])
    torch.testing.assert_close(
        output, torch.stack([torch.tensor([1.0, 1, 0, 0]), torch.cat([angles.cos(), angles.sin()])])
    )
    table = positional_embedding(3, 4, 16)
    assert table.shape == (12, 16)
    assert len(table.unique(dim=0)) == 12
    assert torch.equal(table[0:4, :8], table[0:1, :8].expand(4, -1))  # one row
    assert torch.equal(table[0::4, 8:], table[0:1, 8:].expand(3, -1))  # one column


def test_class_embedding_is_linear_and_absent_in_an_unconditional_network():
    assert NoiseClassEmbedding(8, 4).classes is None
    condition = NoiseClassEmbedding(8, 4, 3)
    noise, classes = torch.zeros(3), torch.tensor([[1.0, 0, 0], [0, 1, 0], [0.5, 0.5, 0]])
    first, second, between = condition.classes(classes)
    torch.testing.assert_close(between, (first + second) / 2)
    assert condition(noise, classes).shape == (3, 8)


def test_group_norm_has_at_least_four_channels_per_group():
    assert [group_norm(channels).num_groups for channels in (2, 4, 18, 32, 64, 96, 128, 256)] == [
        1,
        1,
        2,
        8,
        16,
        8,
        32,
        32,
    ]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UNet((1, 30, 30), 8, (1, 2, 2)), "halves the image 2 times, and 30 x 30"),
        (lambda: UNet((1, 32, 32), 8, ()), "multipliers"),
        (lambda: UNet((1, 32, 32), 7), "even width"),
        (lambda: DiT((1, 30, 32), 16, patch=4), "patches of 4 x 4"),
        (lambda: DiT((1, 32, 32), 18), "divisible by 4"),
    ],
)
def test_invalid_sizes_raise_a_one_line_error(make, message):
    with pytest.raises(InputError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


def test_channels_last_under_the_compiler_gives_the_same_output(monkeypatch):
    network = randomise_zeros(NETWORKS["unet"](num_classes=3)).double()
    given = torch.randn(2, 1, 16, 16).double(), torch.tensor([5.0, 500.0]), torch.eye(3)[:2]
    expected = network(*given)
    layouts = []
    network.out.register_forward_pre_hook(lambda _, maps: layouts.append(maps[0].is_contiguous()))
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)  # jaxtyping's checks prevent compilation in tests
    assert_same(network(*given), expected, list(network.parameters()))
    assert layouts == [False]
