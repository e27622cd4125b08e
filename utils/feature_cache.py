"""The files in which a search keeps the features of photos, so that the next one is faster."""

import os
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO

import numpy as np

from utils import artifacts, paths
from utils.config import Config
from utils.io import write_atomically

FOLDER = "feature_cache"
EARLIER_FOLDER = "seen"  # its name in earlier versions
MAX_BYTES = 2_000_000_000


def cache_folder(config: Config, captioner_path: Path) -> Path:
    """The folder of a captioner, by its file: another captioner may need other features."""
    return paths.cache_folder(config) / FOLDER / artifacts.fingerprint(captioner_path)


def writable_folder(folder: Path) -> Path:
    """The folder, or a temporary one where it cannot be written to, e.g. on a read-only disk."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_writable = os.access(folder, os.W_OK)
    except OSError:
        is_writable = False
    if is_writable:
        return folder
    print(f"{folder}: cannot be written to: features are not kept for later", file=sys.stderr)
    return Path(temporary_folder().name, FOLDER, folder.name)


@cache
def temporary_folder() -> tempfile.TemporaryDirectory:
    """A folder that is deleted when the process ends."""
    return tempfile.TemporaryDirectory(prefix="feature_cache-")


def has_features(path: Path) -> bool:
    """Whether a file is there and holds a whole array."""
    try:
        np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return False
    return True


def save_features(path: Path, features: np.ndarray) -> None:
    """Write the features of one photo, whole or not at all."""

    def write(file: IO[bytes]) -> None:
        np.save(file, features)

    write_atomically(path, write)


def prune(folder: Path, used: Iterable[Path], max_bytes: int = MAX_BYTES) -> None:
    """Delete the features of earlier captioners, and of photos that were not searched lately.

    Args:
        folder: What `cache_folder` returns.
        used: The files of the current search, which are kept.
        max_bytes: Beyond this size of the folder, the files that were used longest ago are deleted.
    """
    delete_caches(folder.parents[1] / EARLIER_FOLDER)
    delete_caches(folder.parent, keep=folder)
    for path in used:
        with suppress(OSError):  # another process may have deleted it
            os.utime(path)
    files = []
    for path in folder.glob("*.npy"):
        with suppress(OSError):
            status = path.stat()
            files.append((status.st_mtime, path, status.st_size))
    total = sum(size for _, _, size in files)
    kept = set(used)
    for _, path, size in sorted(files):
        if total <= max_bytes:
            break
        if path not in kept:
            path.unlink(missing_ok=True)
            total -= size


def delete_caches(parent: Path, keep: Path | None = None) -> None:
    """Delete the cached features of captioners, and nothing else.

    Only `.npy` files are deleted, only in folders that are named by a fingerprint, and only where
    `parent` has the name of a cache, whatever else is in these folders.

    Args:
        parent: The folder that has one folder for each captioner.
        keep: The folder whose features stay.
    """
    if parent.name not in (FOLDER, EARLIER_FOLDER):
        return
    for folder in parent.glob("[0-9a-f]" * artifacts.FINGERPRINT_LENGTH):
        if folder == keep:
            continue
        for file in folder.glob("*.npy"):
            file.unlink(missing_ok=True)
        with suppress(OSError):  # it holds something else, too
            folder.rmdir()
    if keep is None:
        with suppress(OSError):
            parent.rmdir()
