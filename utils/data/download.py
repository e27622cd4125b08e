"""The command `download`: fetch the two archives of Flickr8k, check and unpack them.

Each archive has several mirrors, which are tried in order. A folder appears only when all of its
files have been unpacked.
"""

import hashlib
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from utils.data.transfer import MirrorError, fetch, partial_path
from utils.errors import CaptionsError

PHOTOS = 8091
MAX_UNPACKED_BYTES = 3e9
TERMS = """Flickr8k: 8,091 photos with five captions each, by M. Hodosh, P. Young and J. Hockenmaier
(2013). The photos belong to their photographers. By downloading them you accept that they are for
research and teaching only, not to be sold or redistributed, and that you cite the authors."""

# What unpacking an archive that is damaged can raise.
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Mirror:
    """A place that offers an archive.

    Attributes:
        url: The address of its file.
        checksum: Of that file, such as `md5:...`; empty if nobody has published one.
    """

    url: str
    checksum: str = ""


@dataclass(frozen=True)
class Archive:
    """An archive of the data set: what a complete one contains, and where it is offered.

    Attributes:
        suffix: Of the files that are needed; others are not unpacked.
        count: The least number of them.
        mirrors: In the order in which they are tried.
        checksums: The SHA-256 of files that every copy of the archive contains.
        lists: The folder of an archive whose lists `*Images.txt` name files of this one.
    """

    suffix: str
    count: int
    mirrors: tuple[Mirror, ...]
    checksums: dict[str, str] = field(default_factory=dict)
    lists: str = ""


RELEASE = "https://github.com/jbrownlee/Datasets/releases/download/Flickr8k"
# The checksums of the two files of this release are those that torchvision for R compares, too.
# Every other archive of the texts holds the same files, but was packed anew. No checksum of the
# other archives of the photos is known: for these, the names of the photos are compared.
LISTS = {
    "Flickr8k_text": Archive(
        suffix=".txt",
        count=5,
        mirrors=(
            Mirror(f"{RELEASE}/Flickr8k_text.zip", "md5:bf6c1abcb8e4a833b7f922104de18627"),
            Mirror(
                "https://raw.githubusercontent.com/Akarsh-B/Image-Captioning-Using-Deep-NeuralNets"
                "/ec6980e8e70ddeaa24cc4985e12ed4b309f45360/Flickr8k_text.zip",
                "sha256:db3144804b27447b78348059e85e89c6de0900fa8d546b8088ebd85c4dd7d643",
            ),
        ),
        checksums={
            "Flickr8k.token.txt": (
                "1e1f3a371ba1a1bf742e6930521c037e046b2bf3fcc2390ba8405e0301ed7689"
            ),
            "Flickr_8k.trainImages.txt": (
                "e330ddd5156a4c2d2e2b67bc587e70e588f2d132bd8a10dc54dcb71e58115d8e"
            ),
            "Flickr_8k.devImages.txt": (
                "18ba829f47f6df1cb830bf7f0506e2ddf333818925299babbd1bbcaf50fdc504"
            ),
            "Flickr_8k.testImages.txt": (
                "c0924146c131458ceba45da59670fe9520eadce1e5cafffa16a817672a9b1f17"
            ),
        },
    )
}
ARCHIVES = {
    **LISTS,
    "Flickr8k_Dataset": Archive(
        suffix=".jpg",
        count=PHOTOS,
        mirrors=(
            Mirror(f"{RELEASE}/Flickr8k_Dataset.zip", "md5:f18a1e2920de5bd84dae7cf08ec78978"),
            Mirror("https://github.com/awsaf49/flickr-dataset/releases/download/v1.0/flickr8k.zip"),
            Mirror("https://www.kaggle.com/api/v1/datasets/download/adityajn105/flickr8k"),
        ),
        lists="Flickr8k_text",
    ),
}


def download(folder: Path, archives: dict[str, Archive] = ARCHIVES) -> None:
    """Download what the folder lacks of Flickr8k; a second call continues an interrupted one.

    Args:
        folder: Gets one folder for each archive.
        archives: The archives by name.
    """
    print(TERMS)
    folder.mkdir(parents=True, exist_ok=True)
    for name, archive in archives.items():
        if not has_files(folder / name, archive.suffix):
            download_archive(name, archive, folder)
    print(f"{folder}: complete")


def has_files(folder: Path, suffix: str) -> bool:
    """Whether there is a file with a suffix in a folder, at any depth."""
    return any(folder.rglob(f"*{suffix}"))


