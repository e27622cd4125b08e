"""Flickr8k for use at home: `make data` fetches its two archives, checks and unpacks them."""

import shutil
import urllib.request
import zipfile
import zlib
from http.client import HTTPException

from tqdm import tqdm

from utils.errors import CaptionsError

RELEASE = "https://github.com/jbrownlee/Datasets/releases/download/Flickr8k"
PHOTOS = 8091
LISTS = {"Flickr8k_text": (".txt", 5)}  # an archive's name: what it must hold of which ending
ARCHIVES = LISTS | {"Flickr8k_Dataset": (".jpg", PHOTOS)}
TERMS = """Flickr8k: 8,091 photos with five captions each, of M. Hodosh, P. Young and J. Hockenmaier
(2013). The photos belong to their photographers. By fetching them you accept that they are for
research and teaching only, not to be sold or passed on, and that you cite the authors."""


def download(folder, archives=ARCHIVES, release=RELEASE):
    """Fetch what the folder lacks of Flickr8k; a second call goes on where the first ended."""
    print(TERMS)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in archives.items():
        if not (folder / name).is_dir():
            unpack(fetch(f"{release}/{name}.zip", folder / f"{name}.zip"), folder / name, *content)
    print(f"{folder}: complete")


def fetch(url, path, tries=3):
    """Download `url` to `path`; a line that is cut is taken up again where it was cut."""
    if path.is_file():  # it could not be unpacked last time
        return path
    half = path.with_name(f"{path.name}.partial")
    problem = "its end is missing"
    for _ in range(tries):
        try:
            if fetch_rest(url, half):
                return half.replace(path)
        except (OSError, HTTPException) as error:
            problem = error
            if getattr(error, "code", None) == 416:  # what is there is not the beginning of it
                half.unlink()
    raise CaptionsError(f"{url}: {problem}: run this again, it goes on from there")


def fetch_rest(url, half):
    """Append what `half` lacks of `url`; returns whether it is complete now."""
    have = half.stat().st_size if half.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=30) as answer:
        have = have if answer.status == 206 else 0  # else the server sends all of it
        total = have + int(answer.headers.get("Content-Length", 0))
        check_room(half.parent, 2 * total - have)  # the archive, and what is in it
        bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=half.stem)
        with bar, open(half, "ab" if have else "wb") as file:
            while part := answer.read1(1 << 20):
                bar.update(file.write(part))
    return half.stat().st_size == total


def check_room(folder, length):
    """Refuse to begin what the disk can't hold."""
    if (free := shutil.disk_usage(folder).free) < length:
        raise CaptionsError(f"{folder}: {length / 1e6:,.0f} MB needed, {free / 1e6:,.0f} MB free")


def unpack(path, folder, ending, count):
    """Unpack the files of that ending, of which there must be `count`: all of them or nothing.

    `extract` checks their checksums and never writes outside the folder it is given.
    """
    draft = folder.with_name(f"{folder.name}.partial")
    try:
        with zipfile.ZipFile(path) as archive:
            files = [file for file in archive.infolist() if file.filename.endswith(ending)]
            files = [file for file in files if "__MACOSX" not in file.filename]
            if len(files) < count or sum(file.file_size for file in files) > 3e9:
                raise zipfile.BadZipFile(f"it holds {len(files)} {ending} files, not {count}")
            for file in tqdm(files, desc=f"unpacking {path.name}", unit=" files"):
                archive.extract(file, draft)
        draft.rename(folder)
    except OSError as error:  # of the disk: the archive stays, for another try
        raise CaptionsError(f"{path}: could not be unpacked ({error}): run this again") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        path.unlink()
        raise CaptionsError(f"{path}: damaged ({error}), removed: run this again") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    path.unlink()
