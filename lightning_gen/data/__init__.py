"""Image datasets: from files on disk to batches on the device."""

from lightning_gen.data.folder import folder_set
from lightning_gen.data.module import ImageData

__all__ = ["ImageData", "folder_set"]
