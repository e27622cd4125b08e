"""The one error type that users see, and what its messages have in common."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class CaptionsError(Exception):
    """A problem that a user can cause and fix: one line that says what, where and how to fix it."""

    def _render_traceback_(self) -> list[str]:
        # IPython calls this instead of printing a traceback of the package's internals.
        return [f"{type(self).__name__}: {self}"]


@contextmanager
def os_errors_as_caption_errors(
    problem: str = "could not be read",
    fix: str = "check that it exists and that you have permission",
) -> Iterator[None]:
    """Turn an `OSError` on a file into a `CaptionsError`; works as a decorator, too.

    Args:
        problem: What could not be done with the file.
        fix: What the user should check.

    Raises:
        CaptionsError: Names the file, the problem, the system's reason and the fix.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is None:  # Pillow raises such for broken images
            raise
        raise CaptionsError(f"{error.filename}: {problem} ({error.strerror}): {fix}") from None


def one_line(error: Exception) -> str:
    """The message of an error without line breaks, or its type if it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def program_name() -> str:
    """How the command line was called: `captions`, if it is installed, or `python -m utils`."""
    return "captions" if Path(sys.argv[0]).stem == "captions" else "python -m utils"
