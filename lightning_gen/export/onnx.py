"""Export of a network to ONNX, by torch.export or TorchScript, and its check against PyTorch at two batch sizes."""

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lightning_gen.errors import InputError
from lightning_gen.inference import isolated_inference
from lightning_gen.types import (
    Decoder,
    Encoder,
    IterativeModel,
    LatentGenerator,
    Reconstructor,
    Translator,
)

FILE = "model.onnx"
INSTALL = 'pip install "lightning_gen[onnx]"'
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TRACED_BATCH = 2
CHECKED_BATCHES = (1, 5)
"""The batch sizes of the check; both differ from that of the export."""
LARGEST_DIFFERENCE = 1e-2
"""The largest valid difference of a pixel in [-1, 1]."""
MAX_BATCH = 4096
OUTPUT = "images"
TRACED_OPSET = 18
CONSOLE = (1, 2)
"""The file descriptors of standard output and standard error."""
Inputs = dict[str, Tensor]


class Part(nn.Module):
    """The part of a model that is exported.

    Args:
        network: the network object, whose weights are exported.
        function: maps the inputs, in their order, to images.
    """

    def __init__(self, network: nn.Module, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.network, self.function = network, function

    def forward(self, *inputs: Tensor) -> Tensor:
        """The images."""
        return self.function(*inputs)


class Exported(NamedTuple):
    """What is exported of a model.

    Attributes:
        name: ``generator``, ``decoder``, ``denoiser`` or ``translator``.
        function: maps inputs to images.
        inputs: makes example inputs for a batch size.
    """

    name: str
    function: Callable[..., Tensor]
    inputs: Callable[[int], Inputs]


def exported_part(model: Any, network: nn.Module) -> Exported:
    """Choose what is exported: the denoiser of an iterative model, a translator, else what decodes latents.

    Args:
        model: the model.
        network: its network object.

    Returns:
        The part.

    Raises:
        InputError: if the model has none of these.
    """
    shape, num_classes = model.image_shape, model.num_classes
    if isinstance(model, IterativeModel):

        def noisy(num: int) -> Inputs:
            inputs = {"noisy": torch.randn(num, *shape), "times": torch.full((num,), denoiser_time(model))}
            if isinstance(model, Translator):
                return inputs | {"condition": torch.rand(num, model.input_shape[0], *shape[1:]) * 2 - 1}
            if num_classes:
                classes = nn.functional.one_hot(torch.arange(num) % num_classes, num_classes)
                return inputs | {"classes": classes.float()}
            return inputs

        return Exported("denoiser", lambda *inputs: network(*inputs), noisy)
    if isinstance(model, Translator):
        return Exported(
            "translator", model.translate, lambda num: {"inputs": torch.rand(num, *model.input_shape) * 2 - 1}
        )
    if isinstance(model, LatentGenerator):
        name = "decoder" if isinstance(model, Reconstructor) else "generator"
        return Exported(name, model.decode, lambda num: {"latents": model.sample_latents(num)})
    if isinstance(model, Decoder) and isinstance(model, Encoder):
        return Exported("decoder", model.decode, lambda num: {"latents": model.encode(torch.rand(num, *shape) * 2 - 1)})
    raise InputError(f"{type(model).__name__} has no generator, decoder, denoiser or translator to export to ONNX")


def denoiser_time(model: Any) -> float:
    """A time of the noise process between noise and image."""
    times = model.all_timesteps()
    return float(times[len(times) // 2])


def export_onnx(model: Any, folder: Path) -> dict[str, Any]:
    """Write ``model.onnx``, for any batch size, and compare it with PyTorch on the CPU.

    Args:
        model: the model, on the CPU.
        folder: the folder.

    Returns:
        The entry ``onnx`` of the configuration: file, part, inputs with their shapes, and the largest difference of a
        pixel in [-1, 1] by batch size.

    Raises:
        InputError: if a package is missing, or the network cannot be exported or computes something else.
    """
    for name in PACKAGES:
        try:
            import_module(name)
        except ImportError:
            raise InputError(f"--onnx needs the package {name}: {INSTALL}") from None
    name, path = type(model).__name__, folder / FILE
    with isolated_inference(model, seed=0), model.inference_network() as network:
        part = exported_part(model, network)
        module = Part(network, part.function).eval()
        inputs = part.inputs(TRACED_BATCH)
        failures: list[str] = []
        for write in (write_by_export, write_by_trace):
            try:
                with quietly():
                    write(module, inputs, path)
                    differences = {num: compare(path, module, part.inputs(num)) for num in CHECKED_BATCHES}
            except Exception as error:  # exporters and runtime raise whatever their passes do
                failures.append(deepest_line(error))
                continue
            largest = max(differences.values())
            if largest <= LARGEST_DIFFERENCE:
                break
            failures.append(f"its images differ from PyTorch's by {largest:.2g}, above {LARGEST_DIFFERENCE:g}")
        else:
            raise InputError(f"{name} cannot be exported to ONNX ({failures[0]}); leave out --onnx")
    return {
        "file": FILE,
        "part": part.name,
        "inputs": {name: ["batch", *value.shape[1:]] for name, value in inputs.items()},
        "largest_difference": largest,
        "differences": {str(num): value for num, value in differences.items()},
    }


def write_by_export(module: nn.Module, inputs: Inputs, path: Path) -> None:
    """Write a module to an ONNX file by ``torch.export``, for any batch size."""
    batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
    program = torch.onnx.export(
        module,
        tuple(inputs.values()),
        dynamo=True,
        dynamic_shapes=(tuple({0: batch} for _ in inputs),),
        input_names=[*inputs],
        output_names=[OUTPUT],
    )
    assert program is not None
    program.save(path)


def write_by_trace(module: nn.Module, inputs: Inputs, path: Path) -> None:
    """Write a module to an ONNX file by TorchScript, which exports BatchNorm with PyTorch before 2.7, too."""
    names = [*inputs]
    torch.onnx.export(
        module,
        tuple(inputs.values()),
        path,
        dynamo=False,
        opset_version=TRACED_OPSET,
        input_names=names,
        output_names=[OUTPUT],
        dynamic_axes={name: {0: "batch"} for name in (*names, OUTPUT)},
    )


def compare(path: Path, module: nn.Module, inputs: Mapping[str, Tensor]) -> float:
    """The largest difference between the outputs of an ONNX file, run by onnxruntime, and of a module.

    Args:
        path: the file.
        module: the module.
        inputs: inputs by name.

    Returns:
        The largest absolute difference.
    """
    session = import_module("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    [output] = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    return float((torch.from_numpy(output) - module(*inputs.values())).abs().max())


def deepest_line(error: BaseException) -> str:
    """The first sentence of the error that caused an error, at most 160 characters."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return lines[0].split(". ")[0][:160] if lines else type(error).__name__


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Silence the exporters, which report their steps and their graphs, also from C++, and warn about themselves.

    Yields:
        Nothing.
    """
    console, disabled = io.StringIO(), logging.root.manager.disable
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(descriptor) for descriptor in CONSOLE]
    logging.disable(logging.ERROR)
    try:
        with Path(os.devnull).open("w") as nowhere:
            for descriptor in CONSOLE:
                os.dup2(nowhere.fileno(), descriptor)
        with warnings.catch_warnings(), contextlib.redirect_stdout(console), contextlib.redirect_stderr(console):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        for descriptor, copy in zip(CONSOLE, saved, strict=True):
            os.dup2(copy, descriptor)
            os.close(copy)
