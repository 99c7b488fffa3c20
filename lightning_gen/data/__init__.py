"""Image datasets: from files on disk to batches on the device."""

from lightning_gen.data.folder import folder_set
from lightning_gen.data.module import ImageData
from lightning_gen.data.unequal import UnequalImages, folder_pairs, unequal_set

__all__ = ["ImageData", "UnequalImages", "folder_pairs", "folder_set", "unequal_set"]
