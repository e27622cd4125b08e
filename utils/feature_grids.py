"""The grid of CNN features: a memory-mapped `.npy` file beside its artifact."""

import os
import shutil
from io import BytesIO
from math import prod
from pathlib import Path

import numpy as np

from utils.artifacts import rerun_hint
from utils.errors import CaptionsError
from utils.io import RETRY_HINT
from utils.paths import find_unique_input, working_folder


def save_grid(features, chunks, batch, config):
    """Write the float16 grid of which `features` say the file's name and shape.

    `chunks(row)` yields its rows from `row` on, `batch` at a time. What is interrupted, even by a
    crash, goes on after its last full chunk at the next call, and a whole file is left as it is: so
    the name must tell all that decides the numbers. Saving the features is the commit; what they
    do not name is of no use then and goes.
    """
    path, shape = working_folder(config) / features["grid"], tuple(features["grid_shape"])
    half, header = path.with_name(f"{path.name}.partial"), BytesIO()
    head = {"descr": "<f2", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, head)
    row_length = 2 * prod(shape[1:])
    length = header.tell() + row_length * shape[0]
    if path.is_file() and path.stat().st_size == length:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    for other in set(path.parent.glob(f"{path.name.partition('-')[0]}-*.partial")) - {half}:
        print(f"{other.name}: of another encoder, list of photos or shard: this starts anew")
    have = half.stat().st_size if half.exists() else 0
    done = max(0, (have - header.tell()) // row_length // batch * batch)
    if done:
        print(f"goes on after {done:,} of {shape[0]:,} photos")
    try:
        with open(half, "r+b" if have else "wb") as file:
            file.write(header.getvalue())
            file.truncate(file.seek(row_length * done, os.SEEK_CUR))
            if (free := shutil.disk_usage(half.parent).free) < length - file.tell():
                raise OSError(0, f"{length / 1e6:,.0f} MB needed, {free / 1e6:,.0f} MB free")
            for rows in chunks(done):
                file.write(np.ascontiguousarray(rows, "<f2"))
                file.flush()
            os.fsync(file.fileno())
        os.replace(half, path)
    except OSError as error:
        raise CaptionsError(
            f"{path}: could not be written ({error.strerror}): {RETRY_HINT}"
        ) from None


def load_grid(features, config):
    """The grid that belongs to loaded features, `(photos, cells, channels)`, memory-mapped."""
    name, shape = Path(str(features["grid"])).name, tuple(features["grid_shape"])
    path = working_folder(config) / name
    path = path if path.is_file() else find_unique_input(name) or path
    try:
        grid = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged header can fail in any way
        gone = isinstance(error, FileNotFoundError)
        reason = "not there: " if gone else "cannot be read: delete it, then "
        raise CaptionsError(f"{path}: {reason}{rerun_hint('features')}") from None
    if not isinstance(grid, np.ndarray) or grid.shape != shape or grid.dtype != np.float16:
        raise CaptionsError(f"{path}: no grid of {shape}: delete it, then {rerun_hint('features')}")
    return grid
