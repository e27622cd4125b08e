"""The artifacts that the notebooks hand to each other: save, load and check them.

An artifact is one pickle of plain data (dict, list, str, numbers, NumPy arrays) with a header that
says what made it: its kind and version, the settings that affect it, and the fingerprints of the
artifacts that it was made from. It is written to a temporary name and then renamed, so a reader
sees the old file or the new one. A file that does not fit the run is an error that names the
notebook to run again.
"""

import hashlib
import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from utils import safe_pickle
from utils.artifact_specs import (
    ADDED_SETTINGS,
    ARTIFACTS,
    STAGES,
    STALE_PATTERNS,
    file_name,
    kind_of_file,
    remake_hint,
    rerun_hint,
)
from utils.config import Config, parse_value
from utils.errors import CaptionsError, one_line, os_errors_as_caption_errors
from utils.io import write_atomically
from utils.paths import find_pretrained_folders, find_unique_input, working_folder

SCALAR_TYPES = {str, int, float, bool, type(None)}  # of the values in a header
FINGERPRINT_LENGTH = 16  # characters of a SHA-256


@dataclass(frozen=True)
class Header:
    """What an artifact says of itself.

    Attributes:
        fingerprint: The fingerprint of its file.
        config: The settings that affect it, its own and those of its ancestors.
        parents: The fingerprint of each artifact that it was made from.
    """

    fingerprint: str
    config: dict[str, Any]
    parents: dict[str, Any]


# === Save and load ===


def save(kind: str, data: dict[str, Any], config: Config) -> Path:
    """Write an artifact into the working folder.

    The same data and settings give the same bytes, so a second run changes no fingerprint.

    Args:
        kind: A key of `ARTIFACTS`.
        data: Plain data.
        config: The configuration of the run.

    Returns:
        The path of the file.
    """
    parents = {}
    for parent in ARTIFACTS[kind].parents:
        header = read_header(artifact_path(parent, config), parent)
        config = replace_auto(config, header.config)
        parents[parent] = header.fingerprint
    settings = {}
    for ancestor in ancestors(kind):
        for name in ARTIFACTS[ancestor].config_fields:
            settings[name] = getattr(config, name)
    artifact = {
        "kind": kind,
        "version": ARTIFACTS[kind].version,
        "config": settings,
        "parents": parents,
        "data": data,
    }
    path = working_folder(config) / file_name(kind, config)
    content = safe_pickle.dumps(artifact)
    write_atomically(path, lambda file: file.write(content))
    delete_stale_files(path, kind, data)
    return path


def delete_stale_files(path: Path, kind: str, data: dict[str, Any]) -> None:
    """Delete the files that a newly saved artifact makes obsolete."""
    for pattern in STALE_PATTERNS.get(kind, ()):
        for stale in path.parent.glob(pattern):
            if stale.name != data.get("grid"):
                stale.unlink(missing_ok=True)  # in a cluster, the other process deletes it, too


def load(kind: str, config: Config) -> Any:
    """Load the data of an artifact.

    Args:
        kind: A key of `ARTIFACTS`.
        config: The configuration of the run.

    Returns:
        The data that it was saved with.

    Raises:
        CaptionsError: The artifact is missing or damaged, was made with other settings, or from
            other artifacts than those that are here.
    """
    path = artifact_path(kind, config)
    artifact = read_artifact(path, kind)
    check_config(path, kind, artifact["config"], config)
    check_parents(path, kind, artifact["parents"], config, checked={})
    return artifact["data"]


def is_current(kind: str, config: Config) -> bool:
    """Whether there is an artifact of this kind, and it fits the configuration and its parents."""
    try:
        path = artifact_path(kind, config)
        header = read_header(path, kind)
        check_config(path, kind, header.config, config)
        check_parents(path, kind, header.parents, config, checked={})
    except CaptionsError:
        return False
    return True


def resolve_auto(config: Config, kind: str = "captioner") -> Config:
    """The configuration with each "auto" replaced by the value that an artifact recorded."""
    return replace_auto(config, read_header(artifact_path(kind, config), kind).config)


def replace_auto(config: Config, recorded: dict[str, Any]) -> Config:
    """The configuration with each "auto" replaced by the recorded value, where there is one."""
    resolved = {}
    for name, value in vars(config).items():
        if value == "auto" and name in recorded:
            resolved[name] = recorded[name]
    return replace(config, **resolved)


