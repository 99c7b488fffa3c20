"""Resuming: the batches, the counters and the weights of a run that was never stopped."""

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn

from lightning_gen.data import ImageData
from lightning_gen.models.base import DescentModule
from lightning_gen.types import Batch, Loss
from tests.helpers import SaveEpochs, StopAt, trainer

LIMITS = {"steps": {"max_steps": 8, "max_epochs": -1}, "epochs": {"max_epochs": 3}}


class Recorder(DescentModule[nn.Module]):
    """Stores every batch and every call of the hooks of epochs."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(image_shape=(1, 8, 8), **kwargs)
        self.set_network(nn.Linear(1, 1))
        self.trained: list[Tensor] = []
        self.epochs: list[tuple[str, int]] = []

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.trained.append(batch.images.clone())
        return super().training_step(batch, batch_idx)

    def loss(self, batch: Batch) -> Loss:
        return Loss((self.network(batch.images.mean().view(1, 1))).sum(), {})

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        pass

    def on_train_epoch_start(self) -> None:
        self.epochs.append(("start", self.current_epoch))

    def on_train_epoch_end(self) -> None:
        self.epochs.append(("end", self.current_epoch))

    def configure_optimizers(self) -> Any:
        return self.with_lr_schedule(torch.optim.SGD(self.parameters(), lr=0.1))


@pytest.fixture
def fit(tmp_path):
    def run(
        callbacks: tuple[pl.Callback, ...] = (),
        checkpoint: str | None = None,
        schedule: str = "constant",
        **options: Any,
    ):
        model = Recorder(lr_schedule=schedule)
        data = ImageData(root=str(tmp_path / "data"), batch_size=400, flip=True)
        saved = ModelCheckpoint(
            tmp_path, "step{step}", every_n_train_steps=1, save_top_k=-1, auto_insert_metric_name=False
        )
        fitted = trainer(callbacks=[*callbacks, SaveEpochs(tmp_path), saved], enable_checkpointing=True, **options)
        path = checkpoint and tmp_path / f"{checkpoint}.ckpt"
        fitted.fit(model, data, ckpt_path=path, weights_only=True)
        return model, fitted

    return run


@pytest.mark.parametrize(("validations", "schedule"), [(0, "constant"), (1, "linear")])
@pytest.mark.parametrize("limit", LIMITS)
def test_every_checkpoint_of_a_run_resumes_exactly(fit, limit, validations, schedule):
    options = {**LIMITS[limit], "limit_val_batches": validations, "schedule": schedule}
    whole, ended = fit(**options)
    for name in ("step1", "step3", "step5", "step6", "end3", "end6"):  # of epochs of three batches
        step = int(name.removeprefix("step").removeprefix("end"))
        model, again = fit(checkpoint=name, **options)
        assert len(model.trained) == len(whole.trained) - step, name
        assert all(map(torch.equal, model.trained, whole.trained[step:])), name
        assert model.epochs == whole.epochs[-len(model.epochs) :], name
        assert again.fit_loop.state_dict() == ended.fit_loop.state_dict(), name


@pytest.mark.parametrize("ends", ["at max_steps", "when asked to"])
@pytest.mark.parametrize("limit", LIMITS)
def test_a_run_that_ended_within_an_epoch_goes_on(fit, limit, ends):
    whole, ended = fit(**LIMITS[limit])
    for step in (2, 5):
        if ends == "at max_steps":
            fit(max_steps=step, max_epochs=-1)
        else:
            fit(callbacks=(StopAt(step),), **LIMITS[limit])
        model, again = fit(checkpoint=f"end{step}", **LIMITS[limit])
        assert len(model.trained) == len(whole.trained) - step
        assert all(map(torch.equal, model.trained, whole.trained[step:]))
        assert again.fit_loop.state_dict() == ended.fit_loop.state_dict()
