"""One fault at a time, at a chosen place where a file below a folder is opened or written."""

import builtins
import errno
import io
import os
import time
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

ARTIFACTS = (".pkl",)  # what carries a checksum: of a photo or a grid no bit is known


class Disk:
    """Counts what happens to files below `folder`; at event `number` of its kind, a fault."""

    def __init__(self, folder, fault=None, number=0, seed_generator=0.5):
        self.folder, self.fault, self.number, self.seed_generator = (
            str(folder),
            fault,
            number,
            seed_generator,
        )
        self.events, self.hurt = dict.fromkeys(FAULTS, 0), None
        self.open, self.replace, self.fsync = io.open, os.replace, os.fsync

    def due(self, fault):
        """Whether this event is the one that goes wrong."""
        self.events[fault] += 1
        return self.fault == fault and self.events[fault] - 1 == self.number

    def opened(self, file, mode="r", *rest, **options):
        """`open`, with the faults of reading, and writes that can fail."""
        if not isinstance(file, str | os.PathLike) or not str(file).startswith(self.folder):
            return self.open(file, mode, *rest, **options)
        if self.due("no permission"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
        reading = "r" in mode and "+" not in mode and os.path.isfile(file)
        if reading and self.due("a file vanishes"):
            os.remove(file)
            self.hurt = file
        if reading and str(file).endswith(ARTIFACTS) and self.due("a bit flipped"):
            self.flip(file)
        if reading and self.due("a clock set back"):
            for path in Path(self.folder).rglob("*"):
                os.utime(path, (10**9, 10**9))
        found = self.open(file, mode, *rest, **options)
        if not reading:
            write = found.write

            def careful(content):
                if self.due("disk full"):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
                if self.due("a write cut short"):
                    write(content[: int(len(content) * self.seed_generator)])
                    found.flush()
                    raise OSError(errno.EIO, os.strerror(errno.EIO), str(file))
                return write(content)

            found.write = careful
        return found

    def flip(self, file):
        """Turn one bit of a file round."""
        self.hurt = file
        with self.open(file, "r+b") as whole:
            place = int(self.seed_generator * os.path.getsize(file))
            whole.seek(place)
            (byte,) = whole.read(1)
            whole.seek(place)
            whole.write(bytes([byte ^ 1 << place % 8]))

    def replaced(self, source, target, **options):
        """`os.replace`, which may not be allowed."""
        if str(target).startswith(self.folder) and self.due("no permission"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
        return self.replace(source, target, **options)

    def flushed(self, number):
        """`os.fsync`, where a full disk is noticed last."""
        if self.due("disk full"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.fsync(number)


FAULTS = (
    "disk full",
    "no permission",
    "a write cut short",
    "a bit flipped",
    "a file vanishes",
    "a clock set back",
)


@contextmanager
def broken(folder, fault=None, number=0, seed_generator=0.5):
    """While this holds, files below `folder` go through a `Disk`; it is handed out."""
    disk, clock = Disk(folder, fault, number, seed_generator), time.time
    back = 10**9 if fault == "a clock set back" else 0
    with (
        patch.object(builtins, "open", disk.opened),
        patch.object(io, "open", disk.opened),
        patch.object(os, "replace", disk.replaced),
        patch.object(os, "fsync", disk.flushed),
        patch.object(time, "time", lambda: clock() - back),
    ):
        yield disk