def load_saved_config(folder: str | Path | None = None) -> Config:
    """The configuration of the captioner in `folder`, and of its evaluation where there is one.

    Without a folder it is this machine's own captioner: the one for photos, where there is one, or
    the sample's.
    """
    if folder:
        config = Config(working=str(folder))
    else:
        config = Config("flickr8k")
        if not find("captioner", config):
            config = Config()
    settings = dict(read_header(artifact_path("captioner", config), "captioner").config)
    evaluated = find("predictions", config)
    if evaluated:
        settings = {**read_header(evaluated, "predictions").config, **settings}
    preset = str(settings.pop("preset", None))
    parsed = {name: parse_value(name, value) for name, value in settings.items()}
    return Config(preset, working=config.working, **parsed)


# === Checks ===

# By kind and SHA-256 of the file. The keys are contents, so no entry is ever out of date.
_headers: dict[tuple[str, str], Header] = {}


def read_artifact(path: Path, kind: str) -> dict[str, Any]:
    """Read an artifact with its header.

    Raises:
        CaptionsError: It is not of that kind, or of another version of this project.
    """
    content, digest = read_content(path)
    return parse_artifact(path, kind, content, digest)


def read_header(path: Path, kind: str) -> Header:
    """Read the header of an artifact; a file with known contents is not unpickled again.

    Raises:
        CaptionsError: It is not of that kind, or of another version of this project.
    """
    content, digest = read_content(path)
    if (kind, digest) not in _headers:
        parse_artifact(path, kind, content, digest)
    return _headers[kind, digest]


def parse_artifact(path: Path, kind: str, content: bytes, digest: str) -> dict[str, Any]:
    """Unpickle an artifact, check its header, and remember the header."""
    artifact = unpickle(path, content)
    stored_kind = artifact.get("kind") if isinstance(artifact, dict) else None
    if not isinstance(stored_kind, str) or stored_kind != kind or "data" not in artifact:
        raise CaptionsError(f"{path}: does not hold {kind}: {remake_hint(kind)}")
    version = artifact.get("version")
    if not isinstance(version, int):
        raise CaptionsError(f"{path}: does not hold {kind}: {remake_hint(kind)}")
    expected = ARTIFACTS[kind].version
    if version != expected:
        raise CaptionsError(
            f"{path}: has version {version}, but this is version {expected}: {remake_hint(kind)}"
        )
    config = artifact.get("config")
    parents = artifact.get("parents")
    if not is_flat(config) or not is_flat(parents):
        raise CaptionsError(f"{path}: does not hold {kind}: {remake_hint(kind)}")
    _headers[kind, digest] = Header(digest[:FINGERPRINT_LENGTH], dict(config), dict(parents))
    return artifact


def is_flat(part: Any) -> bool:
    """Whether a part of a header is a dict of scalars."""
    return isinstance(part, dict) and all(type(value) in SCALAR_TYPES for value in part.values())


def ancestors(kind: str) -> list[str]:
    """The kinds that an artifact is made from, the first in the chain first, and itself."""
    kinds: list[str] = []
    for parent in ARTIFACTS[kind].parents:
        kinds.extend(ancestors(parent))
    kinds.append(kind)
    return list(dict.fromkeys(kinds))


def check_config(path: Path, kind: str, recorded: dict[str, Any], config: Config) -> None:
    """Refuse an artifact that was made with other settings, its own or an ancestor's.

    The error names the first notebook in the chain whose artifact has other settings.
    """
    recorded = {**ADDED_SETTINGS, **recorded}
    for ancestor in ancestors(kind):
        differences = []
        for name in ARTIFACTS[ancestor].config_fields:
            value = getattr(config, name)
            if value != "auto" and str(value) != str(recorded.get(name)):
                differences.append(f"{name}={recorded.get(name)} (now {value})")
        if differences:
            outdated = ancestor
            if kind in STAGES or has_current_settings(ancestor, kind, config):
                outdated = kind
            raise CaptionsError(
                f"{path}: made with {', '.join(differences)}: {rerun_hint(outdated)}"
            )


