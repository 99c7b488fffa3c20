"""What is special to each GAN: constraints, penalties, conditions, unrolling, and the remedies on all of them."""

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from jaxtyping import TypeCheckError
from torch import nn
from torch.nn.utils import parametrize
from torch.optim import Adam

from lightning_gen.callbacks.remedies import hyper_parameters
from lightning_gen.data import ImageData
from lightning_gen.errors import InputError
from lightning_gen.evaluation import make_extractor, score_samples
from lightning_gen.models.adversarial import frozen
from lightning_gen.models.gans.acgan import ACGAN
from lightning_gen.models.gans.conditional_gan import ConditionalGAN
from lightning_gen.models.gans.dcgan import DCGAN
from lightning_gen.models.gans.gan import GAN
from lightning_gen.models.gans.latent_gan import LatentGAN
from lightning_gen.models.gans.lsgan import LSGAN
from lightning_gen.models.gans.projection_gan import ProjectionGAN
from lightning_gen.models.gans.r1gan import R1GAN
from lightning_gen.models.gans.sngan import SNGAN
from lightning_gen.models.gans.unrolled_gan import DifferentiableAdam, UnrolledGAN
from lightning_gen.models.gans.wgan import WGAN
from lightning_gen.models.gans.wgan_gp import WGANGP
from lightning_gen.networks.discriminator import ProjectionHead
from lightning_gen.networks.discriminator_inputs import add_noise, label_planes, pack
from lightning_gen.noise import image_generators, integers
from lightning_gen.types import Batch
from tests.cases import CASES, CLASSES, SMALL
from tests.helpers import loader, on_ranks, trainer

SHAPE = (1, 16, 16)
FAMILY = [case for case in CASES if issubclass(case.model, LatentGAN)]
family = pytest.mark.parametrize("case", FAMILY, ids=lambda case: case.model.__name__)


def batch_of(size: int = 8) -> Batch:
    return next(iter(loader(size=size)))


# ---- constraints and penalties


def test_the_critics_weights_stay_in_the_box():
    extremes = []

    class Spy(pl.Callback):
        def on_train_batch_end(self, trainer, module, *args):
            extremes.append(max(p.abs().max().item() for p in module.discriminator.parameters()))

    model = WGAN(SHAPE, **SMALL, weight_clip=0.02, discriminator_lr=0.01)
    trainer(callbacks=[Spy()]).fit(model, loader(12))
    assert max(extremes) <= 0.02
    assert max(extremes) == pytest.approx(0.02)
    assert max(p.abs().max().item() for p in model.generator.parameters()) > 0.02
    assert {type(optimizer).__name__ for optimizer in model.configure_optimizers()} == {"RMSprop"}


def test_the_wasserstein_critics_have_five_turns_and_gradient_penalty_forbids_batch_norm():
    assert WGAN(SHAPE, **SMALL).n_critic == WGANGP(SHAPE, **SMALL).n_critic == 5
    critic = WGANGP(SHAPE, **SMALL).discriminator
    assert not [m for m in critic.modules() if isinstance(m, nn.BatchNorm2d)]


class Spied(R1GAN):
    """Counts its penalties, which it has computed in what type."""

    calls: list

    def discriminator_penalty(self, batch, fakes):
        loss = super().discriminator_penalty(batch, fakes)
        with torch.no_grad():
            self.calls.append((self.batches_seen, self.logits(batch.images, batch.labels).dtype, fakes.dtype))
        return loss


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_lazy_penalties_come_every_kth_batch_in_full_precision(precision):
    model = Spied(SHAPE, **SMALL, penalty_every=3)
    model.calls = []
    trainer(precision=precision).fit(model, loader(8))
    assert model.calls == [(i, torch.float32, torch.float32) for i in (0, 3, 6)]


def test_a_lazy_penalty_has_as_many_times_the_weight():
    torch.manual_seed(0)
    every = R1GAN(SHAPE, **SMALL, penalty_every=1, gamma=2.0)
    third = R1GAN(SHAPE, **SMALL, penalty_every=3, gamma=2.0)
    third.load_state_dict(every.state_dict())
    batch = batch_of()
    once, lazy = every.weighted_penalty(batch, batch.images), third.weighted_penalty(batch, batch.images)
    torch.testing.assert_close(lazy.total, 3 * once.total)
    torch.testing.assert_close(lazy.terms["r1"], once.terms["r1"])
    torch.testing.assert_close(once.total, once.terms["r1"])  # gamma / 2 = 1


