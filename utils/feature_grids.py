"""The grid of CNN features: a memory-mapped float16 `.npy` file beside its artifact."""

import mmap
import os
from collections.abc import Callable, Iterator
from io import BytesIO
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from utils.artifact_specs import ARTIFACTS, rerun_hint
from utils.config import Config
from utils.errors import CaptionsError
from utils.io import RETRY_HINT, check_free_space
from utils.paths import find_unique_input, working_folder

ITEM_BYTES = 2  # of a float16
POOLED_PHOTOS = 256  # at a time


def save_grid(
    features: dict[str, Any],
    extract_from: Callable[[int], Iterator[np.ndarray]],
    batch: int,
    config: Config,
) -> None:
    """Write the feature grid, or continue an interrupted write of it.

    An interrupted write, even by a crash, continues after its last complete batch at the next
    call, and a complete file is left as it is. So the name must contain everything that affects the
    values. Saving the artifact commits the file: grids that the artifact does not name are then
    deleted.

    Args:
        features: An artifact's data with the keys `grid` (file name) and `grid_shape`.
        extract_from: Given a row, yields the rows from there on, `batch` at a time.
        batch: Rows per batch.
        config: Decides the working folder.

    Raises:
        CaptionsError: The disk is full, or the file cannot be written.
    """
    path = working_folder(config) / features["grid"]
    shape = tuple(features["grid_shape"])
    header = npy_header(shape)
    row_bytes = ITEM_BYTES * prod(shape[1:])
    total_bytes = len(header) + row_bytes * shape[0]
    if has_size(path, total_bytes):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    report_other_partials(partial)
    written_bytes = partial.stat().st_size if partial.exists() else 0
    complete_batches = max(0, (written_bytes - len(header)) // row_bytes // batch)
    done = complete_batches * batch
    if done:
        print(f"continues after {done:,} of {shape[0]:,} photos")
    try:
        with open(partial, "r+b" if written_bytes else "wb") as file:
            file.write(header)
            file.truncate(file.seek(row_bytes * done, os.SEEK_CUR))
            check_free_space(partial.parent, total_bytes - file.tell())
            write_rows(file, extract_from(done))
        os.replace(partial, path)
    except OSError as error:
        # Shards that end at the same time join the same rows into the same file. The first one
        # moves it to its place, and the others find it there.
        if isinstance(error, FileNotFoundError) and has_size(path, total_bytes):
            return
        raise CaptionsError(
            f"{path}: could not be written ({error.strerror}): {RETRY_HINT}"
        ) from None


def has_size(path: Path, size: int) -> bool:
    """Whether there is a file of this size, in bytes."""
    return path.is_file() and path.stat().st_size == size


def npy_header(shape: tuple[int, ...]) -> bytes:
    """The header of a `.npy` file of float16 numbers."""
    header = BytesIO()
    description = {"descr": "<f2", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, description)
    return header.getvalue()


def report_other_partials(partial: Path) -> None:
    """Report partly written grids of other runs, which cannot be resumed."""
    prefix = partial.name.partition("-")[0]
    for other in set(partial.parent.glob(f"{prefix}-*.partial")) - {partial}:
        print(f"{other.name}: of another encoder, list of photos or shard: extraction starts over")


def write_rows(file: IO[bytes], batches: Iterator[np.ndarray]) -> None:
    """Append rows to an open grid; what is complete is on the disk after each batch."""
    for rows in batches:
        file.write(np.ascontiguousarray(rows, "<f2").data)
        file.flush()
    os.fsync(file.fileno())


def load_grid(features: dict[str, Any], config: Config) -> np.ndarray:
    """The grid that an artifact names, `(photos, cells, channels)`, memory-mapped.

    Raises:
        CaptionsError: The file is missing, damaged, or of another shape.
    """
    name = Path(str(features["grid"])).name
    shape = tuple(features["grid_shape"])
    path = working_folder(config) / name
    if not path.is_file():
        notebook = ARTIFACTS["features"].notebook
        path = find_unique_input(name, notebook=notebook) or path
    try:
        grid = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise CaptionsError(f"{path}: not found: {rerun_hint('features')}") from None
    except Exception:  # a damaged header can fail in any way
        hint = rerun_hint("features")
        raise CaptionsError(f"{path}: cannot be read: delete it, then {hint}") from None
    if not isinstance(grid, np.ndarray) or grid.shape != shape or grid.dtype != np.float16:
        hint = rerun_hint("features")
        raise CaptionsError(f"{path}: is not a grid of shape {shape}: delete it, then {hint}")
    return grid


def read_rows(grid: np.ndarray, rows: Any) -> np.ndarray:
    """A copy of some rows of a grid, whose mapped pages do not stay in the memory of this process.

    Args:
        grid: `(photos, cells, channels)`, usually what `load_grid` returns.
        rows: An index of the first axis: row numbers, or a slice.
    """
    values = np.array(grid[rows])
    release_pages(grid)
    return values


def release_pages(grid: np.ndarray) -> None:
    """Give back the memory of the parts of a grid that have been read so far.

    The system maps each page of the file that is read into memory and counts it as memory of this
    process: after an epoch that is the whole grid. The system keeps the pages in its cache of
    files, so reading them again is fast. Nothing happens to an array in memory, or on systems that
    cannot do this.

    Args:
        grid: A memory map that was opened for reading, or a view of one.
    """
    array: Any = grid
    while isinstance(array, np.ndarray):
        is_read_only = getattr(array, "mode", "r") == "r"
        array = array.base
        if isinstance(array, mmap.mmap) and is_read_only and hasattr(mmap, "MADV_DONTNEED"):
            array.madvise(mmap.MADV_DONTNEED)


def mean_of_cells(grid: np.ndarray) -> np.ndarray:
    """The mean of each photo's cells in float32, `(photos, channels)`, read part by part."""
    means = np.zeros((len(grid), grid.shape[2]), np.float32)
    for start in range(0, len(grid), POOLED_PHOTOS):
        photos = slice(start, start + POOLED_PHOTOS)
        read_rows(grid, photos).mean(axis=1, dtype=np.float32, out=means[photos])
    return means
