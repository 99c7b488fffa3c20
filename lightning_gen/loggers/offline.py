"""The folder ``<run>/wandb``: the id of the run's W&B run, its settings, and recordings that are not uploaded."""

import shlex
from pathlib import Path
from typing import Any

import yaml

from lightning_gen.cache import DAMAGE

RECORDINGS = "offline-run-*"
SETTINGS = ("project", "entity", "mode")
"""The options of the run's W&B run that decide where it is."""

MODES = ("online", "offline", "disabled")


def run_id_file(run_folder: Path) -> Path:
    """The file with the id of the run's W&B run. It does not exist if W&B was disabled."""
    return run_folder / "wandb" / "run-id"


def sync_command(run_folder: Path) -> str | None:
    """The command that uploads the offline recordings of a run: one line, however often the run was resumed.

    Args:
        run_folder: the run's folder.

    Returns:
        ``wandb sync`` with the folder, or with a pattern of several folders; None if all are uploaded.
    """
    folder = run_folder / "wandb"
    pending = [
        path for path in sorted(folder.glob(RECORDINGS)) if any(path.glob("*.wandb")) and not any(path.glob("*.synced"))
    ]
    if len(pending) > 1:
        return f"wandb sync {shlex.quote(str(folder))}/{RECORDINGS}"
    return shlex.join(["wandb", "sync", str(pending[0])]) if pending else None


def saved_settings(run_folder: Path) -> dict[str, Any]:
    """The settings of the run's W&B run, from the newest configuration in its folder; none if it cannot be read.

    Args:
        run_folder: the run's folder.

    Returns:
        The values of ``SETTINGS`` that are set.
    """
    files = sorted(run_folder.glob("config*.yaml"), key=lambda path: (len(path.name), path.name))
    try:
        config = yaml.safe_load(files[-1].read_text("utf-8")) if files else None
    except (*DAMAGE, yaml.YAMLError):
        return {}
    options = config.get("wandb") if isinstance(config, dict) else None
    if not isinstance(options, dict):
        return {}
    settings = {name: options[name] for name in SETTINGS if isinstance(options.get(name), str)}
    if settings.get("mode") not in MODES:
        settings.pop("mode", None)
    return settings
