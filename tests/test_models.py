"""The battery of tests that every model passes: every check for every row of cases.py."""

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import yaml
from torch.utils import _pytree as pytree

from lightning_gen import models
from lightning_gen.models.adversarial import AdversarialModule, frozen
from lightning_gen.models.base import GenerativeModule
from lightning_gen.models.checkpoint import load_model
from lightning_gen.noise import image_generators
from lightning_gen.types import (
    Batch,
    Decoder,
    Encoder,
    ImageGenerator,
    LatentGenerator,
    Reconstructor,
    Translator,
    TwoWayTranslator,
)
from tests.cases import CASES, Case
from tests.helpers import SaveEpochs, StopAt, loader, on_ranks, trainer

ROOT = Path(__file__).parent.parent
CONFIGS = ROOT / "configs"
ROWS = [pytest.param(case, i, id=f"{case.model.__name__}-{i}") for case in CASES for i in range(len(case.variants))]
battery = pytest.mark.parametrize(("case", "variant"), ROWS)


def output(model: GenerativeModule) -> torch.Tensor:
    """What a model makes from a fixed seed, by whatever capability it has."""
    if isinstance(model, ImageGenerator):
        return model.sample(5, generator=image_generators(3, range(5)))
    if isinstance(model, Translator):
        inputs = next(iter(loader(size=5, shape=model.input_shape))).images
        generators = image_generators(3, range(5))
        back = [model.translate_back(inputs, generator=generators)] if isinstance(model, TwoWayTranslator) else []
        return torch.cat([model.translate(inputs, generator=generators), *back])
    assert isinstance(model, Reconstructor)
    return model.reconstruct(next(iter(loader(size=5))).images)


def fitted(case: Case, variant: int, **options) -> tuple[GenerativeModule, pl.Trainer]:
    pl.seed_everything(0)
    model = case.build(variant)
    fit = trainer(**options)
    fit.fit(model, case.loader(variant))
    return model, fit


@battery
def test_a_step_trains_every_parameter_and_logs_the_rows_terms(case, variant):
    model, fit = fitted(case, variant, log_every_n_steps=1)
    assert {name.removeprefix("loss/") for name in fit.logged_metrics} == case.terms_of(variant) | {"images_seen"}
    assert all(torch.isfinite(value) for value in fit.logged_metrics.values())
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert trained
    for name, parameter in trained.items():
        assert torch.isfinite(parameter).all(), name
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name
    pl.seed_everything(0)
    before = case.build(variant).state_dict()
    unchanged = [name for name, p in trained.items() if torch.equal(p, before[name])]
    assert not unchanged, f"never trained: {unchanged}"


@battery
def test_each_players_loss_reaches_only_its_player(case, variant):
    model = case.build(variant)
    if not isinstance(model, AdversarialModule):
        pytest.skip("one player")
    batch = next(iter(case.loader(variant)))
    players = {"generator": model.generators(), "discriminator": model.discriminators()}

    def reached() -> set[str]:
        return {
            player
            for player, networks in players.items()
            if any(p.grad is not None and p.grad.any() for network in networks for p in network.parameters())
        }

    fakes = model.generate(batch)
    model.discriminator_loss(batch, pytree.tree_map(torch.detach, fakes)).total.backward()
    assert reached() == {"discriminator"}
    model.zero_grad()
    with frozen(model.discriminators()):
        model.generator_loss(batch, fakes).total.backward()
    assert reached() == {"generator"}
    assert all(p.requires_grad for networks in players.values() for network in networks for p in network.parameters())


@battery
def test_output_has_the_images_shape_and_range(case, variant):
    for i, side in enumerate(case.sides):
        shape = (1 + 2 * (i % 2), side, side)
        model = case.build(variant, image_shape=shape)
        real = torch.rand(3, *shape) * 2 - 1
        if isinstance(model, Translator):
            images = model.translate(torch.rand(3, *model.input_shape) * 2 - 1)
        else:
            images = model.sample(3) if isinstance(model, ImageGenerator) else model.reconstruct(real)
        assert images.shape == (3, *shape)
        assert images.dtype == torch.float32
        assert images.min() >= -1
        assert images.max() <= 1
        assert not images.requires_grad


