r"""Layer specifications and low-pass filters of alias-free generators (Karras et al. 2021, 2106.12423, section 3.2).

Frequencies are in cycles per image side, sampling rates in samples per image side. Layer i of N has the cutoff

.. math:: f_c[i] = f_{c,0} (f_{c,N} / f_{c,0})^{\min(i / (N - N_{crit}), 1)}, \quad f_{c,0} = 2, \; f_{c,N} = side / 2,

and the minimum acceptable stopband frequency :math:`f_t[i]`, by the same formula from :math:`f_{t,0} = 2^{2.1}` to
:math:`f_{t,N} = 2^{0.3} f_{c,N}`. From these follow the sampling rate
:math:`s[i] = 2^{\lceil \log_2 \min(2 f_t[i], side) \rceil}` and the half-width of the transition band
:math:`f_h[i] = \max(f_t[i], s[i] / 2) - f_c[i]`. The last :math:`N_{crit}` layers are critically sampled.

The filters are windowed by a Kaiser window whose length and transition band determine its attenuation.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.signal import firwin, kaiser_atten, kaiser_beta
from scipy.signal.windows import kaiser
from scipy.special import j1
from torch import Tensor

from lightning_gen.checks import check_above, check_at_least
from lightning_gen.errors import InputError
from lightning_gen.types import ImageShape

FIRST_CUTOFF = 2.0
FIRST_STOPBAND = 2**2.1
LAST_STOPBAND = 2**0.3
"""Stopband frequency of the last layer, relative to its cutoff."""
MIN_SIDE = 8
"""Smaller images have a cutoff of at most that of the first layer."""


@dataclass(frozen=True)
class SignalSpec:
    """The signal that a layer outputs.

    Attributes:
        channels: number of channels.
        size: height and width in samples, margins included.
        rate: sampling rate s, samples per image side.
        cutoff: cutoff frequency f_c of the low-pass filter.
        half_width: half of the width of the filter's transition band, f_h.
        critical: whether the signal is critically sampled: its cutoff is half of its sampling rate.
    """

    channels: int
    size: int
    rate: int
    cutoff: float
    half_width: float
    critical: bool


def signal_specs(
    image_shape: ImageShape,
    *,
    num_layers: int = 14,
    num_critical: int = 2,
    margin: int = 10,
    channel_base: int = 32768,
    channel_max: int = 512,
) -> list[SignalSpec]:
    """Specify the outputs of all layers.

    Args:
        image_shape: (channels, side, side), a power of two of at least 8.
        num_layers: number N of layers, without the last convolution to the image.
        num_critical: number of critically sampled layers at the end, at least 1 and less than ``num_layers``.
        margin: samples beyond each side of the image, except in the last layer.
        channel_base: a layer has channel_base / (2 f_c) channels.
        channel_max: the largest number of channels of a layer.

    Returns:
        One specification per layer. The input has that of the first layer.

    Raises:
        InputError: if a value is out of range.
    """
    _, height, side = image_shape
    if height != side or side < MIN_SIDE or side & (side - 1):
        raise InputError(
            f"an alias-free generator makes square images of {MIN_SIDE}, 16, 32, ... pixels, not {height} x {side}; "
            "set data.image_size"
        )
    check_at_least(1, num_critical=num_critical)
    check_above(num_critical, num_layers=num_layers, note=" (num_critical)")
    check_at_least(0, margin=margin)
    check_at_least(1, channel_base=channel_base, channel_max=channel_max)
    specs = []
    for i in range(num_layers):
        progress = min(i / (num_layers - num_critical), 1.0)
        last_cutoff = side / 2
        cutoff = FIRST_CUTOFF * (last_cutoff / FIRST_CUTOFF) ** progress
        stopband = FIRST_STOPBAND * (last_cutoff * LAST_STOPBAND / FIRST_STOPBAND) ** progress
        rate = 2 ** math.ceil(math.log2(min(2 * stopband, side)))
        specs.append(
            SignalSpec(
                channels=max(1, round(min(channel_base / (2 * cutoff), channel_max))),
                size=side if i >= num_layers - 1 else rate + 2 * margin,
                rate=rate,
                cutoff=cutoff,
                half_width=max(stopband, rate / 2) - cutoff,
                critical=2 * cutoff == rate,
            )
        )
    return specs


def kaiser_filter(num_taps: int, cutoff: float, half_width: float, rate: float) -> Float[Tensor, " taps"]:
    """A sinc low-pass filter with a Kaiser window.

    Args:
        num_taps: number of taps.
        cutoff: cutoff frequency f_c; the response is 1/2 there.
        half_width: half of the transition band's width f_h.
        rate: sampling rate at which the filter is applied, above ``2 * cutoff``.

    Returns:
        Taps with sum 1, float64.
    """
    return torch.from_numpy(firwin(num_taps, cutoff, width=2 * half_width, fs=rate))


def radial_filter(num_taps: int, cutoff: float, half_width: float, rate: float) -> Float[Tensor, "taps taps"]:
    r"""A radially symmetric low-pass filter, for equivariance to rotation: jinc times a separable Kaiser window.

    .. math:: h(x, y) \propto \frac{J_1(2 \pi f_c r)}{\pi r} w(x) w(y), \quad r = \sqrt{x^2 + y^2}

    Args:
        num_taps: number of taps per side.
        cutoff: cutoff frequency f_c.
        half_width: half of the transition band's width f_h.
        rate: sampling rate at which the filter is applied.

    Returns:
        Taps with sum 1, float64.
    """
    positions = (np.arange(num_taps) - (num_taps - 1) / 2) / rate
    radius = np.maximum(np.hypot(positions, positions[:, None]), 1e-9)  # the limit at 0 is f_c
    jinc = j1(2 * np.pi * cutoff * radius) / radius
    window = kaiser(num_taps, kaiser_beta(kaiser_atten(num_taps, 2 * half_width / (rate / 2))))
    taps = jinc * window * window[:, None]
    return torch.from_numpy(taps / taps.sum())


def resampling_matrix(
    taps: Float[Tensor, " taps"], in_size: int, out_size: int, *, up: int = 1, down: int = 1, padding: int = 0
) -> Float[Tensor, "out_size in_size"]:
    r"""The matrix that resamples a 1-D signal: zero-insertion, padding, correlation with the taps, decimation.

    .. math:: M_{oi} = up \cdot h[padding + up \, i - down \, o]

    On the CPU, the product of a feature map and this matrix is 5 to 13 times as fast as the convolution.

    Args:
        taps: the filter h.
        in_size: number of input samples.
        out_size: number of output samples.
        up: number of samples after zero-insertion per input sample.
        down: number of filtered samples per output sample.
        padding: number of zeros before the first sample; negative to crop.

    Returns:
        The matrix, float32. Zeros follow the last input sample as needed.
    """
    index = padding + up * torch.arange(in_size) - down * torch.arange(out_size)[:, None]
    inside = (index >= 0) & (index < len(taps))
    return (up * taps[index.clamp(0, len(taps) - 1)] * inside).float()
