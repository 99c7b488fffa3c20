import os
from pathlib import Path
from typing import Any

import pytest

# an optimistic thread pool costs more than it gives on small tensors, and each worker of a parallel run would take all
WORKER = "PYTEST_XDIST_WORKER" in os.environ
if WORKER:
    os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ["WANDB_MODE"] = "offline"


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory) -> Path:
    """The cache of all tests, of all workers if there are several."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if WORKER else base) / "cache"


@pytest.fixture(autouse=True)
def _own_cache(shared_cache, monkeypatch):
    """No test reads or leaves anything in the user's cache."""
    monkeypatch.setenv("LIGHTNING_GEN_CACHE", str(shared_cache))


class ParserBuiltError(Exception):
    """Raised in place of parsing, with the parser as its argument."""


@pytest.fixture(scope="session")
def fit_parser() -> Any:
    """The parser of fit, validate and test, as the command line builds it."""
    from pytorch_lightning.cli import LightningCLI  # the environment is set before torch is imported

    from lightning_gen.cli import main

    def stop(_: LightningCLI, parser: Any, args: Any) -> None:
        raise ParserBuiltError(parser)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LightningCLI, "parse_arguments", stop)
        with pytest.raises(ParserBuiltError) as built:
            main(["fit", "dcgan_digits"])
    return built.value.args[0]
