"""The VQ-VAE's parts against closed forms, brute force and enumeration; causality of the prior; codes and back."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from lightning_gen.errors import InputError
from lightning_gen.models.autoencoders.vqvae import VQVAE
from lightning_gen.networks.masked import GatedPixelCNN, inverse_cdf
from lightning_gen.networks.vq import EPSILON, VectorQuantiser, perplexity
from lightning_gen.noise import image_generators, uniform
from lightning_gen.types import Batch, Decoder, Encoder, ImageGenerator, LatentGenerator, Reconstructor, Tokenizer
from tests.helpers import loader, on_ranks, trainer

TINY = {"image_shape": (1, 16, 16), "codebook_size": 8, "code_dim": 3, "width": 4, "prior_width": 8, "prior_layers": 2}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def seeded(codebook_size: int, code_dim: int, **options) -> tuple[VectorQuantiser, torch.Tensor]:
    """A quantiser that has seen its first batch, and that batch."""
    quantiser, maps = VectorQuantiser(codebook_size, code_dim, **options), torch.randn(4, code_dim, 3, 5)
    quantiser.update(maps, quantiser.nearest(maps))
    return quantiser, maps


def rows_of(maps: torch.Tensor) -> torch.Tensor:
    """The vectors of maps, one a row."""
    return maps.movedim(1, -1).flatten(0, -2)


def found_in(vectors: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Which vectors are one of the maps'."""
    return ((vectors[:, None] - rows_of(maps)).abs().amax(2) < 1e-4).any(1)


# the quantiser


def test_a_vector_becomes_its_nearest_code():
    quantiser, _ = seeded(11, 4)
    maps = torch.randn(3, 4, 2, 6)
    codes = quantiser.nearest(maps)
    for b, r, c in itertools.product(range(3), range(2), range(6)):
        distances = [(maps[b, :, r, c] - code).square().sum().item() for code in quantiser.codebook]
        assert codes[b, r, c] == min(range(11), key=distances.__getitem__)
        torch.testing.assert_close(quantiser.embed(codes)[b, :, r, c], quantiser.codebook[codes[b, r, c]])


def test_gradients_pass_the_quantiser_unchanged_and_commitment_pulls_to_the_codes():
    quantiser, _ = seeded(6, 3)
    maps = torch.randn(2, 3, 4, 4, requires_grad=True)
    quantised = quantiser(maps)
    torch.testing.assert_close(quantised.maps, quantiser.embed(quantised.codes))
    probe = torch.randn(2, 3, 4, 4)
    (gradient,) = torch.autograd.grad((quantised.maps * probe).sum(), maps, retain_graph=True)
    assert torch.equal(gradient, probe)
    offsets = maps.detach() - quantiser.embed(quantised.codes)
    torch.testing.assert_close(quantised.commitment, offsets.square().mean())
    (gradient,) = torch.autograd.grad(quantised.commitment, maps)
    torch.testing.assert_close(gradient, 2 * offsets / offsets.numel())
    assert not list(quantiser.parameters())


def test_the_codebook_follows_the_moving_averages_closed_form():
    decay, size = 0.8, 5
    quantiser, _ = seeded(size, 3, decay=decay, revive_below=0.0)
    counts, sums = quantiser.counts.double(), quantiser.sums.double()
    batches = [torch.randn(2, 3, 4, 4) for _ in range(6)]
    for t, maps in enumerate(batches):
        codes = quantiser.nearest(maps)
        quantiser.update(maps, codes)
        weight = (1 - decay) * decay ** (len(batches) - 1 - t)
        for i in range(size):
            chosen = rows_of(maps)[codes.flatten() == i].double()
            counts[i] += weight * len(chosen) / decay ** len(batches)
            sums[i] += weight * chosen.sum(0) / decay ** len(batches)
    counts, sums = counts * decay ** len(batches), sums * decay ** len(batches)
    smoothed = (counts + EPSILON) / (counts.sum() + size * EPSILON) * counts.sum()
    torch.testing.assert_close(quantiser.codebook.double(), sums / smoothed[:, None], atol=1e-5, rtol=1e-5)


def test_a_batch_repeated_settles_codes_in_the_middle_of_their_vectors():
    quantiser, maps = seeded(4, 3, decay=0.5)
    for _ in range(200):
        quantiser.update(maps, quantiser.nearest(maps))
    codes = quantiser.nearest(maps).flatten()
    for i in range(4):
        torch.testing.assert_close(quantiser.codebook[i], rows_of(maps)[codes == i].mean(0), atol=1e-4, rtol=1e-4)


def test_the_first_batch_seeds_the_codebook_with_different_vectors_of_its_own():
    quantiser, maps = seeded(12, 4)
    assert found_in(quantiser.codebook, maps).all()
    assert len(quantiser.nearest(maps).unique()) == 12


