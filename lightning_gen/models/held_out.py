"""The loss of held-out images, with the same noise in every pass."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor

from lightning_gen.models.compilation import eagerly
from lightning_gen.noise import mix_seed, seed_global
from lightning_gen.types import Batch


class HeldOutLoss:
    """Mixin of a ``GenerativeModule``: logs the mean loss of validation and test images at the end of a pass.

    Lightning could take the mean itself, but logging each batch takes longer than the loss of a small network.
    """

    @abstractmethod
    def held_out_terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """Scalar loss terms of a held-out batch, by name."""

    def on_validation_epoch_start(self) -> None:
        """Start a pass."""
        self._held_out_sums: dict[str, Tensor] = {}
        self._num_held_out = 0

    def on_test_epoch_start(self) -> None:
        """Start a pass."""
        HeldOutLoss.on_validation_epoch_start(self)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the terms of a batch to those of the pass."""
        model = cast(Any, self)
        seed_global(mix_seed("held out", model.global_rank, batch_idx), model.device)
        with eagerly(model.compile_training):
            terms = self.held_out_terms(batch)
        for name, value in terms.items():
            total = value.detach() * len(batch.images)
            self._held_out_sums[name] = self._held_out_sums[name] + total if name in self._held_out_sums else total
        self._num_held_out += len(batch.images)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the terms of a batch to those of the pass."""
        HeldOutLoss.validation_step(self, batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Log the terms as ``val_loss/<name>``, means over the images of all ranks."""
        self._log_held_out("val_loss")

    def on_test_epoch_end(self) -> None:
        """Log the terms as ``test_loss/<name>``, means over the images of all ranks."""
        self._log_held_out("test_loss")

    def _log_held_out(self, prefix: str) -> None:
        num = self._num_held_out
        terms = {name: value / num for name, value in self._held_out_sums.items()}
        cast(Any, self).log_terms(prefix, terms, num, sync_dist=True)
