"""Schedules of hyper-parameters as functions of the number of images seen, so that a resumed run continues exactly."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class CosineSchedule:
    r"""A half cosine from a start to an end value, which then stays.

    After n images, :math:`e + (s - e)(1 + \cos(\pi \min(1, n / N))) / 2`, from s at n = 0 over the mean of s and e at
    n = N / 2 to e from n = N on.

    Attributes:
        start: the value s.
        end: the value e.
        images: the number N of images; 0 for the constant e.
    """

    start: float
    end: float
    images: int

    def __call__(self, images_seen: int) -> float:
        """The value after a number of images."""
        progress = min(1.0, images_seen / self.images) if self.images else 1.0
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * progress)) / 2
