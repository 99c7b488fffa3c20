"""The notebooks run from the top down, with few steps, and their committed outputs are complete and small."""

import base64
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
FAMILIES = {"autoencoders", "vaes", "gans", "style_gans", "diffusion", "translation", "super_resolution"}
MAX_PICTURE_BYTES = 100_000
STEPS = "3"
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def execute(path: Path, folder: Path) -> nbformat.NotebookNode:
    """Execute a notebook by the function of scripts/notebooks.py."""
    spec = spec_from_file_location("notebooks", ROOT / "scripts" / "notebooks.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.execute(path, folder)


def pictures(notebook: nbformat.NotebookNode) -> list[bytes]:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [base64.b64decode(output.data["image/png"]) for output in outputs if "image/png" in output.get("data", {})]


def test_there_is_a_notebook_for_every_family():
    assert {path.stem for path in NOTEBOOKS} == FAMILIES


@every_notebook
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("NOTEBOOK_STEPS", STEPS)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    executed, committed = execute(path, tmp_path), nbformat.read(path, as_version=4)
    assert len(pictures(executed)) == len(pictures(committed))
    assert [cell.source for cell in executed.cells] == [cell.source for cell in committed.cells]


@every_notebook
def test_the_committed_outputs_are_whole_and_small(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]  # executed once, from the top down
    assert len(pictures(notebook)) >= 2
    assert max(map(len, pictures(notebook))) < MAX_PICTURE_BYTES
    assert not [output for cell in code for output in cell.outputs if output.output_type == "error"]
    assert "/work" not in path.read_text()
    assert "/home" not in path.read_text()