def has_current_settings(ancestor: str, kind: str, config: Config) -> bool:
    """Whether an ancestor has been made again with the current settings, but `kind` has not."""
    path = find(ancestor, config)
    recorded = {}
    if path and ancestor != kind:
        recorded = {**ADDED_SETTINGS, **read_header(path, ancestor).config}
    for name in ARTIFACTS[ancestor].config_fields:
        value = getattr(config, name)
        if value != "auto" and value != recorded.get(name):
            return False
    return True


def check_parents(
    path: Path,
    kind: str,
    recorded: dict[str, Any],
    config: Config,
    checked: dict[str, Header | None],
) -> None:
    """Refuse an artifact one of whose ancestors has been made again with another result.

    Args:
        path: The file of the artifact.
        kind: Its kind.
        recorded: The fingerprints of its parents when it was made.
        config: The configuration of the run.
        checked: Gets the headers of the ancestors, so that each file is read once.
    """
    for parent in ARTIFACTS[kind].parents:
        header = checked_header(parent, config, checked)
        if header and header.fingerprint != recorded.get(parent):
            name = file_name(parent, config)
            raise CaptionsError(f"{path}: made from another {name}: {rerun_hint(kind)}")


def checked_header(kind: str, config: Config, checked: dict[str, Header | None]) -> Header | None:
    """The header of an ancestor, whose own ancestors are checked, too.

    It is None where there is no file: the file is not needed here, and loading it would report
    that it is missing.
    """
    if kind not in checked:
        path = find(kind, config)
        header = read_header(path, kind) if path else None
        if path and header:
            check_parents(path, kind, header.parents, config, checked)
        checked[kind] = header
    return checked[kind]


# === Files ===


def artifact_path(kind: str, config: Config) -> Path:
    """The path of an artifact.

    Raises:
        CaptionsError: There is none; the error names the notebook that makes it.
    """
    path = find(kind, config)
    if path is None:
        missing = working_folder(config) / file_name(kind, config)
        raise CaptionsError(f"{missing}: not found: run {ARTIFACTS[kind].notebook} first")
    return path


def find(kind: str, config: Config) -> Path | None:
    """The path of an artifact in the working folder, else anywhere in the inputs, else None.

    On Kaggle, the outputs of the notebook that makes it come before attached datasets.
    """
    path = working_folder(config) / file_name(kind, config)
    if path.is_file():
        return path
    excluded = find_pretrained_folders(config)
    return find_unique_input(path.name, excluded, ARTIFACTS[kind].notebook)


def format_size(path: str | Path) -> str:
    """The size of a file, such as `312 KB`."""
    size = Path(path).stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} KB"


@os_errors_as_caption_errors()
def fingerprint(path: str | Path) -> str:
    """A short hash of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:FINGERPRINT_LENGTH]


def read_pickle(path: str | Path) -> Any:
    """Plain data from an artifact's file.

    Raises:
        CaptionsError: The file would run code, is damaged, or cannot be read.
    """
    content, _ = read_content(path)
    return unpickle(path, content)


def read_content(path: str | Path) -> tuple[bytes, str]:
    """The bytes of an artifact's file, which its checksum fits, and their SHA-256.

    Raises:
        CaptionsError: The file is damaged, or cannot be read.
    """
    try:
        content = Path(path).read_bytes()
        return content, safe_pickle.verify(content)
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    except ValueError as error:
        reason = f"damaged ({error})"
    raise CaptionsError(f"{path}: {reason}{file_hint(path)}")


def unpickle(path: str | Path, content: bytes) -> Any:
    """Plain data from bytes that `read_content` has checked.

    Raises:
        CaptionsError: They would run code, or are no pickle.
    """
    try:
        return safe_pickle.unpickle(content)
    except pickle.UnpicklingError as error:
        reason = f"refused: {one_line(error)}"
    except Exception as error:  # a wrong pickle can fail in any way its opcodes allow
        reason = f"damaged ({one_line(error)})"
    raise CaptionsError(f"{path}: {reason}{file_hint(path)}")


def file_hint(path: str | Path) -> str:
    """How to replace a file that is of no use; empty if its name is not that of an artifact."""
    kind = kind_of_file(Path(path).name)
    return f": {remake_hint(kind)}" if kind else ""
