"""Losses against closed forms and torch.distributions."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from lightning_gen.errors import InputError
from lightning_gen.losses.adversarial import (
    HINGE,
    MINIMAX,
    NON_SATURATING,
    WASSERSTEIN,
    least_squares,
    non_saturating_discriminator_loss,
    non_saturating_generator_loss,
)
from lightning_gen.losses.penalties import gradient_penalty, image_gradients, r1_penalty
from lightning_gen.losses.softplus import softplus
from lightning_gen.networks.variational import Posterior, bernoulli_log_likelihood, gaussian_log_likelihood

seeds = st.integers(0, 2**31)


def test_non_saturating_loss_at_the_equilibrium():
    undecided = torch.zeros(7)
    assert non_saturating_discriminator_loss(undecided, undecided).item() == pytest.approx(2 * math.log(2))
    assert non_saturating_generator_loss(undecided).item() == pytest.approx(math.log(2))


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_non_saturating_loss_is_cross_entropy(seed):
    real, fake = torch.randn(2, 9, generator=torch.Generator().manual_seed(seed)) * 3
    bce = nn.BCEWithLogitsLoss()
    expected = bce(real, torch.ones(9)) + bce(fake, torch.zeros(9))
    torch.testing.assert_close(non_saturating_discriminator_loss(real, fake), expected)
    torch.testing.assert_close(non_saturating_generator_loss(fake), bce(fake, torch.ones(9)))


def test_generator_gradient_does_not_vanish_where_the_discriminator_is_sure():
    fake = torch.full((1,), -30.0, requires_grad=True)
    non_saturating_generator_loss(fake).backward()
    assert fake.grad.item() == pytest.approx(-1.0)


def test_minimax_is_the_discriminators_loss_with_the_other_sign_and_saturates():
    fake = torch.tensor([-3.0, 0.5, 40.0])
    expected = (1 - torch.sigmoid(fake.double())).log()
    assert MINIMAX.generator_loss(fake[:2]).item() == pytest.approx(expected[:2].mean().item(), rel=1e-6)
    assert MINIMAX.generator_loss(torch.zeros(3)).item() == pytest.approx(-math.log(2))
    sure = torch.full((1,), -30.0, requires_grad=True)
    MINIMAX.generator_loss(sure).backward()
    assert abs(sure.grad.item()) < 1e-12
    assert MINIMAX.discriminator_loss is NON_SATURATING.discriminator_loss


@pytest.mark.parametrize(("a", "b", "c"), [(0.0, 1.0, 1.0), (-1.0, 1.0, 0.0)])
def test_least_squares_at_its_targets_and_off_them(a, b, c):
    loss = least_squares(a, b, c)
    assert loss.discriminator_loss(torch.full((3,), b), torch.full((3,), a)).item() == 0
    assert loss.generator_loss(torch.full((3,), c)).item() == 0
    assert loss.discriminator_loss(torch.full((3,), b + 2), torch.full((3,), a - 1)).item() == pytest.approx(
        (4 + 1) / 2
    )
    assert loss.generator_loss(torch.tensor([c + 1, c + 3])).item() == pytest.approx((1 + 9) / 2 / 2)
    # the best discriminator of equal densities says (a + b) / 2 to both (equation 5 of the paper)
    output = torch.tensor([0.3], requires_grad=True)
    for _ in range(200):
        (gradient,) = torch.autograd.grad(loss.discriminator_loss(output, output), output)
        output = (output - 0.2 * gradient).detach().requires_grad_()
    assert output.item() == pytest.approx((a + b) / 2, abs=1e-5)


def test_hinge_and_wasserstein():
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0])
    assert HINGE.discriminator_loss(real, fake).item() == pytest.approx((0 + 0.5) / 2 + (0 + 1) / 2)
    assert HINGE.generator_loss(fake).item() == pytest.approx(1.5)
    assert WASSERSTEIN.discriminator_loss(real, fake).item() == pytest.approx(-1.5 - 1.25)
    assert WASSERSTEIN.generator_loss(fake).item() == pytest.approx(1.5)
    shifted = WASSERSTEIN.discriminator_loss(real + 7, fake + 7)
    torch.testing.assert_close(shifted, WASSERSTEIN.discriminator_loss(real, fake))


def test_smoothing_moves_the_target_of_real_images_and_that_alone():
    real, fake = torch.randn(2, 9)
    bce = nn.BCEWithLogitsLoss()
    expected = bce(real, torch.full((9,), 0.9)) + bce(fake, torch.zeros(9))
    torch.testing.assert_close(NON_SATURATING.with_label_smoothing(0.1).discriminator_loss(real, fake), expected)
    smooth = least_squares(-1.0, 1.0, 0.0).with_label_smoothing(0.25)
    assert smooth.discriminator_loss(torch.full((1,), 0.5), torch.full((1,), -1.0)).item() == pytest.approx(0)
    assert smooth.generator_loss(torch.zeros(1)).item() == 0
    assert HINGE.with_label_smoothing(0.0) is HINGE


@pytest.mark.parametrize("objective", [HINGE, WASSERSTEIN])
def test_a_loss_without_targets_cannot_be_smoothed(objective):
    with pytest.raises(InputError, match=r"model.label_smoothing is 0.1"):
        objective.with_label_smoothing(0.1)
    with pytest.raises(InputError, match=r"model.label_smoothing is 1.5"):
        NON_SATURATING.with_label_smoothing(1.5)


def linear_critic(weight: torch.Tensor):
    return lambda images: (images * weight).sum((1, 2, 3)) + 3


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_penalties_of_a_linear_critic(seed):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(2, 4, 5, generator=generator)
    real, fake = torch.randn(2, 6, 2, 4, 5, generator=generator)
    critic = linear_critic(weight)
    torch.testing.assert_close(gradient_penalty(critic, real, fake), (weight.norm() - 1).square())
    torch.testing.assert_close(r1_penalty(critic, real), weight.square().sum())


def test_the_penalised_points_lie_between_pairs_and_packs_share_theirs():
    real, fake = torch.rand(8, 1, 4, 4) + 5, -torch.rand(8, 1, 4, 4) - 5
    seen = []

    def critic(images):
        seen.append(images.detach())
        return images.flatten(1).sum(1).reshape(-1, 2).sum(1)

    gradient_penalty(critic, real, fake, packing=2)
    share = (seen[0] - fake) / (real - fake)
    torch.testing.assert_close(share, share[:, :, :1, :1].expand_as(share))
    share = share[:, 0, 0, 0]
    torch.testing.assert_close(share[0::2], share[1::2])
    assert len(share[0::2].unique()) == 4
    assert share.min() >= 0
    assert share.max() <= 1
    # a pack's gradient is one vector over all of its images: here of ones
    assert image_gradients(critic, real).shape == (4, 2 * 16)
    assert gradient_penalty(critic, real, fake, packing=2).item() == pytest.approx((math.sqrt(32) - 1) ** 2, rel=1e-5)


def test_a_penalty_trains_the_critic_and_is_finite_where_its_gradient_is_zero():
    layer = nn.Linear(16, 1)
    nn.init.zeros_(layer.weight)
    gradient_penalty(lambda x: layer(x.flatten(1))[:, 0], torch.rand(4, 1, 4, 4), torch.rand(4, 1, 4, 4)).backward()
    assert torch.isfinite(layer.weight.grad).all()
    weight = torch.randn(1, 4, 4, requires_grad=True)
    r1_penalty(linear_critic(weight), torch.rand(3, 1, 4, 4)).backward()
    torch.testing.assert_close(weight.grad, 2 * weight.detach())


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_kl_and_log_ratio_against_torch_distributions(seed):
    generator = torch.Generator().manual_seed(seed)
    mean, log_var = torch.randn(2, 5, 3, generator=generator).double()
    q = Normal(mean, (0.5 * log_var).exp())
    expected = kl_divergence(q, Normal(torch.zeros_like(mean), torch.ones_like(mean)))
    torch.testing.assert_close(Posterior(mean, log_var).kl(), expected)
    latents = torch.randn(7, 5, 3, generator=generator).double()
    expected = (Normal(0.0, 1.0).log_prob(latents) - q.log_prob(latents)).sum(2)
    torch.testing.assert_close(Posterior(mean, log_var).log_ratio(latents), expected)


def test_softplus_and_its_derivatives_are_those_of_torch():
    values = torch.cat([torch.linspace(-100, 100, 4001), torch.tensor([0.0, -math.inf, math.inf])])
    expected = nn.functional.softplus(values.double()).float()
    torch.testing.assert_close(softplus(values), expected, rtol=1e-6, atol=1.2e-7)
    assert softplus(torch.tensor(math.nan)).isnan()
    points = torch.tensor([-30.0, -1.0, 0.0, 0.3, 40.0], dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(softplus(points), nn.functional.softplus(points), rtol=1e-12, atol=1e-15)
    assert torch.autograd.gradcheck(softplus, points)
    assert torch.autograd.gradgradcheck(softplus, points)
    (derivative,) = torch.autograd.grad(softplus(points).sum(), points)
    assert derivative[2] == 0.5


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_likelihoods_are_sums_per_image(seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(4, 3, 2, 2, generator=generator).double()
    bits = torch.rand(4, 3, 2, 2, generator=generator).round().double()
    expected = Bernoulli(logits=logits).log_prob(bits).sum((1, 2, 3))
    torch.testing.assert_close(bernoulli_log_likelihood(logits, bits), expected)
    log_sigma = torch.tensor(-0.7).double()
    expected = Normal(logits, log_sigma.exp()).log_prob(bits).sum((1, 2, 3))
    torch.testing.assert_close(gaussian_log_likelihood(logits, log_sigma, bits), expected)