def test_the_penalty_is_added_to_the_discriminators_gradient_alone():
    torch.manual_seed(0)
    with_penalty, without = WGANGP(SHAPE, **SMALL, n_critic=1), WGANGP(SHAPE, **SMALL, n_critic=1, penalty_weight=0.0)
    without.load_state_dict(with_penalty.state_dict())
    for model in (with_penalty, without):
        pl.seed_everything(0)
        trainer().fit(model, loader(1))
    assert not torch.equal(with_penalty.discriminator.head.weight, without.discriminator.head.weight)
    assert with_penalty.last_terms.keys() - without.last_terms.keys() == set()


@pytest.mark.parametrize("model", [DCGAN, WGAN])
def test_lazy_penalties_need_a_penalty(model):
    with pytest.raises(InputError, match="has no penalty"):
        model(SHAPE, **SMALL, penalty_every=4)


@pytest.mark.parametrize(
    "case", [c for c in FAMILY if c.model in (WGANGP, R1GAN, SNGAN, ProjectionGAN)], ids=lambda c: c.model.__name__
)
def test_bf16_training_is_finite_over_200_steps(case):
    pl.seed_everything(0)
    model = case.build(0)
    run = trainer(precision="bf16-mixed")
    run.fit(model, loader(200))
    assert run.global_step == 200
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    assert all(torch.isfinite(value) for value in model.last_terms.values())


@pytest.mark.parametrize("network", ["dcgan", "resnet", "mlp"])
def test_every_layer_of_a_spectrally_normalised_discriminator_has_norm_one(network):
    torch.manual_seed(0)
    model = SNGAN(SHAPE, network=network, width=8, latent_dim=6, n_critic=1, minibatch="discrimination")
    trainer().fit(model, loader(60))
    with torch.no_grad():
        for _ in range(500):  # a step of the power method each
            model.logits(batch_of().images, None)
    layers = [m for m in model.discriminator.modules() if parametrize.is_parametrized(m, "weight")]
    assert len(layers) >= 4
    for layer in layers:
        assert torch.linalg.svdvals(layer.weight.flatten(1))[0].item() == pytest.approx(1, abs=1e-2)


# ---- conditions


@pytest.mark.parametrize("model", [ConditionalGAN, ProjectionGAN, ACGAN])
def test_conditional_models_refuse_data_without_labels_and_classes_that_are_not_there(model):
    with pytest.raises(InputError, match=f"{model.__name__} learns from class labels"):
        model(SHAPE, num_classes=0, **SMALL)
    conditional = model(SHAPE, **SMALL, **CLASSES)
    with pytest.raises(InputError, match="0 to 9"):
        conditional.sample(2, labels=torch.tensor([3, 10]))
    with pytest.raises(InputError, match="3 labels for 2 images"):
        conditional.sample(2, labels=torch.tensor([3, 4, 5]))
    with pytest.raises(InputError, match="labels"):
        conditional.generate(Batch(torch.zeros(2, *SHAPE)))


@pytest.mark.parametrize("model", [ConditionalGAN, ProjectionGAN, ACGAN])
def test_the_asked_class_changes_the_image_and_the_noise_stays(model):
    torch.manual_seed(0)
    conditional = model(SHAPE, **SMALL, **CLASSES, n_critic=1)
    trainer().fit(conditional, loader(4))
    generators = partial(image_generators, 3, range(4))
    first = conditional.sample(4, labels=torch.full((4,), 1), generator=generators())
    again = conditional.sample(4, labels=torch.full((4,), 1), generator=generators())
    other = conditional.sample(4, labels=torch.full((4,), 7), generator=generators())
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    latents = conditional.latents_of(torch.tensor([2, 5]), image_generators(3, range(2)))
    torch.testing.assert_close(latents[:, :6], conditional.latents_of(torch.tensor([0, 0]), generators()[:2])[:, :6])
    assert latents[:, 6:].argmax(1).tolist() == [2, 5]


def test_the_training_latents_have_the_batchs_classes():
    model = ConditionalGAN(SHAPE, **SMALL, **CLASSES)
    batch = batch_of()
    assert torch.equal(model.latents_for(batch)[:, 6:].argmax(1), batch.labels)


