"""Writes the folder of an exported model, whole or not at all."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from lightning_gen.data import ImageData
from lightning_gen.errors import InputError
from lightning_gen.evaluation.card import package_versions
from lightning_gen.export.onnx import export_onnx
from lightning_gen.export.pictures import write_pictures
from lightning_gen.hashing import file_hash
from lightning_gen.models.exported import save_exported
from lightning_gen.models.hub import card_facts
from lightning_gen.models.model_card import model_card

LOCAL_OPTIONS = ("root",)
"""Options of the data module that are paths of the machine of training, and are not exported."""


def write_export(
    model: Any,
    folder: Path,
    *,
    data: ImageData | None = None,
    data_options: Mapping[str, Any] | None = None,
    score_files: Sequence[Path] = (),
    onnx: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Write weights, configuration, pictures, score cards and model card to a folder.

    Args:
        model: the model, on the CPU; what it samples with, averaged or trained weights, is exported.
        folder: the folder, which is empty or does not exist.
        data: the data that the model was trained with; None where it is unknown.
        data_options: the options of that data module.
        score_files: JSON files of score cards.
        onnx: whether to write an ONNX file, too.
        seed: seed of the samples.

    Returns:
        The configuration.

    Raises:
        InputError: if the folder cannot be written, or the network cannot be exported to ONNX.
    """
    options = {name: value for name, value in (data_options or {}).items() if name not in LOCAL_OPTIONS}
    with whole(folder) as place:
        entries: dict[str, Any] = {"data": options, "versions": package_versions()}
        if onnx:
            entries["onnx"] = export_onnx(model, place)
        config = save_exported(model, place, entries)
        cards = []
        for path in score_files:
            (place / "scores").mkdir(exist_ok=True)
            shutil.copyfile(path, place / "scores" / path.name)
            cards.append(json.loads(path.read_text(encoding="utf-8")))
        facts = card_facts(model)._replace(
            data=options.get("name"),
            scores=cards,
            pictures=write_pictures(model, data, place, seed),
            onnx=entries.get("onnx"),
        )
        (place / "README.md").write_text(model_card(config, facts), encoding="utf-8")
    return config


def score_files_of(run: Path, checkpoint: Path, images_seen: int, weights: str) -> list[Path]:
    """The score cards of a checkpoint among those of its run: of the command evaluate, and of training.

    Args:
        run: the run's folder.
        checkpoint: the checkpoint.
        images_seen: the number of training images of the checkpoint.
        weights: ``ema`` or ``raw``; cards of the other weights are left out.

    Returns:
        The files, in the order of their names.
    """
    own_hash = file_hash(checkpoint)
    found = []
    for path in sorted((run / "evaluation").glob("*.json")):
        try:
            card = json.loads(path.read_text(encoding="utf-8"))
            is_own = (
                card["checkpoint_hash"] == own_hash
                if card["checkpoint_hash"] is not None
                else card["images_seen"] == images_seen
            )
            if is_own and card["weights"] in (weights, None) and card["scores"] and card["protocol"]:
                found.append(path)
        except (OSError, ValueError, KeyError, TypeError):  # no score card
            continue
    return found


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """Write a folder beside its place and move it there when the block succeeds.

    Args:
        folder: the folder, which is empty or does not exist.

    Yields:
        The temporary folder.

    Raises:
        InputError: if the folder cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        place = Path(mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror or error}; choose a writable folder") from None
    try:
        yield place
        place.chmod(0o755)
        if folder.is_dir():
            folder.rmdir()
        place.rename(folder)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror or error}; choose a writable folder") from None
    finally:
        shutil.rmtree(place, ignore_errors=True)
