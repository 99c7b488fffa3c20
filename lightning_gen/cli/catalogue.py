"""What can be named on the command line: models, datasets, metrics, samplers and configurations.

The names are read from the source files and configurations of the package, without importing PyTorch or Lightning.
"""

import ast
from collections.abc import Callable, Collection, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from lightning_gen.cli.suggestions import did_you_mean
from lightning_gen.errors import InputError

PACKAGE = Path(__file__).parent.parent
DEFAULT_DATASET = "digits"
"""The default of ``data.name``."""
MAX_LISTED = 40
"""The largest number of characters of a wrong name that a message repeats."""


class Kind(NamedTuple):
    """A kind of names.

    Attributes:
        noun: what is named, in the singular.
        names: all valid names.
        advice: where to see them all; empty: a message lists them.
    """

    noun: str
    names: Callable[[], Collection[str]]
    advice: str = ""

    def check(self, name: str, where: str = "") -> None:
        """Check a name.

        Args:
            name: the name.
            where: the option or the file that contains the name, for messages; empty for neither.

        Raises:
            InputError: if there is nothing of that name, with the nearest name.
        """
        names = self.names()
        if name in names:
            return
        place = f"{where}: " if where else ""
        rest = self.advice or f"the {self.noun}s are {', '.join(names)}"
        raise InputError(f"{place}there is no {self.noun} {name[:MAX_LISTED]}{did_you_mean(name, names)}; {rest}")


def parse(path: Path) -> ast.Module:
    """The syntax tree of a source file of the package."""
    return ast.parse(path.read_text("utf-8"))


def calls(folder: str, *functions: str) -> Iterator[ast.Call]:
    """The calls of functions in the source files of a folder of the package.

    Args:
        folder: the folder's name.
        *functions: the functions' names.

    Yields:
        The calls, in the order of the files' names and of the lines.
    """
    for path in sorted((PACKAGE / folder).glob("*.py")):
        found = [node for node in ast.walk(parse(path)) if isinstance(node, ast.Call)]
        named = [node for node in found if isinstance(node.func, ast.Name) and node.func.id in functions]
        yield from sorted(named, key=lambda node: node.lineno)


def text_of(node: ast.AST | None) -> str | None:
    """The value of a string constant; None for anything else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def keywords_of(call: ast.Call | ast.ClassDef) -> dict[str, str]:
    """The keyword arguments that are string constants."""
    texts = {keyword.arg: text_of(keyword.value) for keyword in call.keywords if keyword.arg is not None}
    return {name: text for name, text in texts.items() if text is not None}


@cache
def models() -> dict[str, Path]:
    """Every model that ``lightning_gen.models`` exports, with its source file, in alphabetical order."""
    imports = [node for node in parse(PACKAGE / "models" / "__init__.py").body if isinstance(node, ast.ImportFrom)]
    modules = {alias.name: (node.module or "").split(".") for node in imports for alias in node.names}
    names = sorted(modules, key=str.lower)
    return {name: PACKAGE.parent.joinpath(*modules[name]).with_suffix(".py") for name in names}


def describe_model(name: str) -> str:
    """The first line of a model's docstring."""
    classes = [node for node in parse(models()[name]).body if isinstance(node, ast.ClassDef) and node.name == name]
    return (ast.get_docstring(classes[0]) or "").partition("\n")[0]


@cache
def datasets() -> dict[str, str]:
    """Every dataset with its summary."""
    records = [(call, keywords_of(call)) for call in calls("data", "DatasetInfo", "replace")]
    named = {text_of(call.args[0]) or texts.get("name"): texts.get("summary") for call, texts in records if call.args}
    return {name: summary for name, summary in named.items() if name and summary}


@cache
def metrics() -> tuple[str, ...]:
    """Every metric that ``evaluate`` computes."""
    names = [text_of(call.args[0]) for call in calls("evaluation", "Metric", "record") if call.args]
    return tuple(dict.fromkeys(name for name in names if name))


@cache
def samplers() -> tuple[str, ...]:
    """Every sampler of diffusion models and flows."""
    trees = [parse(path) for path in sorted((PACKAGE / "diffusion").glob("*.py"))]
    classes = [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]
    return tuple(name for node in classes if (name := keywords_of(node).get("name")))


@cache
def inspections() -> tuple[str, ...]:
    """Every inspection of ``inspect``."""
    body = parse(PACKAGE / "cli" / "inspecting.py").body
    assigned = [node for node in body if isinstance(node, ast.AnnAssign)]
    tables = [node.value for node in assigned if ast.unparse(node.target) == "INSPECTIONS"]
    keys = [key for table in tables if isinstance(table, ast.Dict) for key in table.keys]
    return tuple(name for key in keys if (name := text_of(key)))


def configs_folder() -> Path:
    """The folder of the configurations: in the package, or beside it where the package runs from its sources."""
    shipped = PACKAGE / "configs"
    return shipped if shipped.is_dir() else PACKAGE.parent / "configs"


@cache
def configs() -> dict[str, Path]:
    """Every configuration of the package by its name."""
    return {path.stem: path for path in sorted(configs_folder().glob("*.yaml"))}


@cache
def sweeps() -> dict[str, Path]:
    """Every sweep file of the package by its name."""
    return {path.stem: path for path in sorted((configs_folder() / "sweeps").glob("*.yaml"))}


MODEL = Kind("model", models, "lightning-gen list models shows all; a class of your own is given by its import path")
DATASET = Kind("dataset", datasets)
METRIC = Kind("metric", metrics, "lightning-gen evaluate --help shows all")
SAMPLER = Kind("sampler", samplers)
SWEEP = Kind("sweep file", sweeps, "lightning-gen list sweeps shows all")
CONFIG = Kind("configuration", configs, "lightning-gen list configs shows all")
