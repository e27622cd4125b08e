"""Files that are written completely or not at all."""

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from utils.errors import CaptionsError

NO_PERMISSION = (errno.EACCES, errno.EPERM, errno.EROFS)
RETRY_HINT = "check that there is free space, then run this again"


def write_atomically(path: str | Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Write a temporary file beside `path`, flush it to disk, then rename it.

    A reader sees the old file or the new one, never a part of it.

    Args:
        path: The file; its folder is made where it is missing.
        write: Called with the open temporary file.

    Raises:
        CaptionsError: The file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:  # Ctrl-C leaves no temporary file either
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            hint = RETRY_HINT
            if error.errno in NO_PERMISSION:
                hint = f"get permission to write to the folder {path.parent}, or name another one"
            raise CaptionsError(
                f"{path}: could not be written ({error.strerror}): {hint}"
            ) from None
        raise


def check_free_space(folder: Path, needed_bytes: int) -> None:
    """Raise an error before the first byte of a file that does not fit on the disk.

    Raises:
        CaptionsError: Says how much space is needed and how much is free.
    """
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise CaptionsError(
            f"{folder}: {needed_bytes / 1e6:,.0f} MB needed, {free_bytes / 1e6:,.0f} MB free: "
            "free some space"
        )


def require_folder(path: str | Path, option: str) -> None:
    """Raise an error before any work whose result goes to a file that cannot be written.

    Args:
        path: The file to write.
        option: How the message names it, such as `--output captions.csv`.

    Raises:
        CaptionsError: Its folder does not exist, or does not permit a new file.
    """
    folder = Path(path).parent
    if folder.exists() and not folder.is_dir():
        raise CaptionsError(f"{option}: {folder} is a file and no folder: name another folder")
    if not folder.is_dir():
        raise CaptionsError(f"{option}: its folder does not exist: create the folder {folder}")
    if not Path(path).exists() and not os.access(folder, os.W_OK):
        raise CaptionsError(
            f"{option}: you have no permission to write to the folder {folder.absolute()}: name a "
            "file in another folder"
        )


def write_text(path: str | Path, text: str) -> None:
    """Write a text file completely or not at all."""
    write_atomically(path, lambda file: file.write(text.encode()))