def test_classes_are_drawn_evenly_and_from_each_images_own_generator():
    drawn = integers(10_000, 10, generator=torch.Generator().manual_seed(0))
    assert drawn.bincount(minlength=10).float().std() < 60
    together = integers(5, 1000, generator=image_generators(1, range(5)))
    alone = torch.cat([integers(1, 1000, generator=image_generators(1, [i])) for i in range(5)])
    assert torch.equal(together, alone)
    with pytest.raises(ValueError, match="2 generators for 3"):
        integers(3, 10, generator=image_generators(1, range(2)))


def test_a_conditional_model_learns_to_draw_what_it_is_asked_for(tmp_path):
    """Trained for real: 19 of 20 samples are of the asked class, by the digits' own classifier."""
    pl.seed_everything(0)
    data = ImageData("digits", root=str(tmp_path), batch_size=64)
    rates = {"generator_lr": 1e-3, "discriminator_lr": 2e-3, "ema_half_life": 5_000}
    model = ACGAN(SHAPE, num_classes=10, width=16, latent_dim=16, class_weight=10.0, **rates)
    trainer(max_epochs=30).fit(model, datamodule=data)
    real = data.image_set("train")
    classifier = make_extractor("classifier", labelled=(real, data.image_set("test")))
    assert score_samples(model, real, classifier, num_samples=500).scores["class_accuracy"] >= 0.95


def test_label_planes_are_one_hot():
    images = torch.randn(3, 2, 4, 4)
    planes = label_planes(images, torch.tensor([0, 2, 1]), 3)
    assert torch.equal(planes[:, :2], images)
    assert torch.equal(planes[:, 2:].mean((2, 3)), torch.eye(3)[[0, 2, 1]])


def test_the_projection_is_the_inner_product_with_the_classs_vector():
    head = ProjectionHead(5, 3)
    features, labels = torch.randn(4, 5), torch.tensor([[0], [2], [1], [2]])
    expected = (
        features @ head.linear.weight[0] + head.linear.bias + (features * head.classes.weight[labels[:, 0]]).sum(1)
    )
    torch.testing.assert_close(head(features, labels)[:, 0], expected)
    torch.testing.assert_close(
        head(features[:1], torch.tensor([[0, 2]])) - head(features[:1], torch.tensor([[0]])),
        (features[0] @ head.classes.weight[2]).reshape(1, 1),
    )


def test_the_auxiliary_classifier_scores_each_image_of_a_pack():
    model = ACGAN(SHAPE, **SMALL, **CLASSES, packing=2)
    batch = batch_of()
    logits, classes = model.logits_and_class_scores(batch.images, batch.labels)
    assert logits.shape == (4,)
    assert classes.shape == (8, 10)
    outputs = model.discriminator_outputs(batch.images, batch.labels)
    torch.testing.assert_close(classes[3], outputs[1, 11:21], atol=1e-4, rtol=1e-3)


# ---- unrolling


def test_differentiable_adam_takes_adams_steps_and_gradients_pass_through():
    torch.manual_seed(0)
    network = nn.Linear(3, 2).double()
    optimizer = Adam(network.parameters(), 0.1, (0.5, 0.9))
    data = torch.randn(5, 3).double()

    def loss(weights):
        return torch.func.functional_call(network, weights, (data,)).square().sum()

    for _ in range(3):  # moments to set out from
        optimizer.zero_grad()
        loss(dict(network.named_parameters())).backward()
        optimizer.step()
    ours = DifferentiableAdam(network, optimizer, 0.0, (0.5, 0.9))
    weights = {name: p.detach().clone().requires_grad_() for name, p in network.named_parameters()}
    start = dict(weights)
    for _ in range(2):
        gradients = torch.autograd.grad(loss(weights), list(weights.values()), create_graph=True)
        weights = ours.step(weights, dict(zip(weights, gradients, strict=True)))
    for _ in range(2):
        optimizer.zero_grad()
        loss(dict(network.named_parameters())).backward()
        optimizer.step()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(weights[name], parameter, atol=1e-7, rtol=1e-6)
    assert torch.autograd.grad(weights["weight"].sum(), start["weight"])[0].abs().sum() > 0


