"""Execute the notebooks in docs/notebooks and write them with their outputs.

python scripts/notebooks.py [NAME ...]

Every kernel uses one thread, so that the pictures do not depend on the number of cores.
"""

import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent.parent / "docs" / "notebooks"


def execute(path: Path, folder: Path, timeout: int = 600) -> nbformat.NotebookNode:
    """Execute a notebook.

    Args:
        path: the notebook.
        folder: the kernel's working folder.
        timeout: the largest number of seconds for a cell.

    Returns:
        The notebook with its outputs, without times and widgets.
    """
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=timeout, resources={"metadata": {"path": str(folder)}}).execute()
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        # an output on stderr is a message about this machine
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


def main() -> None:
    """Execute the notebooks that are named, or all."""
    os.environ["OMP_NUM_THREADS"] = "1"
    for path in [FOLDER / f"{name}.ipynb" for name in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb")):
        start = time.monotonic()
        nbformat.write(execute(path, FOLDER), path)
        print(f"{path.name}: {time.monotonic() - start:.0f} s, {path.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
