"""TensorFlow's log stays out of what a command prints."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Import TensorFlow in this context: nothing but errors is logged, then and later.

    Someone who has set the log level is looking for a problem, and sees everything.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # errors are raised as exceptions, too
    with silence_stderr():
        yield


@contextmanager
def silence_stderr() -> Iterator[None]:
    """Discard what is written to stderr.

    The C++ part of TensorFlow logs there while it loads, whatever the log level is, so the file
    descriptor itself is replaced.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