def test_the_unrolled_gradient_against_an_explicit_calculation_of_two_steps():
    """One weight a player: fake = g z, logit = d x; both steps of Adam written out and differentiated numerically."""
    torch.manual_seed(0)
    model = UnrolledGAN(SHAPE, **SMALL, unrolled_steps=2, discriminator_lr=0.05)
    real, noise = torch.rand(8, 1, 1, 1).double() + 1, torch.randn(8, 1, 1, 1).double()

    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.d = nn.Parameter(torch.tensor(0.7).double())

        def forward(self, images, labels=None):
            return (self.d * images).flatten(1)

    model.discriminator = Scale()

    def explicit(g: float) -> float:
        fake, d, mean, square = g * noise.flatten(), torch.tensor(0.7).double(), 0.0, 0.0
        sigmoid = torch.sigmoid
        for step in (1, 2):
            # d/dd of E softplus(-d x) + E softplus(d G)
            x = real.flatten()
            gradient = (-x * sigmoid(-d * x)).mean() + (fake * sigmoid(d * fake)).mean()
            mean, square = 0.5 * mean + 0.5 * gradient, 0.999 * square + 0.001 * gradient**2
            d = d - 0.05 * (mean / (1 - 0.5**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-8)
        return nn.functional.softplus(-d * fake).mean().item()

    g = torch.tensor(0.4).double().requires_grad_()
    loss = model.generator_loss(Batch(real), g * noise)
    assert loss.total.item() == pytest.approx(explicit(0.4), rel=1e-6)
    (gradient,) = torch.autograd.grad(loss.total, g)
    numeric = (explicit(0.4 + 1e-5) - explicit(0.4 - 1e-5)) / 2e-5
    assert gradient.item() == pytest.approx(numeric, rel=1e-4)
    model.unrolled_steps = 0
    (plain,) = torch.autograd.grad(model.generator_loss(Batch(real), g * noise).total, g)
    assert abs(plain.item() - numeric) > 1e-3


def test_unrolling_leaves_the_discriminator_and_its_statistics_alone():
    model = UnrolledGAN(SHAPE, **SMALL, unrolled_steps=2)
    before = {name: value.clone() for name, value in model.discriminator.state_dict().items()}
    batch = batch_of()
    with frozen(model.discriminators()):
        model.generator_loss(batch, model.generate(batch)).total.backward()
    assert all(torch.equal(value, before[name]) for name, value in model.discriminator.state_dict().items())


def test_no_unrolled_step_is_the_ordinary_gan():
    torch.manual_seed(0)
    unrolled, plain = UnrolledGAN(SHAPE, **SMALL, unrolled_steps=0), DCGAN(SHAPE, **SMALL)
    plain.load_state_dict(unrolled.state_dict())
    for model in (unrolled, plain):
        pl.seed_everything(0)
        trainer().fit(model, loader(3))
    # running statistics aside: what the generator's turn sees does not count among the unrolled discriminator's
    for name, value in plain.named_parameters():
        torch.testing.assert_close(unrolled.get_parameter(name), value)


# ---- the remedies


def test_packing_lays_neighbours_side_by_side():
    images = torch.arange(8.0).reshape(4, 2, 1, 1)
    packed = pack(images, 2)
    assert packed.shape == (2, 4, 1, 1)
    assert packed.flatten(1).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert pack(images, 1) is images


@family
def test_packing_that_does_not_divide_the_batch_is_one_line(case):
    model = case.build(0, packing=3)
    with pytest.raises(InputError, match=r"model.packing is 3 and does not divide the batch of 8"):
        trainer().fit(model, loader(1))


@family
def test_the_discriminator_never_sees_an_image_without_its_remedies(case, monkeypatch):
    """Real images, fakes in both turns, penalties and unrolled steps: all go through every view."""
    model = case.build(0, instance_noise=0.3, augment=("translation",), n_critic=1)
    seen, shown = [], []
    model.input_transforms.append(lambda images: shown.append(images.shape) or images + 100)
    body = model.discriminator.body
    forward = body.forward
    monkeypatch.setattr(body, "forward", lambda images: seen.append(images[:, 0].mean().item()) or forward(images))
    trainer().fit(model, loader(1))
    assert len(seen) == len(shown) >= 3
    assert min(seen) > 90


@family
def test_two_time_scales(case):
    model = case.build(0, generator_lr=0.123, discriminator_lr=0.456)
    assert [optimizer.param_groups[0]["lr"] for optimizer in model.configure_optimizers()] == [0.123, 0.456]


def test_instance_noise_fades_over_the_images():
    model = DCGAN(SHAPE, **SMALL, instance_noise=0.5, instance_noise_images=1000)
    images = torch.zeros(64, *SHAPE)
    for images_seen, sigma in ((0, 0.5), (500, 0.25), (1000, 0.0), (5000, 0.0)):
        model.images_seen = images_seen
        assert model.discriminator_input(images, None).std().item() == pytest.approx(sigma, rel=0.05)
    lasting = DCGAN(SHAPE, **SMALL, instance_noise=0.5)
    lasting.images_seen = 10**9
    assert lasting.discriminator_input(images, None).std().item() == pytest.approx(0.5, rel=0.05)
    assert add_noise(images, 0.0) is images


def test_a_discriminator_that_compares_can_tell_a_collapsed_batch():
    """With all images alike, minibatch layers change the logit of an image; without them its batch-mates do not."""
    images = torch.randn(8, *SHAPE)
    alike = images[:1].expand(8, -1, -1, -1)
    for kind, differs in (("none", False), ("discrimination", True), ("stddev", True)):
        torch.manual_seed(0)
        model = DCGAN(SHAPE, **SMALL, discriminator_norm="none", minibatch=kind)
        change = (model.logits(images, None)[0] - model.logits(alike, None)[0]).abs().item()
        assert (change > 1e-5) == differs, kind


def test_label_smoothing_is_for_losses_with_targets():
    for model in (WGAN, WGANGP, SNGAN):
        with pytest.raises(InputError, match=r"model.label_smoothing is 0.1"):
            model(SHAPE, **SMALL, label_smoothing=0.1)
    for model in (GAN, DCGAN, LSGAN, R1GAN, UnrolledGAN):
        assert model(SHAPE, **({} if model is GAN else SMALL), label_smoothing=0.1).label_smoothing == 0.1


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 8, 8), (3, 32, 16)])
@pytest.mark.parametrize("model", [SNGAN, partial(ProjectionGAN, num_classes=10)])
def test_a_size_that_residual_players_cannot_make_is_one_line(model, shape):
    with pytest.raises(InputError, match=f"not {shape[1]} x {shape[2]}; set data.image_size"):
        model(shape, **SMALL)


