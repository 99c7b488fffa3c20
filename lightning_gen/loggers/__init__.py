"""The loggers of a run: a CSV file in the run's folder, Weights & Biases, TensorBoard and MLflow.

The axis of every figure is ``images_seen``, the number of images that the model was trained on. Models log it with
their figures; pictures, learning rates and other values that are logged without it get its last value.
"""

from lightning_gen.loggers.csv import RunCSVLogger
from lightning_gen.loggers.wandb import WandbRunLogger

__all__ = ["RunCSVLogger", "WandbRunLogger"]
