"""Rounding features to 8 bits: the error is at most half a step of each channel."""

import numpy as np
import pytest

from tests.ablation.feature_bits import in_eight_bits


def test_the_error_is_at_most_half_a_step_of_each_channel():
    scales = np.logspace(-2, 1, 64)  # of channels
    grid = (np.random.RandomState(0).rand(20, 9, 64) * scales).astype(np.float16)
    restored = in_eight_bits(grid).astype(np.float32)
    steps = grid.max(axis=(0, 1)).astype(np.float32) / 127
    errors = np.abs(restored - grid.astype(np.float32)).max(axis=(0, 1))
    assert (errors <= 0.51 * steps + 0.001 * grid.max(axis=(0, 1))).all()  # and float16's own error
    assert errors.max() > 0


def test_more_photos_than_channels_are_refused():
    with pytest.raises(AssertionError):
        in_eight_bits(np.ones((10, 2, 5), np.float16))