@pytest.mark.parametrize(
    ("model", "bad"),
    [
        (DCGAN, {"packing": 0}),
        (DCGAN, {"instance_noise": -1.0}),
        (DCGAN, {"instance_noise_images": 0}),
        (DCGAN, {"penalty_every": 0}),
        (WGAN, {"weight_clip": 0.0}),
        (WGANGP, {"penalty_weight": -1.0}),
        (R1GAN, {"gamma": -1.0}),
        (UnrolledGAN, {"unrolled_steps": -1}),
        (partial(ACGAN, num_classes=10), {"class_weight": 0.0}),
    ],
)
def test_bad_values_are_named(model, bad):
    with pytest.raises(InputError, match=f"model.{next(iter(bad))}"):
        model(SHAPE, **SMALL, **bad)


# ---- synchronised BatchNorm


def test_synchronised_batch_norm_on_the_cpu_is_one_line():
    model = nn.SyncBatchNorm.convert_sync_batchnorm(DCGAN(SHAPE, **SMALL))
    with pytest.raises(InputError, match=r"trainer.sync_batchnorm needs an accelerator"):
        trainer().fit(model, loader(1))


def one_step_with_synchronised_batch_norm(rank: int) -> dict[str, dict]:
    states = {}
    for case in FAMILY:
        pl.seed_everything(0)
        model = case.build(0)
        fit = trainer(accelerator="gpu", strategy="ddp", devices=2, use_distributed_sampler=False, sync_batchnorm=True)
        fit.fit(model, loader(first=4 * rank))
        states[case.model.__name__] = {name: value.cpu() for name, value in model.state_dict().items()}
    return states


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_processes_with_synchronised_batch_norm_agree(tmp_path):
    first, second = on_ranks(one_step_with_synchronised_batch_norm, tmp_path)
    for model, state in first.items():
        for name, value in state.items():
            assert torch.equal(value, second[model][name]), (model, name)


@pytest.mark.parametrize("model", [WGANGP, R1GAN])
def test_a_gradient_penalty_refuses_logits_that_depend_on_the_batch(model):
    with pytest.raises(InputError, match=r"model.minibatch is discrimination"):
        model(SHAPE, **SMALL, minibatch="discrimination")
    with pytest.raises((InputError, TypeCheckError), match="discriminator_norm"):
        model(SHAPE, **SMALL, discriminator_norm="batch")
    assert "minibatch" not in hyper_parameters(model(SHAPE, **SMALL))
    assert model(SHAPE, **SMALL, minibatch="stddev").minibatch == "stddev"
    assert hyper_parameters(DCGAN(SHAPE, **SMALL))["minibatch"] == "none"
