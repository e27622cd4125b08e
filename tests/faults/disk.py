"""A disk with one fault at a chosen place where a file below a folder is opened or written."""

import builtins
import errno
import io
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

# Only artifacts carry a checksum: one changed bit of a photo or of a grid cannot be noticed.
CHECKSUMMED = (".pkl",)
PAST = 10**9  # a time in 2001

FAULTS = (
    "disk full",
    "no permission",
    "a write cut short",
    "a bit flipped",
    "a file vanishes",
    "a clock set back",
)


class FaultyDisk:
    """Counts the file operations below `folder`; operation `number` of a kind fails.

    Args:
        folder: Files outside it are not affected.
        fault: One of `FAULTS`, or None to count only.
        number: Which of the operations that this fault can affect fails.
        position: Where in the content of a file it fails, from 0 to 1.
    """

    def __init__(
        self, folder: Path, fault: str | None = None, number: int = 0, position: float = 0.5
    ):
        self.folder = str(folder)
        self.fault = fault
        self.number = number
        self.position = position
        self.events = dict.fromkeys(FAULTS, 0)
        self.damaged_file: str | None = None
        self.real_open = io.open
        self.real_replace = os.replace
        self.real_fsync = os.fsync

    def strikes(self, fault: str) -> bool:
        """Count one operation that the fault can affect; returns whether this one fails."""
        event = self.events[fault]
        self.events[fault] += 1
        return self.fault == fault and event == self.number

    def open(self, file, mode="r", *args, **kwargs):
        """`open`, with the faults of reading, and a file whose writes can fail."""
        if not isinstance(file, str | os.PathLike) or not str(file).startswith(self.folder):
            return self.real_open(file, mode, *args, **kwargs)
        if self.strikes("no permission"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
        reads = "r" in mode and "+" not in mode and os.path.isfile(file)
        if reads:
            self.damage(file)
        opened = self.real_open(file, mode, *args, **kwargs)
        if not reads:
            self.make_writes_fail(opened, file)
        return opened

    def damage(self, file) -> None:
        """The faults that can happen to a file before it is read."""
        if self.strikes("a file vanishes"):
            os.remove(file)
            self.damaged_file = file
        if str(file).endswith(CHECKSUMMED) and self.strikes("a bit flipped"):
            self.flip_bit(file)
        if self.strikes("a clock set back"):
            for path in Path(self.folder).rglob("*"):
                os.utime(path, (PAST, PAST))

    def make_writes_fail(self, opened, file) -> None:
        """Replace the `write` method of an open file by one that can fail."""
        real_write = opened.write

        def write(content):
            if self.strikes("disk full"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
            if self.strikes("a write cut short"):
                real_write(content[: int(len(content) * self.position)])
                opened.flush()
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(file))
            return real_write(content)

        opened.write = write

    def flip_bit(self, file) -> None:
        """Flip one bit of a file."""
        self.damaged_file = file
        with self.real_open(file, "r+b") as opened:
            offset = int(self.position * os.path.getsize(file))
            opened.seek(offset)
            (byte,) = opened.read(1)
            opened.seek(offset)
            opened.write(bytes([byte ^ (1 << offset % 8)]))

    def replace(self, source, target, **kwargs):
        """`os.replace`, which may not be permitted."""
        if str(target).startswith(self.folder) and self.strikes("no permission"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
        return self.real_replace(source, target, **kwargs)

    def fsync(self, descriptor):
        """`os.fsync`, which is the last call that can report a full disk."""
        if self.strikes("disk full"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.real_fsync(descriptor)


@contextmanager
def faulty_disk(
    folder: Path, fault: str | None = None, number: int = 0, position: float = 0.5
) -> Iterator[FaultyDisk]:
    """Within this context, files below `folder` are on a `FaultyDisk`, which is yielded."""
    disk = FaultyDisk(folder, fault, number, position)
    real_time = time.time
    delay = PAST if fault == "a clock set back" else 0
    with (
        patch.object(builtins, "open", disk.open),
        patch.object(io, "open", disk.open),
        patch.object(os, "replace", disk.replace),
        patch.object(os, "fsync", disk.fsync),
        patch.object(time, "time", lambda: real_time() - delay),
    ):
        yield disk
