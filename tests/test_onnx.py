"""ONNX files of the parts of models, run by onnxruntime."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from lightning_gen.errors import InputError
from lightning_gen.export import onnx
from lightning_gen.export.onnx import export_onnx
from lightning_gen.models import DCGAN, GAN
from tests.cases import CASES

PARTS = {"VAE": "decoder", "SRResNet": "translator", "EDM": "denoiser"}
SMALLER = {"EDM": {"multipliers": (1,), "attention": ()}}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_of_each_kind_computes_what_the_model_computes(name, tmp_path):
    [case] = [case for case in CASES if case.model.__name__ == name]
    model = case.build(0, **SMALLER.get(name, {})).eval()
    with torch.no_grad():  # layers that begin at 0 would hide differences
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    facts = export_onnx(model, tmp_path)
    assert facts["part"] == PARTS[name]
    assert facts["largest_difference"] < 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    inputs = {i.name: torch.rand(3, *i.shape[1:]) for i in session.get_inputs()}
    assert [*inputs] == [*facts["inputs"]]
    [images] = session.run(["images"], {name: value.numpy() for name, value in inputs.items()})
    expected = model.decode(*inputs.values()) if name == "VAE" else model(*inputs.values())
    np.testing.assert_allclose(images, expected.numpy(), atol=1e-4)


class Branching(nn.Module):
    """Its graph depends on its input's values."""

    def forward(self, latents):
        return latents[:, :1, None, None].expand(-1, 1, 16, 16) * (2 if latents.sum() > 0 else 1)


def test_a_network_that_cannot_be_exported_is_one_line(tmp_path, capfd):
    model = DCGAN((1, 16, 16), width=4, latent_dim=6)
    model.network = Branching()
    with pytest.raises(InputError, match=r"^DCGAN cannot be exported to ONNX \([^\n]+\); leave out --onnx$") as raised:
        export_onnx(model, tmp_path)
    assert len(str(raised.value)) < 250
    assert capfd.readouterr() == ("", "")


def test_a_file_that_computes_something_else_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx, "LARGEST_DIFFERENCE", -1.0)
    with pytest.raises(InputError, match=r"^GAN cannot be .* \(its images differ from PyTorch's by "):
        export_onnx(GAN((1, 16, 16), hidden=(12,), latent_dim=6), tmp_path)
