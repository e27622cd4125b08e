"""Grids of features: written once, and read with the same numbers as from memory."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from utils.config import Config
from utils.errors import CaptionsError
from utils.feature_grids import (
    POOLED_PHOTOS,
    mean_of_cells,
    read_rows,
    release_pages,
    save_grid,
)

STATUS = Path("/proc/self/status")
PHOTOS = POOLED_PHOTOS + 44


@pytest.fixture
def array():
    """Random features `(photos, cells, channels)` of 20 MB."""
    return np.random.RandomState(0).rand(PHOTOS, 32, 1024).astype(np.float16)


@pytest.fixture
def grid(array, tmp_path):
    """The same features as a memory map."""
    np.save(tmp_path / "grid.npy", array)
    return np.load(tmp_path / "grid.npy", mmap_mode="r")


def mapped_megabytes():
    """How much memory of this process is pages of mapped files, on Linux."""
    if not STATUS.is_file():
        pytest.skip("this system does not report it")
    return int(re.search(r"RssFile:\s+(\d+) kB", STATUS.read_text())[1]) / 1024


@pytest.mark.parametrize("rows", [np.array([7, 3, 3]), slice(5, 9), 4])
def test_rows_of_a_memory_map_are_those_of_the_array(array, grid, rows):
    copied = read_rows(grid, rows)
    np.testing.assert_array_equal(copied, array[rows])
    assert type(copied) is np.ndarray
    assert not np.shares_memory(copied, grid)


def test_the_mean_of_cells_is_that_of_each_photo_alone(array, grid):
    means = mean_of_cells(grid)
    assert means.dtype == np.float32
    expected = np.stack([np.mean(photo, axis=0, dtype="float32") for photo in array])
    np.testing.assert_array_equal(means, expected)
    np.testing.assert_array_equal(mean_of_cells(array), expected)


def test_reading_all_rows_keeps_no_pages_of_the_file(grid):
    before = mapped_megabytes()
    for row in range(len(grid)):
        read_rows(grid, [row])
    assert mapped_megabytes() - before < 2
    grid.any()
    assert mapped_megabytes() - before > 15
    release_pages(np.asarray(grid)[3])  # a view of a view
    assert mapped_megabytes() - before < 2
    assert read_rows(grid, 0).any()  # the file can still be read


def test_what_is_not_a_read_only_memory_map_keeps_its_values(array, grid, tmp_path):
    changed = np.load(tmp_path / "grid.npy", mmap_mode="c")
    changed[0] = 2
    release_pages(changed)
    release_pages(changed[0])
    assert (changed[0] == 2).all()
    expected = array.copy()
    release_pages(array)
    np.testing.assert_array_equal(array, expected)


def save_while_partial_file_moves(rows, folder, destination):
    """Save rows as a grid; half of them are written when another process renames the file."""
    features = {"grid": "features-1.npy", "grid_shape": list(rows.shape)}

    def extract_from(_start):
        yield rows[:2]
        os.replace(folder / "features-1.npy.partial", folder / destination)
        yield rows[2:]

    save_grid(features, extract_from, batch=2, config=Config(working=str(folder)))


def test_grid_that_another_process_finishes_first_is_accepted(tmp_path):
    rows = np.random.RandomState(0).rand(4, 2, 3).astype(np.float16)
    save_while_partial_file_moves(rows, tmp_path, "features-1.npy")
    assert np.array_equal(np.load(tmp_path / "features-1.npy"), rows)


def test_grid_whose_partial_file_disappears_is_an_error(tmp_path):
    with pytest.raises(CaptionsError, match="could not be written"):
        save_while_partial_file_moves(np.zeros((4, 2, 3)), tmp_path, "elsewhere")
