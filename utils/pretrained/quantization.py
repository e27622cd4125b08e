"""Store weights in 8 bits: whole numbers from -127 to 127, times one scale per slice.

A float32 weight takes four times the space. Each slice of an array has a scale of its own (the
largest absolute value of the slice is 127 times its scale), because the weights of one unit can be
much larger than those of another.
"""

from typing import NamedTuple

import numpy as np

LARGEST = 127


class QuantizedArray(NamedTuple):
    """An array in 8 bits.

    Attributes:
        values: int8, in the shape of the array.
        scales: float32, in the same shape but for axes of length 1; `values * scales` is the array.
    """

    values: np.ndarray
    scales: np.ndarray


def quantize(array: np.ndarray) -> QuantizedArray:
    """Round an array to 8 bits, with one scale for each slice along its longest axis.

    For a dense layer, an embedding or a convolution, such a slice has the weights of one unit, one
    token or one channel.
    """
    array = np.asarray(array, np.float32)
    slice_axis = int(np.argmax(array.shape))
    other_axes = tuple(axis for axis in range(array.ndim) if axis != slice_axis)
    largest = np.abs(array).max(axis=other_axes, keepdims=True)
    scales = np.where(largest > 0, largest / LARGEST, 1).astype(np.float32)
    values = np.rint(array / scales).astype(np.int8)
    return QuantizedArray(values, scales)


def dequantize(quantized: QuantizedArray) -> np.ndarray:
    """The float32 array that a quantized one stands for."""
    return quantized.values.astype(np.float32) * quantized.scales
