"""The names in folders, read once per process: a search of the inputs walks thousands of files.

A folder is read again as soon as it has changed. A folder that changed a moment ago is read every
time, because a second change could leave the times of the first.
"""

import os
import time
from dataclasses import dataclass

# A folder must have been left alone for so long before what it holds is remembered: some file
# systems record times in steps of two seconds.
MIN_UNCHANGED_NANOSECONDS = 2_500_000_000

Signature = tuple[int, ...]


@dataclass(frozen=True)
class Folder:
    """The entries of a folder.

    Attributes:
        subfolders: The names of the folders in it, and of links to folders.
        names: The names of everything else.
        is_cacheable: Whether the lists stay true until the folder changes; they may not where it
            has links, because their targets can change.
    """

    subfolders: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    is_cacheable: bool = True


_known: dict[str, tuple[Signature, Folder]] = {}


def list_folder(path: str) -> Folder:
    """The entries of a folder; none if it cannot be read."""
    now = time.time_ns()
    try:
        status = os.stat(path)
        # Any change of the entries changes a time; another folder mounted here, the numbers.
        signature = (
            status.st_dev,
            status.st_ino,
            status.st_mtime_ns,
            status.st_ctime_ns,
            status.st_nlink,
            status.st_size,
        )
        if path in _known and _known[path][0] == signature:
            return _known[path][1]
        folder = read_folder(path)
    except OSError:
        return Folder()
    last_change = max(status.st_mtime_ns, status.st_ctime_ns)
    if folder.is_cacheable and now - last_change > MIN_UNCHANGED_NANOSECONDS:
        _known[path] = (signature, folder)
    return folder


def read_folder(path: str) -> Folder:
    """Read the entries of a folder."""
    subfolders = []
    names = []
    is_cacheable = True
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_symlink():
                is_cacheable = False
            if is_folder(entry):
                subfolders.append(entry.name)
            else:
                names.append(entry.name)
    return Folder(tuple(subfolders), tuple(names), is_cacheable)


def is_folder(entry: os.DirEntry) -> bool:
    """Whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
