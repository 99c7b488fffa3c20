"""From a dataset on disk to a batch on the device."""

from lightning_gen.data.module import ImageData, folder_set

__all__ = ["ImageData", "folder_set"]