def test_dead_codes_move_onto_vectors_of_the_batch_and_live_ones_stay():
    quantiser, _ = seeded(6, 3, decay=0.5, revive_below=0.1)
    near = quantiser.codebook[:4].T.reshape(1, 3, 2, 2).repeat(8, 1, 1, 1)
    near = near + 0.01 * torch.randn_like(near)
    before = quantiser.codebook
    for _ in range(8):
        maps = near + 0.001 * torch.randn_like(near)
        quantiser.update(maps, quantiser.nearest(maps))
        if quantiser.nearest(maps).max() > 3:
            break
    assert (quantiser.codebook[:4] - before[:4]).norm(dim=1).max() < 0.05
    assert ((quantiser.codebook[4:] - before[4:]).norm(dim=1) > 0.1).all()
    assert found_in(quantiser.codebook[4:], maps).all()
    torch.testing.assert_close(quantiser.counts[4:], torch.full((2,), 32 / 6))


def test_more_codes_than_vectors_and_one_code_stay_finite():
    for size in (1, 40):
        quantiser, maps = VectorQuantiser(size, 3), torch.randn(1, 3, 2, 2)
        for _ in range(3):
            quantiser.update(maps, quantiser.nearest(maps))
        assert quantiser.codebook.isfinite().all()
        assert quantiser(maps).codes.max() < size


def test_the_quantiser_is_float32_under_autocast():
    quantiser, maps = seeded(32, 8)
    expected = quantiser(maps)
    with torch.autocast("cpu", torch.bfloat16):
        found = quantiser(maps)
        assert torch.equal(found.codes, expected.codes)
        assert found.maps.dtype == found.commitment.dtype == torch.float32
        torch.manual_seed(5)
        quantiser.update(maps, found.codes)
    averaged = quantiser.sums.clone()
    again, _ = seeded_like(32, 8)
    torch.manual_seed(5)
    again.update(maps, expected.codes)
    assert torch.equal(averaged, again.sums)


def seeded_like(codebook_size: int, code_dim: int) -> tuple[VectorQuantiser, torch.Tensor]:
    torch.manual_seed(0)
    return seeded(codebook_size, code_dim)


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_perplexity_of_even_use_is_the_number_of_codes_and_of_one_code_one(size):
    even = torch.arange(size).repeat(3).reshape(1, 3, size)
    assert perplexity(even, size).item() == pytest.approx(size, rel=1e-5)
    assert perplexity(torch.zeros_like(even), size).item() == pytest.approx(1)


def test_perplexity_is_the_exponential_of_the_entropy():
    codes = torch.tensor([[[0, 0, 0, 1]]])
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert perplexity(codes, 5).item() == pytest.approx(math.exp(entropy))


