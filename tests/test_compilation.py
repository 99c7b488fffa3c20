"""Compiled training: the results of eager training, and the same checkpoints."""

import shutil
from functools import partial

import pytest
import torch

from lightning_gen.cli import main
from lightning_gen.errors import InputError
from lightning_gen.models import DCGAN, VAE, WGANGP, Autoencoder, FlowMatching, UnrolledGAN, compilation
from tests.helpers import loader, trainer

SHAPE = (1, 16, 16)
vae = partial(VAE, SHAPE, latent_dim=4, network="mlp", hidden=(16,))
gan_options = {"network": "mlp", "latent_dim": 4, "hidden": (16,)}
needs_compiler = pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler")


def fitted(make, compiled: bool):
    torch.manual_seed(0)
    model = make()
    model.compile_training = compiled
    trainer().fit(model, loader(3), loader(1))
    return model


def check_equal(make) -> None:
    eager, compiled = fitted(make, False).state_dict(), fitted(make, True).state_dict()
    assert list(compiled) == list(eager)
    for name, value in eager.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        vae,
        partial(DCGAN, SHAPE, width=4, latent_dim=4, ema_half_life=100),
        partial(WGANGP, SHAPE, **gan_options),
        partial(UnrolledGAN, SHAPE, unrolled_steps=1, **gan_options),
        partial(FlowMatching, SHAPE, network="dit", width=16, depth=1, heads=2, patch=4),
    ],
    ids=["VAE", "DCGAN", "WGANGP", "UnrolledGAN", "FlowMatching"],
)
def test_captured_training_equals_eager_training(make, monkeypatch):
    """The backend captures all graphs, and refuses what the compiler refuses, without generating code."""
    monkeypatch.setattr(compilation, "BACKEND", "aot_eager")
    check_equal(make)


@needs_compiler
def test_compiled_training_equals_eager_training():
    check_equal(partial(Autoencoder, SHAPE, latent_dim=4, network="mlp", hidden=(16,)))


def test_only_calls_of_training_steps_are_compiled(monkeypatch):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(compilation, "BACKEND", backend)
    model = fitted(vae, True)
    in_training = len(graphs)
    assert in_training > 1
    model.sample(3)
    with torch.no_grad(), compilation.eagerly(True):
        model.network.encoder(torch.zeros(5, *SHAPE))
    assert len(graphs) == in_training


def test_a_missing_compiler_is_named(monkeypatch):
    monkeypatch.setattr(compilation, "BACKEND", "missing")
    with pytest.raises(InputError, match=r"--compile needs a working compiler .* leave --compile out"):
        fitted(vae, True)


def test_the_option_and_its_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(compilation, "BACKEND", "aot_eager")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    args = [
        "--model=VAE",
        "--model.network=mlp",
        "--model.hidden=[8]",
        "--data.image_size=8",
        "--fidelity.features=null",
    ]
    args += ["--trainer.max_steps=2", f"--runs={tmp_path}", "--trainer.enable_progress_bar=false"]
    calls = []
    compile_networks = compilation.compile_networks
    monkeypatch.setattr(
        "lightning_gen.models.base.compile_networks",
        lambda *options: calls.append(options) or compile_networks(*options),
    )
    assert main(["fit", "--compile=true", *args]) == 0
    [(_, device, steps_per_update)] = calls
    assert (device.type, steps_per_update) == ("cpu", 1)
    [path] = tmp_path.glob("*/*/checkpoints/last.ckpt")
    names = torch.load(path, weights_only=True)["state_dict"]
    assert not [name for name in names if "_orig_mod" in name]
    assert "network.encoder.layers.0.weight" in names
    assert main(["validate", f"--ckpt_path={path}", *args]) == 0
