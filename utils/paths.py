"""Where inputs are found and where artifacts are written."""

import filecmp
import os
import sys
from collections.abc import Collection, Iterator
from fnmatch import filter as matching_names
from pathlib import Path

from utils.config import Config
from utils.errors import CaptionsError
from utils.folder_index import list_folder

KAGGLE = Path("/kaggle")


def is_repository(folder: Path) -> bool:
    """Whether a folder is a copy of the repository: an installed package has no notebooks."""
    return (folder / "utils" / "artifacts.py").is_file() and (folder / "notebooks").is_dir()


def find_repository() -> Path:
    """The repository of this package; if it is installed elsewhere, that of the current folder.

    Returns:
        The folder of the repository, or the current folder if it is in none. Relative folders,
        `data`, `working` and `build`, are below it.
    """
    package_parent = Path(__file__).resolve().parents[1]
    current = Path.cwd()
    for folder in (package_parent, current, *current.parents):
        if is_repository(folder):
            return folder
    return current


REPOSITORY = find_repository()


def on_kaggle() -> bool:
    """Whether this is a Kaggle kernel, which has an input root of its own."""
    return (KAGGLE / "input").is_dir()


def input_folder() -> Path:
    """The folder in which photos and artifacts of others are looked for; never written to."""
    if folder := os.environ.get("CAPTIONS_INPUT"):
        return Path(folder)
    return KAGGLE / "input" if on_kaggle() else REPOSITORY / "data"


def working_folder(config: Config) -> Path:
    """The folder of the artifacts. The sample has its own, so it never overwrites photos' files."""
    if folder := config.working or os.environ.get("CAPTIONS_WORKING"):
        return Path(os.path.expanduser(folder))  # leaves an unknown ~user as it is
    if on_kaggle():
        return KAGGLE / "working"
    if config.preset == "sample":
        return REPOSITORY / "working" / "sample"
    return REPOSITORY / "working"


def cache_folder(config: Config) -> Path:
    """Where files are kept that only save time: the working folder of a run, or the user's cache.

    A command that is used outside the repository, in a folder of photos, leaves no files there.
    """
    folder = working_folder(config)
    if folder.is_dir() or is_repository(REPOSITORY):
        return folder
    return user_cache_folder() / "captions"


def user_cache_folder() -> Path:
    """The folder in which this system's programs keep what they can compute again."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    folder = os.environ.get("XDG_CACHE_HOME", "")
    return Path(folder) if os.path.isabs(folder) else Path.home() / ".cache"


def find_files(folder: Path, name: str = "*") -> Iterator[Path]:
    """All files below `folder` whose name matches a pattern, in linked folders, too.

    The `._` files that macOS writes are left out.
    """
    visited = {os.path.realpath(folder)}  # links may form a circle
    pending = [str(folder)]
    while pending:
        place = pending.pop()
        content = list_folder(place)
        for file_name in matching_names(content.names, name):
            path = Path(place, file_name)
            if not file_name.startswith("._") and path.is_file():
                yield path
        unvisited = []
        for subfolder in sorted(content.subfolders):
            target = os.path.realpath(os.path.join(place, subfolder))
            if target not in visited:
                visited.add(target)
                unvisited.append(os.path.join(place, subfolder))
        pending.extend(reversed(unvisited))  # the first one is next


def find_input(name: str) -> list[Path]:
    """All input files whose name matches a pattern, those in the shallowest folders first."""
    return sorted(find_files(input_folder(), name), key=lambda path: (len(path.parts), path))


def kernel_slug(notebook: str) -> str:
    """The name of a notebook on Kaggle, which is also the folder in which its outputs are mounted.

    Args:
        notebook: The notebook, such as `01_features`.
    """
    return f"captions-{notebook.replace('_', '-')}"


def find_unique_input(
    name: str, exclude: Collection[Path] = (), notebook: str | None = None
) -> Path | None:
    """The input file of that name; several with different contents are an error.

    Args:
        name: A file name, or a pattern.
        exclude: Folders whose files are not considered.
        notebook: The notebook that writes such files. Where its outputs are attached on Kaggle,
            they are taken, and not those of an attached dataset.
    """
    found = [path for path in find_input(name) if path.parent not in exclude]
    if notebook:
        slug = kernel_slug(notebook)
        found = [path for path in found if path.parent.name == slug] or found
    return require_identical(found)


def require_identical(paths: list[Path]) -> Path | None:
    """The first of several copies of a file, or None; copies that differ are an error."""
    if not paths:
        return None
    first = paths[0]
    for other in paths[1:]:
        if not filecmp.cmp(first, other, shallow=False):
            raise CaptionsError(f"{first}: {other} has other contents: keep one of the two")
    return first


def find_pretrained_folders(config: Config) -> list[Path]:
    """The folders that `start_from` can mean: an absolute path, or input folders that end so."""
    path = Path(os.path.expanduser(config.start_from))
    if not path.parts:
        return []
    if path.is_absolute():
        return [path]
    folders = [file.parent for file in find_input("captioner.pkl")]
    return [folder for folder in folders if folder.parts[-len(path.parts) :] == path.parts]
