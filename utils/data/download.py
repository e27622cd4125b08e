"""The command `download`: fetch the two archives of Flickr8k, check and unpack them.

A download of 1 GB has properties here that `keras.utils.get_file` lacks: a connection that breaks
is resumed where it broke, free space is checked before the first byte, and a folder appears only
when all of its files have been unpacked.
"""

import shutil
import urllib.request
import zipfile
import zlib
from http.client import HTTPException
from pathlib import Path

from tqdm import tqdm

from utils.errors import CaptionsError
from utils.io import check_free_space

RELEASE = "https://github.com/jbrownlee/Datasets/releases/download/Flickr8k"
PHOTOS = 8091
# name of an archive -> (suffix of its files, least number of them)
LISTS = {"Flickr8k_text": (".txt", 5)}
ARCHIVES = {**LISTS, "Flickr8k_Dataset": (".jpg", PHOTOS)}
MAX_UNPACKED_BYTES = 3e9
CHUNK_BYTES = 1 << 20
ATTEMPTS = 3
TERMS = """Flickr8k: 8,091 photos with five captions each, by M. Hodosh, P. Young and J. Hockenmaier
(2013). The photos belong to their photographers. By downloading them you accept that they are for
research and teaching only, not to be sold or redistributed, and that you cite the authors."""


def download(
    folder: Path, archives: dict[str, tuple[str, int]] = ARCHIVES, release: str = RELEASE
) -> None:
    """Download what the folder lacks of Flickr8k; a second call continues an interrupted one.

    Args:
        folder: Gets one folder for each archive.
        archives: For each archive the suffix of its files and the least number of them.
        release: The address of the archives.
    """
    print(TERMS)
    folder.mkdir(parents=True, exist_ok=True)
    for name, (suffix, count) in archives.items():
        if not (folder / name).is_dir():
            archive = fetch(f"{release}/{name}.zip", folder / f"{name}.zip")
            unpack(archive, folder / name, suffix, count)
    print(f"{folder}: complete")


def fetch(url: str, path: Path) -> Path:
    """Download a file; a connection that breaks is resumed.

    Raises:
        CaptionsError: All attempts failed. The next call continues from there.
    """
    if path.is_file():  # downloaded before, but not unpacked
        return path
    partial = path.with_name(f"{path.name}.partial")
    problem: Exception | str = "its end is missing"
    for _ in range(ATTEMPTS):
        try:
            if resume(url, partial):
                return partial.replace(path)
        except (OSError, HTTPException) as error:
            problem = error
            if getattr(error, "code", None) == 416:  # the partial file does not begin this one
                partial.unlink()
    raise CaptionsError(f"{url}: {problem}: run this again, it continues from there")


def resume(url: str, partial: Path) -> bool:
    """Append what a partial file lacks of `url`; returns whether it is complete now."""
    done = partial.stat().st_size if partial.exists() else 0
    headers = {"Range": f"bytes={done}-"} if done else {}
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        if response.status != 206:  # the server ignores ranges and sends the whole file
            done = 0
        total = done + int(response.headers.get("Content-Length", 0))
        check_free_space(partial.parent, 2 * total - done)  # the archive and its contents
        progress = tqdm(total=total, initial=done, unit="B", unit_scale=True, desc=partial.stem)
        with progress, open(partial, "ab" if done else "wb") as file:
            while chunk := response.read1(CHUNK_BYTES):
                progress.update(file.write(chunk))
    return partial.stat().st_size == total


def unpack(archive: Path, folder: Path, suffix: str, count: int) -> None:
    """Unpack all files with a suffix, or none; then delete the archive.

    `ZipFile.extract` checks their checksums and never writes outside its folder.

    Raises:
        CaptionsError: The archive is damaged or lacks files, or the disk is full.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    try:
        with zipfile.ZipFile(archive) as opened:
            for member in tqdm(
                members_to_unpack(opened, suffix, count),
                desc=f"unpacking {archive.name}",
                unit=" files",
            ):
                opened.extract(member, partial)
        partial.rename(folder)
    except OSError as error:  # of the disk: the archive is kept for another attempt
        raise CaptionsError(f"{archive}: could not be unpacked ({error}): run this again") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        archive.unlink()
        raise CaptionsError(f"{archive}: damaged ({error}), deleted: run this again") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    archive.unlink()


def members_to_unpack(archive: zipfile.ZipFile, suffix: str, count: int) -> list[zipfile.ZipInfo]:
    """The files of an archive with a suffix, without those that macOS added."""
    members = []
    for member in archive.infolist():
        if member.filename.endswith(suffix) and "__MACOSX" not in member.filename:
            members.append(member)
    size = sum(member.file_size for member in members)
    if len(members) < count or size > MAX_UNPACKED_BYTES:
        raise zipfile.BadZipFile(f"it holds {len(members)} {suffix} files, not {count}")
    return members