def quantise_on_ranks(rank: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    quantiser = VectorQuantiser(6, 3, decay=0.5, revive_below=0.0)
    batches = [torch.randn(2, 2, 3, 4, 4) for _ in range(4)]
    torch.manual_seed(100 + rank)
    states = []
    for both in batches:
        maps = both[rank]
        quantiser.update(maps, quantiser.nearest(maps))
        states.append(quantiser.codebook)
    return {"states": torch.stack(states), "batches": torch.stack(batches)}


def test_ranks_agree_on_the_codebook_of_all_their_batches_together(tmp_path):
    first, second = on_ranks(quantise_on_ranks, tmp_path)
    assert torch.equal(first["states"], second["states"])
    of_ranks = [found_in(first["states"][0], first["batches"][0, rank]) for rank in range(2)]
    assert [where.tolist() for where in of_ranks] == [[True, False] * 3, [False, True] * 3]
    alone = VectorQuantiser(6, 3, decay=0.5, revive_below=0.0)
    alone.initialised.fill_(True)
    alone.sums.copy_(first["states"][0] * 64 / 6)
    alone.counts.fill_(64 / 6)
    for both, codebook in zip(first["batches"][1:], first["states"][1:], strict=True):
        maps = both.flatten(0, 1)
        alone.update(maps, alone.nearest(maps))
        torch.testing.assert_close(alone.codebook, codebook, atol=1e-5, rtol=1e-5)


# the prior


def prior(rows: int, columns: int, codebook_size: int = 3, width: int = 8, kernel_size: int = 3) -> GatedPixelCNN:
    layers = math.ceil(max(rows, columns) / (kernel_size // 2))
    return GatedPixelCNN(codebook_size, width, layers, kernel_size)


@pytest.mark.parametrize(("rows", "columns", "kernel_size"), [(4, 4, 3), (5, 7, 5), (1, 6, 3), (6, 1, 5)])
def test_logits_depend_on_all_codes_before_and_on_none_after(rows, columns, kernel_size):
    network = prior(rows, columns, kernel_size=kernel_size).double()
    codes = torch.randint(3, (1, rows, columns))
    embedded = network.embedding(codes).movedim(-1, 1).detach().requires_grad_()
    network._embed = lambda _: embedded
    logits = network(codes)
    for t in range(rows * columns):
        (gradient,) = torch.autograd.grad(logits[0, :, t // columns, t % columns].sum(), embedded, retain_graph=True)
        reached = gradient[0].abs().sum(0).flatten() > 0
        assert reached.tolist() == [True] * t + [False] * (rows * columns - t)


def all_grids(codebook_size: int, rows: int, columns: int) -> torch.Tensor:
    grids = torch.tensor(list(itertools.product(range(codebook_size), repeat=rows * columns)))
    return grids.reshape(-1, rows, columns)


def test_probabilities_of_all_grids_add_to_one():
    network = prior(2, 3, codebook_size=3)
    total = network.log_likelihood(all_grids(3, 2, 3)).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-5)


def test_samples_of_an_untrained_prior_follow_its_own_probabilities():
    network = prior(2, 2)
    with torch.no_grad():
        for parameter in network.head.parameters():
            parameter.mul_(4)  # far from even
        probabilities = network.log_likelihood(all_grids(3, 2, 2)).exp()
    codes = network.sample(torch.rand(40000, 2, 2))
    numbers = (codes.flatten(1) * torch.tensor([27, 9, 3, 1])).sum(1)
    found = torch.bincount(numbers, minlength=81) / 40000
    assert probabilities.max() > 2 / 81
    assert (found - probabilities).abs().max() < 5 * (probabilities.max() / 40000).sqrt()


def test_sampling_row_by_row_is_sampling_from_the_whole_networks_logits():
    network, uniforms = prior(4, 5, codebook_size=6), torch.rand(7, 4, 5)
    codes = torch.zeros(7, 4, 5, dtype=torch.int64)
    for row, column in itertools.product(range(4), range(5)):
        codes[:, row, column] = inverse_cdf(network(codes)[:, :, row, column], uniforms[:, row, column])
    assert torch.equal(network.sample(uniforms), codes)


def test_a_trained_prior_draws_what_it_was_trained_on():
    """Two by two grids: the first two codes free with shares 1/4 and 3/4, the others their equality and inequality."""
    network = prior(2, 2, codebook_size=2, width=16)
    optimizer = torch.optim.Adam(network.parameters(), 2e-2)
    for _ in range(100):
        a, b = (torch.rand(2, 128) < 0.75).long()
        loss = -network.log_likelihood(torch.stack([a, b, (a == b).long(), (a != b).long()], 1).reshape(-1, 2, 2))
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
    a, b, equal, unequal = network.sample(torch.rand(4000, 2, 2)).flatten(1).T
    assert ((equal == (a == b)) & (unequal == (a != b))).float().mean() > 0.97
    for value, other, share in [(0, 0, 1 / 16), (0, 1, 3 / 16), (1, 0, 3 / 16), (1, 1, 9 / 16)]:
        assert ((a == value) & (b == other)).float().mean().item() == pytest.approx(share, abs=0.06)


def test_the_inverse_of_the_cumulative_distribution_meets_its_steps():
    logits = torch.tensor([0.2, 0.0, 0.5, 0.3]).log().expand(6, 4)
    uniforms = torch.tensor([0.0, 0.19, 0.21, 0.69, 0.71, 1 - 2**-24])
    assert inverse_cdf(logits, uniforms).tolist() == [0, 0, 2, 2, 3, 3]


# the model


def test_codes_and_back_is_the_reconstruction():
    model = VQVAE(**TINY)
    trainer().fit(model, loader())
    images = next(iter(loader())).images
    codes = model.tokenize(images)
    assert codes.shape == (8, 4, 4)
    assert codes.dtype == torch.int64
    assert 0 <= codes.min() <= codes.max() < model.codebook_size
    assert torch.equal(model.detokenize(codes), model.reconstruct(images))
    latents = model.encode(images)
    assert latents.shape == (8, 3, 4, 4)
    assert torch.equal(model.decode(latents), model.reconstruct(images))
    assert found_in(rows_of(latents), model.network.quantiser.codebook.T[None, :, :, None]).all()
    for capability in (ImageGenerator, Reconstructor, Encoder, Decoder, LatentGenerator, Tokenizer):
        assert isinstance(model, capability)


@pytest.mark.parametrize(("downsample", "sides"), [(2, (16, 8)), (4, (8, 4)), (8, (4, 2))])
def test_pixels_to_a_code(downsample, sides):
    model = VQVAE(**{**TINY, "image_shape": (3, 32, 16)}, downsample=downsample)
    assert model.tokenize(torch.zeros(2, 3, 32, 16)).shape == (2, *sides)
    assert model.sample(2).shape == (2, 3, 32, 16)


def test_each_term_reaches_its_own_networks():
    model = VQVAE(**TINY)
    images = next(iter(loader())).images
    reached = {}
    for term in ("reconstruction", "commitment", "prior"):
        model.zero_grad()
        model.loss(Batch(images)).terms[term].backward()
        reached[term] = {
            name.split(".")[1] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()
        }
    assert reached == {"reconstruction": {"encoder", "decoder"}, "commitment": {"encoder"}, "prior": {"prior"}}


def test_the_total_and_its_terms():
    model = VQVAE(**TINY, commitment=0.7)
    images = next(iter(loader())).images
    loss = model.loss(Batch(images))
    terms = loss.terms
    torch.testing.assert_close(loss.total, terms["reconstruction"] + 0.7 * terms["commitment"] + terms["prior"])
    torch.testing.assert_close(terms["reconstruction"], F.mse_loss(model.reconstruct(images), images))
    codes = model.tokenize(images)
    torch.testing.assert_close(terms["prior"], -model.network.prior.log_likelihood(codes).mean())
    torch.testing.assert_close(terms["perplexity"], perplexity(codes, 8))


def test_validation_leaves_the_codebook_alone_and_training_does_not():
    model = VQVAE(**TINY)
    before = model.network.quantiser.codebook
    trainer().validate(model, loader(), verbose=False)
    assert torch.equal(model.network.quantiser.codebook, before)
    trainer().fit(model, loader(num=1))
    assert not torch.equal(model.network.quantiser.codebook, before)


def test_the_average_follows_the_codebook_and_the_prior():
    model = VQVAE(**TINY, ema_half_life=1e-6)
    trainer().fit(model, loader())
    averaged = model.sample(4, generator=image_generators(0, range(4)))
    assert torch.equal(model.ema.module.quantiser.codebook, model.network.quantiser.codebook)
    model.use_ema = False
    torch.testing.assert_close(averaged, model.sample(4, generator=image_generators(0, range(4))))


def test_the_prior_has_its_own_rate():
    groups = VQVAE(**TINY, lr=0.1, prior_lr=0.2).configure_optimizers()[0].param_groups
    assert [group["lr"] for group in groups] == [0.1, 0.2]
    assert [group["lr"] for group in VQVAE(**TINY, lr=0.1).configure_optimizers()[0].param_groups] == [0.1, 0.1]


def test_a_small_autoencoder_learns_to_reconstruct():
    model = VQVAE(**{**TINY, "width": 16, "codebook_size": 16}, lr=3e-3, codebook_decay=0.9)
    centres = torch.randint(3, 13, (2, 32))
    y, x = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    squares = ((y - centres[0, :, None, None]) ** 2 + (x - centres[1, :, None, None]) ** 2).float()
    batch = Batch((2 * (-squares / 12).exp() - 1)[:, None])
    optimizer = model.configure_optimizers()[0]
    for _ in range(100):
        optimizer.zero_grad()
        model.training_loss(batch).total.backward()
        optimizer.step()
    loss = model.loss(batch)
    assert loss.terms["reconstruction"] < 0.1 * batch.images.var()
    assert loss.terms["perplexity"] > 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"image_shape": (1, 28, 28), "downsample": 8}, "does not divide images of 28 x 28; set data.image_size"),
        ({"codebook_size": 0}, "model.codebook_size is 0"),
        ({"commitment": -1.0}, "model.commitment is -1.0"),
        ({"codebook_decay": 1.0}, "model.codebook_decay is 1.0"),
        ({"revive_below": 1.0}, "model.revive_below is 1.0"),
        ({"prior_layers": 0}, "model.prior_layers is 0"),
        ({"prior_kernel": 4}, "model.prior_kernel 4; a PixelCNN needs .* an odd kernel"),
        ({"prior_kernel": 1}, "model.prior_kernel 1"),
        ({"prior_dropout": 1.0}, "model.prior_dropout is 1.0"),
    ],
)
def test_bad_values_are_named(options, words):
    with pytest.raises(InputError, match=words):
        VQVAE(**{**TINY, **options})


def test_an_asked_class_is_refused():
    with pytest.raises(InputError, match="VQVAE is not conditional"):
        VQVAE(**TINY).sample(2, labels=torch.tensor([1, 2]))


def test_uniform_noise_is_a_function_of_each_images_generator():
    together = uniform(5, 3, 4, generator=image_generators(1, range(5)))
    assert together.shape == (5, 3, 4)
    assert 0 <= together.min() < 0.2
    assert 0.8 < together.max() < 1
    assert torch.equal(together[2:3], uniform(1, 3, 4, generator=image_generators(1, [2])))
    with pytest.raises(ValueError, match="2 generators for 3 images"):
        uniform(3, generator=image_generators(1, range(2)))
