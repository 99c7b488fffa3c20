"""Import contracts, and the independence of model files from each other."""

import ast
from pathlib import Path

import pytest
from importlinter.application.use_cases import read_user_options
from importlinter.cli import lint_imports

from tests.cases import CASES

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "lightning_gen"
FILES = sorted(PACKAGE.rglob("*.py"))


def imports(node: ast.AST) -> set[str]:
    return {
        name
        for child in ast.walk(node)
        for name in (
            [child.module or ""]
            if isinstance(child, ast.ImportFrom)
            else [alias.name for alias in child.names]
            if isinstance(child, ast.Import)
            else []
        )
    }


def test_import_contracts_hold(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert read_user_options(config_filename="pyproject.toml").contracts_options
    assert lint_imports(config_filename="pyproject.toml") == 0


def test_a_model_file_imports_no_other():
    models = {case.model.__module__ for case in CASES}
    for module in models:
        tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text())
        assert not imports(tree) & (models - {module}), module


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_import_of_our_own_inside_a_function(path):
    if path.name == "__main__.py":
        return  # the environment is checked before the libraries that read it are imported
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert not {name for name in imports(node) if name.startswith("lightning_gen")}, node.name
