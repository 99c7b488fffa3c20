import os

import pytest

# an optimistic thread pool costs more than it gives on small tensors, and each worker of a parallel run would take all
WORKER = "PYTEST_XDIST_WORKER" in os.environ
if WORKER:
    os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ["WANDB_MODE"] = "offline"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """No test reads or leaves anything in the user's cache; tests share one cache of their own."""
    base = tmp_path_factory.getbasetemp()
    monkeypatch.setenv("LIGHTNING_GEN_CACHE", str((base.parent if WORKER else base) / "cache"))
