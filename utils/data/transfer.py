"""Fetch one file from a server: resumed where a connection broke, and compared with a checksum.

`keras.utils.get_file` deletes what it has when a connection breaks, and pooch, too, starts at the
first byte again. For 1 GB over a slow line, that can mean never.
"""

import hashlib
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from tqdm import tqdm

from utils.errors import CaptionsError, os_errors_as_caption_errors
from utils.io import RETRY_HINT, check_free_space

CHUNK_BYTES = 1 << 20
ATTEMPTS = 3
TIMEOUT = 30  # seconds without an answer
RANGE_NOT_SATISFIABLE = 416  # the server has no byte at the place where a download would continue


class MirrorError(CaptionsError):
    """Why a server does not deliver a file; another one may.

    Its message does not name the server: the caller, which knows the other ones, does.
    """


@os_errors_as_caption_errors()
def fetch(url: str, path: Path, checksum: str = "") -> None:
    """Download a file, or what is missing of it, and compare its checksum.

    Args:
        url: The address of the file.
        path: Where it is written; it is there only when it is complete. A file that is there
            already is not downloaded again.
        checksum: Such as `sha256:...` or `md5:...`; empty if none is known.

    Raises:
        MirrorError: The server does not deliver the file, or delivers another one. The next call
            continues where this one ended.
        CaptionsError: The disk is full, or cannot be written.
    """
    if not path.is_file():
        partial = partial_path(path)
        download(url, partial)
        partial.replace(path)
    if checksum and file_checksum(path, checksum.partition(":")[0]) != checksum:
        path.unlink()
        raise MirrorError(f"its checksum is not {checksum}, deleted")


def partial_path(path: Path) -> Path:
    """The file that holds what has been downloaded so far."""
    return path.with_name(f"{path.name}.partial")


def file_checksum(path: Path, algorithm: str) -> str:
    """The checksum of a file, such as `sha256:...`."""
    with open(path, "rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


def download(url: str, partial: Path) -> None:
    """Download a file, or what a partial file lacks of it, in several attempts.

    Raises:
        MirrorError: All attempts failed.
    """
    problem: Exception | str = "its end is missing"
    for _ in range(ATTEMPTS):
        try:
            if resume(url, partial):
                return
        except (OSError, HTTPException) as error:
            problem = error
    raise MirrorError(str(problem))


def resume(url: str, partial: Path) -> bool:
    """Append what a partial file lacks of `url`; returns whether it is complete now."""
    done = partial.stat().st_size if partial.exists() else 0
    headers = {"Range": f"bytes={done}-"} if done else {}
    try:
        response = open_url(url, headers)
    except HTTPError as error:
        if error.code != RANGE_NOT_SATISFIABLE:
            raise
        return is_complete(url, partial)
    with response:
        length = response.headers.get("Content-Length")
        if response.status != 206:  # the server ignores ranges and sends the whole file
            if done and length and int(length) < done:
                raise MirrorError(f"answers with {int(length):,} bytes, but {done:,} are here")
            done = 0
        total = done + int(length) if length else None
        if total:
            check_free_space(partial.parent, 2 * total - done)  # the archive and its contents
        append_chunks(response, partial, done, total)
    return total is None or partial.stat().st_size == total


def open_url(url: str, headers: dict[str, str]) -> Any:
    """Open a connection."""
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)


def is_complete(url: str, partial: Path) -> bool:
    """Whether a partial file is as long as the file on the server; one that is longer is deleted.

    A server answers in the same way to a request for the rest of a file that is complete, and of
    one that is too long.
    """
    with open_url(url, {}) as response:  # only its headers are read
        length = response.headers.get("Content-Length")
    size = partial.stat().st_size
    if length and size == int(length):
        return True
    print(f"{partial}: has {size:,} bytes, but {url} has {length}: it is downloaded from the start")
    partial.unlink()
    return False


def append_chunks(response: Any, partial: Path, done: int, total: int | None) -> None:
    """Write the body of a response to a partial file that has `done` bytes, with a progress bar.

    Raises:
        CaptionsError: The disk is full, or cannot be written.
    """
    progress = tqdm(total=total, initial=done, unit="B", unit_scale=True, desc=partial.stem)
    try:
        with progress, open(partial, "ab" if done else "wb") as file:
            for chunk in read_chunks(response):
                progress.update(file.write(chunk))
    except OSError as error:
        raise CaptionsError(
            f"{partial}: could not be written ({error.strerror}): {RETRY_HINT}"
        ) from None


def read_chunks(response: Any) -> Iterator[bytes]:
    """The body of a response in pieces; a broken connection is not reported as an `OSError`.

    Raises:
        HTTPException: The connection broke.
    """
    try:
        while chunk := response.read1(CHUNK_BYTES):
            yield chunk
    except OSError as error:
        raise HTTPException(str(error)) from None
