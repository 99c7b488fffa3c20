"""How the Trainer reads, writes and removes the checkpoints of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins import CheckpointIO
from torch import Tensor

from lightning_gen.cache import atomic
from lightning_gen.errors import InputError
from lightning_gen.models.checkpoint import read_checkpoint

FOLDER = "checkpoints"
PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")
SCORES = ("best_model_score", "current_score", "kth_value")


class RunCheckpointIO(CheckpointIO):
    """Writes checkpoints atomically, and reads them without trusting what they contain.

    A checkpoint is written to a temporary file beside its target, flushed to the disk and renamed, so a killed process
    or a full disk leaves the previous one intact; Lightning writes to the system's temporary folder, and a move from
    another file system is a copy. In what is read, the paths in the states of callbacks are reduced to checkpoints of
    the same folder: Lightning removes these paths later.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: the dictionary.
            path: the file; its folder is created.
            storage_options: must be None.

        Raises:
            InputError: if the file cannot be written.
        """
        if storage_options is not None:
            raise InputError("checkpoints are written to a file; storage_options are not supported")
        with atomic(Path(path)) as temporary:
            save(checkpoint, temporary)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a checkpoint onto the CPU.

        Args:
            path: the file.
            map_location: unused.
            weights_only: unused; nothing but tensors and plain values is ever read.

        Returns:
            The dictionary, with paths to checkpoints of the same folder alone.
        """
        checkpoint = read_checkpoint(Path(path))
        states = checkpoint.get("callbacks", {})
        return checkpoint | {"callbacks": {name: own_paths(state, Path(path).parent) for name, state in states.items()}}

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint; anything but a file ``checkpoints/*.ckpt`` stays."""
        path = Path(path)
        if path.parent.name == FOLDER and path.suffix == ".ckpt" and path.is_file():
            path.unlink()


def save(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a checkpoint to a file.

    Args:
        checkpoint: the dictionary.
        path: the file.

    Raises:
        OSError: if the file cannot be written, where torch raises a RuntimeError about its archive.
    """
    with path.open("wb") as file:
        try:
            torch.save(checkpoint, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def own_paths(state: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The state of a callback, with every path reduced to a checkpoint of a folder, if there is one of that name.

    Args:
        state: the state. Only that of a ``ModelCheckpoint`` has paths.
        folder: the folder of the checkpoint that contains the state.

    Returns:
        The state. Paths to other files are empty, and the scores of other types are None.
    """
    if "dirpath" not in state:
        return dict(state)

    def own(path: Any) -> str:
        # a name on any operating system, and no path
        name = str(path).replace("\\", "/").rpartition("/")[2]
        exists = folder.name == FOLDER and name.endswith(".ckpt") and (folder / name).is_file()
        return str(folder / name) if exists else ""

    best: Any = state.get("best_k_models")
    scored = best.items() if isinstance(best, dict) else ()
    kept = {own(path): score for path, score in scored if own(path) and is_score(score)}
    paths = {name: own(state.get(name)) for name in PATHS}
    return {
        **state,
        **paths,
        **{name: state.get(name) if is_score(state.get(name)) else None for name in SCORES},
        "best_k_models": kept if paths["kth_best_model_path"] in kept else {},
        "dirpath": str(folder),
    }


def is_score(value: Any) -> bool:
    """Whether a value is a tensor of one number."""
    return isinstance(value, Tensor) and value.numel() == 1


def with_checkpoint_io(plugins: Any) -> list[Any]:
    """Add :class:`RunCheckpointIO` to the Trainer's plugins, unless they have a ``CheckpointIO``.

    Args:
        plugins: the option ``trainer.plugins``: None, a plugin or a list of plugins.

    Returns:
        A list of plugins.
    """
    given = plugins if isinstance(plugins, list) else [] if plugins is None else [plugins]
    return [*given] if any(isinstance(plugin, CheckpointIO) for plugin in given) else [*given, RunCheckpointIO()]
