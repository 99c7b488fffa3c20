"""Configuration files: only regular files of UTF-8 YAML, whose aliases do not expand to more than they should."""

import stat
from collections.abc import Sequence
from pathlib import Path

import yaml

from lightning_gen.errors import InputError

MAX_BYTES = 10_000_000
MAX_NODES = 100_000
"""The largest number of values in a configuration, where each alias counts as the values that it stands for."""
ENDINGS = (".yaml", ".yml", ".json")
CONFIG_OPTIONS = ("--config", "-c")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def check_yaml(text: str) -> None:
    """Count the values of a YAML document without expanding its aliases.

    Args:
        text: the document; one that is not YAML passes, and is reported when it is loaded.

    Raises:
        InputError: if there are more than ``MAX_NODES``, an alias contains itself, or the nesting is too deep.
    """
    if not isinstance(text, str) or len(text) < 3:
        return
    try:
        root = yaml.compose(text, Loader=LOADER)
        num = count_nodes(root, {}) if root is not None else 0
    except yaml.YAMLError:
        return
    except RecursionError:
        raise InputError("the configuration is nested too deeply, or an alias in it contains itself") from None
    if num > MAX_NODES:
        raise InputError(f"the configuration's aliases stand for more than {MAX_NODES:,} values")


def count_nodes(node: yaml.Node, counted: dict[int, int]) -> int:
    """Count the values under a node, of which those that several aliases share are visited once."""
    if id(node) not in counted:
        children: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            children = node.value
        elif isinstance(node, yaml.MappingNode):
            children = [child for pair in node.value for child in pair]
        counted[id(node)] = 1 + sum(count_nodes(child, counted) for child in children)
    return counted[id(node)]


def check_files(args: Sequence[str], are_configs: bool) -> None:
    """Check the values of the command line that are the paths of files.

    Args:
        args: the command line.
        are_configs: whether files that are YAML or JSON by their ending are configurations, as are those of
            ``--config``.

    Raises:
        InputError: for a pipe or a device, and for a configuration that is a folder, too large or not UTF-8.
    """
    for previous, arg in zip(("", *args), args, strict=False):
        name = arg.partition("=")[2] if arg.startswith("--") else arg
        option = arg.partition("=")[0] if arg.startswith("--") else previous
        if not name:
            continue
        try:
            mode = Path(name).stat().st_mode
        except (OSError, ValueError):  # no file, which the command reports if it needs one
            continue
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise InputError(f"{name} is a pipe or a device; name a file or a folder")
        if are_configs and (option in CONFIG_OPTIONS or name.endswith(ENDINGS)):
            check_config_file(Path(name), option)


def check_config_file(path: Path, option: str) -> None:
    """Check a configuration file.

    Args:
        path: the file.
        option: the option that names it, for messages.

    Raises:
        InputError: for a folder, and for a file that is too large, not UTF-8, or whose aliases expand too far.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a YAML file with {option}")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path} has {path.stat().st_size:,} bytes; a configuration has at most {MAX_BYTES:,}")
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start}); name a YAML file with {option}") from None
    check_yaml(text)
    try:
        root = yaml.compose(text, Loader=LOADER)
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML ({' '.join(str(error).split())})") from None
    if option in CONFIG_OPTIONS and not isinstance(root, yaml.MappingNode | None):
        raise InputError(f"{path} holds no mapping of options, such as model: DCGAN")
