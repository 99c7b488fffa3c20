"""Saving models to folders and to the Hugging Face Hub, and loading them from there.

The methods are those of ``huggingface_hub.ModelHubMixin``. Uploading uses that class; it is no base class of models
because importing it would slow down every command.
"""

import re
import shutil
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from lightning_gen.errors import InputError
from lightning_gen.hashing import file_hash
from lightning_gen.models.exported import CONFIG, WEIGHTS, is_exported, load_exported, save_exported
from lightning_gen.models.model_card import CardFacts, model_card
from lightning_gen.types import ImageGenerator, Translator

INSTALL = 'pip install "lightning_gen[hub]"'
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
"""The name of a model on the Hub: owner/name."""
COPIED = ("README.md", "samples/*.png", "scores/*.json", "*.onnx", "*.onnx.data")
"""The files of an export beside weights and configuration that describe the same weights."""
Model = TypeVar("Model", bound="HubModel")


class HubModel:
    """Mixin of a ``GenerativeModule``: ``save_pretrained``, ``push_to_hub`` and ``from_pretrained``."""

    exported_folder: Path | None = None
    """The folder that the model was loaded from."""

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Write the weights that the model samples with, its configuration and a model card to a folder.

        The command ``export`` writes samples and score cards as well. They are copied if the model was loaded from such
        a folder and its weights have not changed since.

        Args:
            save_directory: the folder; it is created, and files of the same names are replaced.
        """
        folder, source = Path(save_directory), self.exported_folder
        config = save_exported(self, folder)
        if source is None or source.resolve() == folder.resolve() or not have_equal_weights(source, folder):
            (folder / "README.md").write_text(model_card(config, card_facts(self)), encoding="utf-8")
            return
        for path in (source / CONFIG, *(path for pattern in COPIED for path in sorted(source.glob(pattern)))):
            target = folder / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload the files of :meth:`save_pretrained` to the Hugging Face Hub.

        Args:
            repo_id: owner/name of the repository, which is created unless it exists.
            **options: options of ``huggingface_hub.ModelHubMixin.push_to_hub``, such as ``private``, ``token`` or
                ``commit_message``.

        Returns:
            The address of the commit.
        """
        hub, model = import_hub(), self

        class Upload(hub.ModelHubMixin):  # type: ignore[name-defined]
            """Passes the files of the model on."""

            def _save_pretrained(self, save_directory: Path) -> None:
                model.save_pretrained(save_directory)

        return str(Upload().push_to_hub(repo_id, **options))

    @classmethod
    def from_pretrained(cls: type[Model], pretrained_model_name_or_path: str | Path, **options: Any) -> Model:
        """Load a model from an exported folder or from the Hugging Face Hub, in eval mode.

        Args:
            pretrained_model_name_or_path: a folder, or owner/name of a repository on the Hub.
            **options: options of ``huggingface_hub.snapshot_download``, such as ``revision``, ``token``, ``cache_dir``
                or ``local_files_only``.

        Returns:
            The model.

        Raises:
            InputError: if it cannot be found or loaded, or is of another class.
        """
        folder = Path(pretrained_model_name_or_path)
        if not folder.is_dir():
            folder = download(str(pretrained_model_name_or_path), **options)
        model = load_exported(folder, HubModel)
        if not isinstance(model, cls):
            raise InputError(
                f"{pretrained_model_name_or_path} is of {type(model).__name__}, not of {cls.__name__}; "
                f"use {type(model).__name__}.from_pretrained or lightning_gen.load"
            )
        return model


def have_equal_weights(folder: Path, other: Path) -> bool:
    """Whether two folders are exported models with the same file of weights."""
    return all(map(is_exported, (folder, other))) and file_hash(folder / WEIGHTS) == file_hash(other / WEIGHTS)


def card_facts(model: Any) -> CardFacts:
    """What the model card says about a model by itself."""
    makes = "reconstruct"
    if isinstance(model, ImageGenerator):
        makes = "generate"
    elif isinstance(model, Translator):
        makes = "translate"
    documents = (sys.modules[type(model).__module__].__doc__, type(model).__doc__)
    summary = [" ".join((document or "").strip().split("\n\n")[0].split()) for document in documents]
    return CardFacts(" ".join(dict.fromkeys(filter(None, summary))), makes)


def download(repo_id: str, **options: Any) -> Path:
    """Download the weights and the configuration of a model on the Hub, or find them in the cache.

    Args:
        repo_id: owner/name.
        **options: options of ``huggingface_hub.snapshot_download``.

    Returns:
        Their folder.

    Raises:
        InputError: if the name is invalid, there is no such model, or the Hub cannot be reached.
    """
    if not HUB_ID.fullmatch(repo_id):
        raise InputError(f"{repo_id[:100]!r} is neither a folder nor the name of a model on the Hub, owner/name")
    hub = import_hub()
    try:
        return Path(hub.snapshot_download(repo_id, allow_patterns=[CONFIG, WEIGHTS, *COPIED], **options))
    except Exception as error:  # errors of HTTP libraries, of which there are several
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise InputError(f"there is no folder {repo_id}, and it is not available on the Hub ({reason})") from None


def import_hub() -> Any:
    """Import huggingface_hub; an :class:`InputError` names its installation."""
    try:
        return import_module("huggingface_hub")
    except ImportError:
        raise InputError(f"the Hugging Face Hub needs the package huggingface_hub: {INSTALL}") from None
