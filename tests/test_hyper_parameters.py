"""Every numeric hyper-parameter of every model refuses NaN, infinity, nonsense signs and sizes in one line."""

import inspect
import math
import time
from typing import Any

import pytest
import torch
from jsonargparse._parameter_resolvers import get_signature_parameters
from torch import nn

from lightning_gen import memory
from lightning_gen.checks import LARGEST, check_numbers
from lightning_gen.errors import InputError
from lightning_gen.memory import build_within_memory, machine_memory
from lightning_gen.models import DCGAN, DDPM, VAE
from tests.cases import CASES, Case

SIGNED = {"ada_target", "level_mean", "logit_mean"}
"""Hyper-parameters for which -1 makes sense."""
SIZES = {
    "latent_dim",
    "width",
    "style_dim",
    "code_dim",
    "codebook_size",
    "hidden",
    "prior_width",
    "discriminator_width",
}
ALL_CASES = pytest.mark.parametrize("case", CASES, ids=lambda case: case.model.__name__)


def numeric(case: Case) -> dict[str, str]:
    """The types of the hyper-parameters that are numbers, or sequences or mappings of numbers."""
    return {
        parameter.name: kind
        for parameter in get_signature_parameters(case.model)
        if ("int" in (kind := str(parameter.annotation)) or "float" in kind)
        and "Literal" not in kind
        and "shape" not in parameter.name
    }


def filled(kind: str, value: float) -> Any:
    """A value of a type whose numbers are all the same."""
    if "dict" in kind:
        return {"3": value}
    return (value,) * (1 if "..." in kind else 2) if "tuple" in kind else value


def refusal(case: Case, name: str, value: Any) -> str:
    with pytest.raises(InputError) as raised:
        case.build(**{name: value})
    message = str(raised.value)
    assert "\n" not in message
    assert len(message) < 300
    return message


@ALL_CASES
def test_every_number_must_be_finite(case):
    for name, kind in numeric(case).items():
        for value in (math.nan, math.inf, -math.inf) if "float" in kind else (LARGEST + 1, -LARGEST - 1, 2**70):
            assert name in refusal(case, name, filled(kind, value))


@ALL_CASES
def test_a_negative_number_is_refused_unless_it_makes_sense(case):
    for name, kind in numeric(case).items():
        if name not in SIGNED:
            refusal(case, name, filled(kind, -1))


@ALL_CASES
def test_learning_rates_are_positive_and_decays_below_one(case):
    for name, kind in numeric(case).items():
        if name.endswith("lr"):
            assert f"model.{name} is 0" in refusal(case, name, filled(kind, 0.0))
        if name in ("beta1", "beta2"):
            assert f"model.{name} is 1" in refusal(case, name, filled(kind, 1.0))


@ALL_CASES
def test_sizes_that_no_machine_holds_are_refused_within_seconds(case):
    start = time.monotonic()
    for name in SIZES & numeric(case).keys():
        if name == "hidden" and "hidden" not in case.tiny | case.variants[0]:
            continue  # the widths of another network
        if name == "width" and case.model.__name__ == "GAN":
            continue
        refusal(case, name, (10**9,) if name == "hidden" else 10**9)
    assert time.monotonic() - start < 20


def test_a_count_of_layers_is_bounded():
    with pytest.raises(InputError, match=r"model.depth is 1000000000; it must be at most 1,000"):
        DDPM((1, 16, 16), network="dit", depth=10**9)


def test_image_shapes_that_no_machine_holds_are_refused():
    with pytest.raises(InputError, match="VAE is too large to build"):
        VAE((1, 100_000, 100_000), network="mlp")


def test_positional_arguments_are_checked():
    with pytest.raises(InputError, match=r"model\.image_shape is 0"):
        DCGAN((0, 16, 16))
    with pytest.raises(InputError, match=r"model\.latent_dim is -3"):
        DCGAN((1, 16, 16), latent_dim=-3)


def test_the_signature_of_a_model_stays_that_of_its_constructor():
    parameters = inspect.signature(VAE).parameters
    assert "self" not in parameters
    assert [*parameters] == [*inspect.signature(VAE.__init__).parameters][1:]


def test_numbers_are_found_in_sequences_and_mappings():
    check_numbers({"a": [1, 2.0, (3,)], "b": {"c": 4.0}, "d": "nan", "e": None, "f": True})
    for value in ([1, math.nan], {"c": {"d": math.inf}}, (0.0, -math.inf), {math.nan}):
        with pytest.raises(InputError, match=r"data\.b"):
            check_numbers({"a": 1, "b": value}, prefix="data.")


def test_a_large_network_has_the_weights_of_one_that_was_not_measured(monkeypatch):
    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(20, 30), nn.Dropout(), nn.Linear(30, 40))

    torch.manual_seed(0)
    expected = build().state_dict()
    monkeypatch.setattr(memory, "SMALL_BYTES", 3000)
    torch.manual_seed(0)
    network = build_within_memory(build, "it")
    assert all(value.device.type == "cpu" for value in network.state_dict().values())
    torch.testing.assert_close(network.state_dict(), expected, rtol=0, atol=0)


def test_a_network_that_the_meta_device_cannot_build_is_built_or_refused_nevertheless(monkeypatch):
    def build(side: int) -> nn.Module:
        network = nn.Linear(side, side)
        float(network.weight.sum())  # a meta tensor has no values
        return network

    monkeypatch.setattr(memory, "SMALL_BYTES", 1)
    assert build_within_memory(lambda: build(3), "it").in_features == 3
    with pytest.raises(InputError, match="it is too large to build: its tensors take more than"):
        build_within_memory(lambda: build(10**6), "it")


def test_too_many_tensors_are_refused(monkeypatch):
    monkeypatch.setattr(memory, "MAX_TENSORS", 10)
    with pytest.raises(InputError, match="more than 10 tensors"):
        build_within_memory(lambda: [torch.empty(1) for _ in range(11)], "it")


def test_the_memory_of_a_container_is_its_limit(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "CONTROL_GROUP", limit)
    whole = machine_memory()
    limit.write_text("max")
    assert machine_memory() == whole
    limit.write_text("1000000")
    assert machine_memory() == 1_000_000 < whole