@battery
def test_samples_are_reproducible_and_know_no_batch_mates(case, variant):
    model, _ = fitted(case, variant)
    if not isinstance(model, ImageGenerator):
        pytest.skip("draws no samples")
    together = model.sample(5, generator=image_generators(3, range(5)))
    assert torch.equal(together, model.sample(5, generator=image_generators(3, range(5))))
    assert not torch.equal(together, model.sample(5, generator=image_generators(4, range(5))))
    alone = torch.cat([model.sample(1, generator=image_generators(3, [i])) for i in range(5)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=2e-5)
    one = model.sample(5, generator=torch.Generator().manual_seed(1))
    assert torch.equal(one, model.sample(5, generator=torch.Generator().manual_seed(1)))


@battery
def test_making_images_leaves_modes_and_the_running_statistics_alone(case, variant):
    model, _ = fitted(case, variant)
    model.train()
    model.network.eval()
    modes = [module.training for module in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    output(model)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@battery
def test_the_network_is_a_plain_module_and_the_average_a_copy_of_it(case, variant):
    model, _ = fitted(case, variant)
    assert not any(isinstance(module, pl.LightningModule) for module in model.network.modules())
    again = case.build(variant).network
    again.load_state_dict(model.network.state_dict())
    modes = [module.training for module in model.modules()]
    with model.inference_network() as network:
        assert network is (model.ema.module if model.ema else model.network)
        assert type(network) is type(again)
        assert not any(module.training for module in network.modules())
        assert not torch.is_grad_enabled()
    assert [module.training for module in model.modules()] == modes
    model.use_ema = False
    with model.inference_network() as network:
        assert network is model.network


@battery
def test_checkpoint_gives_the_same_images(case, variant, tmp_path):
    model, fit = fitted(case, variant)
    fit.save_checkpoint(tmp_path / "a.ckpt")
    saved = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert saved["hyper_parameters"].keys() >= {"image_shape", *case.tiny, *case.variants[variant]}
    for again in (
        load_model(tmp_path / "a.ckpt"),
        case.model.load_from_checkpoint(tmp_path / "a.ckpt", weights_only=True),
    ):
        assert again.images_seen == model.images_seen == 32
        assert torch.equal(output(again), output(model))


@battery
def test_resuming_equals_never_having_stopped(case, variant, tmp_path):
    """From the end of an epoch of a run of steps to within the next epoch, and from there to the end."""
    saves = SaveEpochs(tmp_path)
    pl.seed_everything(7)
    whole = case.build(variant)
    trainer(max_steps=8, max_epochs=-1, callbacks=[saves]).fit(whole, case.loader(variant))
    pl.seed_everything(99)
    stopped = trainer(max_steps=8, max_epochs=-1, callbacks=[saves, StopAt(6)])
    stopped.fit(case.build(variant), case.loader(variant), ckpt_path=tmp_path / "end4.ckpt", weights_only=True)
    pl.seed_everything(98)
    last = case.build(variant)
    trainer(max_epochs=2).fit(last, case.loader(variant), ckpt_path=tmp_path / "end6.ckpt", weights_only=True)
    assert last.images_seen == whole.images_seen == 64
    for name, value in whole.state_dict().items():
        assert torch.equal(value, last.state_dict()[name]), name


@battery
def test_progress_is_counted_in_batches_and_images(case, variant, tmp_path):
    checkpoints = pl.callbacks.ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=3, save_top_k=-1)
    model, fit = fitted(case, variant, max_steps=7, max_epochs=-1, enable_checkpointing=True, callbacks=[checkpoints])
    assert fit.global_step == 7
    assert model.batches_seen == 7
    assert model.images_seen == 56
    assert {path.name for path in tmp_path.glob("*.ckpt")} == {"step=3.ckpt", "step=6.ckpt"}


@battery
def test_validation_repeats_itself(case, variant):
    model = case.build(variant)
    if type(model).validation_step is pl.LightningModule.validation_step:
        pytest.skip("no held-out loss")
    fit = trainer()
    [first] = fit.validate(model, case.loader(variant), verbose=False)
    torch.rand(3)
    [second] = fit.validate(model, case.loader(variant), verbose=False)
    assert first == second
    assert {name.removeprefix("val_loss/") for name in first} == case.terms_of(variant) | {"images_seen"}


@battery
def test_mixed_precision_stays_finite(case, variant):
    model, _ = fitted(case, variant, precision="bf16-mixed", max_epochs=2)
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    assert output(model).dtype == torch.float32


def train_all_on_ranks(rank: int) -> dict[str, dict]:
    return {
        f"{case.model.__name__}-{i}": train_on_ranks(case, i, rank) for case in CASES for i in range(len(case.variants))
    }


def train_on_ranks(case: Case, variant: int, rank: int) -> dict:
    pl.seed_everything(0)
    model = case.build(variant)
    noise: list[torch.Tensor] = []
    step = model.training_step

    def recording(batch: Batch, batch_idx: int):
        loss = step(batch, batch_idx)
        noise.append(torch.randn(4))  # goes on with the stream that the step drew from
        return loss

    model.training_step = recording
    fit = trainer(strategy="ddp", devices=2, use_distributed_sampler=False)
    fit.fit(model, case.loader(variant, first=4 * rank))
    return {
        "state": model.state_dict(),
        "noise": torch.stack(noise),
        "images_seen": model.images_seen,
        "global_step": fit.global_step,
        "output": output(model),
    }


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory) -> list[dict[str, dict]]:
    return on_ranks(train_all_on_ranks, tmp_path_factory.mktemp("ranks"))


