"""Two processes with half a batch each train as one process with the whole batch.

Noise in training is a function of (seed, rank, batch). Here each rank draws the noise of the whole batch and takes the
rows of its own images, which are every second image of the batch (see ``data/loader.py``).
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from lightning_gen.data import ImageData
from lightning_gen.models import EDM, R1GAN, SNGAN, VAE, VQVAE, WGANGP, CycleGAN, Pix2Pix, StyleGAN2
from lightning_gen.models import base as models_base
from lightning_gen.models.base import GenerativeModule
from lightning_gen.networks.vq import VectorQuantiser
from lightning_gen.noise import mix_seed
from tests.cases import STYLES, UNET
from tests.helpers import on_ranks, trainer

SHAPE, BATCH, STEPS = (1, 16, 16), 16, 20
DENSE = {"network": "mlp", "hidden": (12,), "latent_dim": 6}
TRANSLATOR = {"width": 4, "discriminator_width": 4, "input_shape": SHAPE}
INVERTED = {"inputs": "inverted"}
ADA = {"augment": "ada", "ada_images": 64, "ada_target": 0.0}
CASES: dict[str, tuple[type[GenerativeModule], dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "accumulation and clipping": (
        VAE,
        {**DENSE, "ema_half_life": 50.0, "lr_schedule": "cosine"},
        {},
        {"accumulate_grad_batches": 2, "gradient_clip_val": 0.1},
    ),
    "codebook": (
        VQVAE,
        {"width": 4, "codebook_size": 8, "code_dim": 4, "revive_below": 0.0, "prior_width": 4, "prior_layers": 1},
        {},
        {},
    ),
    "diffusion": (EDM, {**UNET, "ema_half_life": 50.0, "warmup_images": 100}, {}, {"gradient_clip_val": 0.1}),
    "n_critic, penalty, parts": (
        WGANGP,
        {**DENSE, "n_critic": 3, "accumulate": 2, "clip": 0.1, "ema_half_life": 50.0},
        {},
        {},
    ),
    "ADA, lazy penalty": (R1GAN, {**DENSE, **ADA, "penalty_every": 3, "discriminator_norm": "none"}, {}, {}),
    "spectral norm": (SNGAN, {**DENSE, "lr_schedule": "linear", "instance_noise": 0.1}, {}, {}),
    "path length": (
        StyleGAN2,
        {**STYLES, **ADA, "stddev_group": 1, "generator_penalty_every": 2, "penalty_every": 2, "ema_half_life": 50.0},
        {},
        {},
    ),
    "pairs": (Pix2Pix, {**TRANSLATOR, "halvings": 2, "clip": 1.0}, INVERTED, {}),
    "two domains": (
        CycleGAN,
        {**TRANSLATOR, "blocks": 1, "downsamplings": 1, "pool_size": 0},
        {**INVERTED, "paired": False},
        {"precision": "64-true"},
    ),
}


class RowsOfRank(TorchFunctionMode):
    """Random tensors of a batch: the rows of this rank among those of both ranks."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank = rank

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(function, "__name__", "")
        if name in ("randn", "rand") and args and args[0] != ():
            first, *rest = args[0] if isinstance(args[0], tuple | list | torch.Size) else args
            return self.own(function(2 * first, *rest, **kwargs))
        if name in ("randn_like", "rand_like"):
            return self.own(function(torch.cat([args[0], args[0]]), **kwargs))
        if name == "randint" and args[-1] != ():
            *bounds, (first, *rest) = args
            return self.own(function(*bounds, (2 * first, *rest), **kwargs))
        if name == "normal_":
            return args[0].copy_(self.own(torch.cat([args[0], args[0]]).normal_(*args[1:], **kwargs)))
        assert name not in ("bernoulli", "multinomial", "normal", "exponential_", "uniform_", "random_"), name
        return function(*args, **kwargs)

    def own(self, rows: torch.Tensor) -> torch.Tensor:
        return rows[self.rank :: 2].contiguous()


def train(name: str, folder: Path, rank: int | None = None) -> dict[str, Any]:
    """Train a case in this process, alone or as a rank of two."""
    world_size = 1 if rank is None else 2
    model_class, options, data, limits = CASES[name]
    torch.manual_seed(0)
    model = model_class(SHAPE, **options)
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    for module in model.modules():
        if isinstance(module, VectorQuantiser):
            module.initialised.fill_(True)  # otherwise from random vectors of the first batch
    if rank is not None:
        step = model.training_step

        def with_noise_of_rank(*args: Any) -> Any:
            with RowsOfRank(rank):
                return step(*args)

        model.training_step = with_noise_of_rank
    ranks = {"strategy": "ddp", "devices": world_size, "use_distributed_sampler": False} if world_size > 1 else {}
    fit = trainer(
        max_steps=STEPS // limits.get("accumulate_grad_batches", 1),
        max_epochs=-1,
        limit_val_batches=0,
        **ranks,
        **limits,
    )
    images = ImageData(root=str(folder), image_size=16, batch_size=BATCH // world_size, seed=0, **data)
    torch.manual_seed(1)
    fit.fit(model, images)
    return {"state": model.state_dict(), "images_seen": model.images_seen}


def train_all(folder: Path, *, rank: int) -> dict[str, dict[str, Any]]:
    models_base.mix_seed = lambda *parts: mix_seed(*parts[:2], 0, *parts[3:])  # (purpose, seed, rank, batch)
    return {name: train(name, folder, rank) for name in CASES}


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory) -> list[dict[str, dict[str, Any]]]:
    return on_ranks(train_all, tmp_path_factory.mktemp("ranks"), tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_train_as_one_process(name, two_ranks, tmp_path):
    whole = train(name, tmp_path)
    for rank in two_ranks:
        assert rank[name]["images_seen"] == whole["images_seen"] == BATCH * STEPS
        for key, value in whole["state"].items():
            torch.testing.assert_close(rank[name]["state"][key], value, atol=1e-5, rtol=0)
