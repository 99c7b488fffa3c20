"""Grids of translations during training."""

from typing import Any, ClassVar

import torch
from pytorch_lightning import LightningModule, Trainer

from lightning_gen.callbacks.pictures import Cells, PictureCallback
from lightning_gen.checks import check_at_least
from lightning_gen.images import interleave_rows, match_shapes, to_float, to_uint8
from lightning_gen.noise import image_generators
from lightning_gen.types import Batch, Images, PairSource, Translator, TwoWayTranslator

IMAGES_PER_ROW = 8


class TranslationGrid(PictureCallback):
    """The first validation inputs above their translations; for a ``Translator`` and data with inputs.

    For a ``TwoWayTranslator`` the translations of the translations back to the first domain follow, and for pairs the
    targets. Small inputs are enlarged to the translations' size.

    Args:
        every_n_epochs: epochs between two pictures.
        num: number of inputs, eight per row.
        seed: seed of the noise of a model that draws any; translation i depends on (seed, i) alone.
    """

    kind: ClassVar[str] = "translations"

    def __init__(self, every_n_epochs: int = 1, num: int = 16, seed: int = 0) -> None:
        super().__init__(every_n_epochs)
        check_at_least(1, prefix=f"{self.kind}.", num=num)
        self.num = num
        self.seed = seed

    def draw(self, trainer: Trainer, model: LightningModule) -> Cells | None:
        """Translate and arrange the rows."""
        source: Any = getattr(trainer, "datamodule", None)
        if not isinstance(model, Translator) or not isinstance(source, PairSource):
            return None
        pairs = source.pair_set("val")
        if pairs is None:
            return None
        stored = pairs.inputs[: self.num]
        inputs = trainer.precision_plugin.convert_input(Batch(to_float(stored.to(model.device)))).images

        def generators() -> list[torch.Generator]:
            return image_generators(self.seed, range(len(stored)))

        translations: Images = model.translate(inputs, generator=generators())
        rows = [stored, to_uint8(translations).cpu()]
        if isinstance(model, TwoWayTranslator):
            rows.append(to_uint8(model.translate_back(translations, generator=generators())).cpu())
        if pairs.paired:
            rows.append(pairs.images[: self.num])
        columns = min(len(stored), IMAGES_PER_ROW)
        return Cells(interleave_rows(match_shapes(rows), columns), columns)