@battery
def test_two_processes_agree_on_weights_and_differ_in_noise(case, variant, two_processes):
    first, second = (results[f"{case.model.__name__}-{variant}"] for results in two_processes)
    for name, value in first["state"].items():
        equal = torch.equal(value, second["state"][name])
        assert equal != name.startswith(case.per_rank) if case.per_rank else equal, name
    assert torch.equal(first["output"], second["output"])
    noise = torch.cat([first["noise"], second["noise"]])
    assert len(noise.unique(dim=0)) == 8
    assert first["images_seen"] == second["images_seen"] == 64
    assert first["global_step"] == 4


@battery
def test_translations_know_no_batch_mates_and_take_any_size(case, variant):
    model, _ = fitted(case, variant)
    if not isinstance(model, Translator):
        pytest.skip("translates no images")
    channels, side, _ = model.input_shape
    inputs = next(iter(loader(size=3, shape=(channels, side + 3, side - 1)))).images
    together = model.translate(inputs, generator=image_generators(3, range(3)))
    assert together.shape == (3, *model.image_shape[:1], (side + 3) * model.scale, (side - 1) * model.scale)
    assert torch.equal(together, model.translate(inputs, generator=image_generators(3, range(3))))
    alone = torch.cat([model.translate(inputs[i : i + 1], generator=image_generators(3, [i])) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_every_capability_is_had_by_some_model():
    models = [case.build() for case in CASES]
    for capability in (ImageGenerator, Reconstructor, Encoder, Decoder, LatentGenerator):
        assert any(isinstance(model, capability) for model in models)
    autoencoder = CASES[0].build()
    assert isinstance(autoencoder, Reconstructor)
    assert not isinstance(autoencoder, ImageGenerator)


def test_every_model_and_every_config_has_a_row():
    rows = {case.model for case in CASES}
    found: set[type] = set()
    stack = [GenerativeModule]
    while stack:
        subclasses = stack.pop().__subclasses__()
        found.update(c for c in subclasses if c.__module__.startswith("lightning_gen."))
        stack += subclasses
    bases = {base for model in found for base in model.__mro__[1:]}
    assert found - bases == rows
    assert {value for value in vars(models).values() if isinstance(value, type)} == rows
    files = {path.stem for path in CONFIGS.glob("*.yaml")}
    assert files == {name for case in CASES for name in case.configs}
    for case in CASES:
        for name in case.configs:
            config = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
            assert config["model"]["class_path"] == case.model.__name__
