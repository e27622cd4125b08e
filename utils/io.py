"""Files that are written whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path

from utils.errors import CaptionsError

RETRY_HINT = "see that there is room, then run this again"


def write_atomically(path, write):
    """Call `write(file)` on a temporary file beside `path`, flush it to disk, then rename it."""
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException as error:  # Ctrl-C too leaves no half behind
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise CaptionsError(
                f"{path}: could not be written ({error.strerror}): {RETRY_HINT}"
            ) from None
        raise


def write_text(path, text):
    """A text file, written like an artifact: whole or not at all."""
    write_atomically(path, lambda file: file.write(text.encode()))