def download_archive(name: str, archive: Archive, folder: Path) -> None:
    """Fetch and unpack an archive from the first mirror that delivers it.

    Raises:
        CaptionsError: No mirror does; the error names each of them, with its problem.
    """
    problems = []
    for mirror, path in order_mirrors(name, archive, folder):
        try:
            fetch(mirror.url, path, mirror.checksum)
            unpack(path, folder / name, archive, names_to_check(mirror, archive, folder))
        except MirrorError as error:
            problems.append(f"{mirror.url}: {error}")
            print(problems[-1], flush=True)
            continue
        for _, other in order_mirrors(name, archive, folder):
            partial_path(other).unlink(missing_ok=True)
        return
    fix = "run this again"
    if any(partial_path(path).exists() for _, path in order_mirrors(name, archive, folder)):
        fix += ", it continues from there"
    raise CaptionsError(f"{folder / name}: no mirror delivers it ({'; '.join(problems)}): {fix}")


def order_mirrors(name: str, archive: Archive, folder: Path) -> list[tuple[Mirror, Path]]:
    """The mirrors with the file that each is downloaded to, first those of which most is here."""
    candidates = []
    for number, mirror in enumerate(archive.mirrors):
        # What one mirror has begun, another with other bytes must not continue.
        path = folder / (f"{name}-{number}.zip" if number else f"{name}.zip")
        candidates.append((mirror, path))
    return sorted(candidates, key=missing_part)


def missing_part(candidate: tuple[Mirror, Path]) -> tuple[bool, int]:
    """A sort key: smaller if more of a mirror's file is here."""
    _, path = candidate
    partial = partial_path(path)
    return not path.is_file(), -(partial.stat().st_size if partial.is_file() else 0)


def names_to_check(mirror: Mirror, archive: Archive, folder: Path) -> list[str]:
    """The files that an archive without a checksum must contain, according to another's lists."""
    names: list[str] = []
    if archive.lists and not mirror.checksum:
        for path in sorted((folder / archive.lists).rglob("*Images.txt")):
            names.extend(path.read_text(encoding="utf-8", errors="replace").split())
        print(f"{mirror.url}: its checksum is not known; the names of its photos are checked")
    return names


def unpack(path: Path, folder: Path, archive: Archive, names: Sequence[str] = ()) -> None:
    """Unpack the files of an archive that are needed, or none; then delete the archive.

    `ZipFile.extract` checks their checksums and never writes outside its folder.

    Args:
        path: The archive.
        folder: Gets its files.
        archive: What it must contain.
        names: More files that it must contain.

    Raises:
        MirrorError: The archive is damaged or incomplete.
        CaptionsError: The disk is full.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    try:
        with zipfile.ZipFile(path) as opened:
            members = members_to_unpack(opened, archive, names)
            for member in tqdm(members, desc=f"unpacking {path.name}", unit=" files"):
                opened.extract(member, partial)
        if folder.is_dir():
            folder.rmdir()  # an empty one
        partial.rename(folder)
    except OSError as error:  # of the disk: the archive is kept for another attempt
        raise CaptionsError(f"{path}: could not be unpacked ({error}): run this again") from None
    except DAMAGE as error:
        path.unlink()
        raise MirrorError(f"{path}: damaged ({error}), deleted") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    path.unlink()


def members_to_unpack(
    opened: zipfile.ZipFile, archive: Archive, names: Sequence[str]
) -> list[zipfile.ZipInfo]:
    """The files of an archive that are needed, without those that macOS added.

    Raises:
        zipfile.BadZipFile: Files are missing, or have other contents.
    """
    members = {}
    for member in opened.infolist():
        if member.filename.endswith(archive.suffix) and "__MACOSX" not in member.filename:
            members[member.filename] = member
    size = sum(member.file_size for member in members.values())
    if len(members) < archive.count or size > MAX_UNPACKED_BYTES:
        raise zipfile.BadZipFile(
            f"it holds {len(members)} {archive.suffix} files, not {archive.count}"
        )
    by_name = {PurePosixPath(name).name: member for name, member in members.items()}
    for name in [*archive.checksums, *names]:
        if name not in by_name:
            raise zipfile.BadZipFile(f"it lacks {name}")
    for name, checksum in archive.checksums.items():
        if hashlib.sha256(opened.read(by_name[name])).hexdigest() != checksum:
            raise zipfile.BadZipFile(f"its {name} has another checksum")
    return list(members.values())
