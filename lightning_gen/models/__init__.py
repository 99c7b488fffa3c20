"""The models, one LightningModule a file.

Any subclass of :class:`~lightning_gen.models.base.GenerativeModule` can be named by its import path in a
configuration; there is no registry.
"""
