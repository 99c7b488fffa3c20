"""Charts as pictures."""

import numpy as np
import torch
from jaxtyping import UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor


def picture_of(figure: Figure) -> UInt8[Tensor, "3 height width"]:
    """Draw a figure, with no window and no state that others share.

    Args:
        figure: made by ``Figure(...)``, not by pyplot.

    Returns:
        uint8 RGB, the figure's size in inches times its dots per inch.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).contiguous()
