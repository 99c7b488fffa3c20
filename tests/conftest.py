import os

import pytest

# an optimistic thread pool costs more than it gives on small tensors, and each worker of a parallel run would take all
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ["WANDB_MODE"] = "offline"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """No test reads or leaves anything in the user's cache; tests share one cache of their own."""
    monkeypatch.setenv("LIGHTNING_GEN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
