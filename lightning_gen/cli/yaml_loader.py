"""The parser's loader of YAML, which is as strict as the check of configuration files."""

from typing import Any

import yaml
from jsonargparse import get_loader, set_loader

from lightning_gen.cli.config_files import check_yaml


def limit_yaml() -> None:
    """Make the parser refuse YAML whose aliases stand for too many values, or that is nested too deeply."""
    load = get_loader("yaml")
    if getattr(load, "limited", False):
        return

    def load_limited(stream: Any, *args: Any, **kwargs: Any) -> Any:
        check_yaml(stream)
        return load(stream, *args, **kwargs)

    load_limited.limited = True  # type: ignore[attr-defined]
    set_loader("yaml", load_limited, exceptions=(yaml.YAMLError,))
