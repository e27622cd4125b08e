"""The only room that touches artifact files: what the notebooks hand to each other.

An artifact is one pickle of plain things (dict, list, str, numbers, NumPy arrays) with a header
that says what made it: kind, version, the settings that matter, the fingerprints of its parents.
It is written to a temporary name, flushed, then renamed, so a reader sees the old file or the new
one. A file that does not fit the run is an error that names the notebook to run again.
"""

import hashlib
import os
import pickle
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils import plain
from utils.settings import CaptionsError, find_input, working_folder

VERSION = 1


@dataclass(frozen=True)
class Kind:
    """A kind of artifact: its file, the notebook that makes it, and what it depends on."""

    file: str
    notebook: str
    settings: tuple = ()  # the settings that change what is in it
    parents: tuple = ()  # the kinds that it was made from


KINDS = {
    "features": Kind("features.pkl", "01_features", ("encoder",)),
    "captions": Kind("captions.pkl", "02_text"),
    "tokenizer": Kind("tokenizer.pkl", "02_text", ("min_count", "max_words"), ("captions",)),
    "captioner": Kind(
        "captioner.pkl",
        "03_train",
        ("seed", "captioner", "units", "embedding", "dropout", "smoothing", "epochs")
        + ("batch_photos", "learning_rate"),
        ("features", "captions", "tokenizer"),
    ),
    "history": Kind("history.pkl", "03_train", (), ("captioner",)),
    "predictions": Kind(
        "predictions.pkl", "04_evaluate", ("beam_width", "length_power"), ("captioner", "captions")
    ),
}


def save(kind, data, settings):
    """Write `data` as the artifact `kind` into the working folder; returns its path.

    The same data and settings give the same bytes, so a second run changes no fingerprint.
    """
    names = [name for each in lineage(kind) for name in KINDS[each].settings]
    artifact = {
        "kind": kind,
        "version": VERSION,
        "settings": {name: getattr(settings, name) for name in names},
        "parents": {each: fingerprint(path_of(each, settings)) for each in KINDS[kind].parents},
        "data": data,
    }
    path, content = working_folder(settings) / KINDS[kind].file, plain.dumps(artifact)
    write_atomically(path, lambda file: file.write(content))
    for grid in path.parent.glob("features-*.npy") if kind == "features" else ():
        if grid.name != data.get("grid"):
            grid.unlink()
    return path


def load(kind, settings):
    """The data of the artifact `kind`, after checks that it is whole and belongs to this run."""
    path = path_of(kind, settings)
    artifact = read_artifact(path, kind)
    check_settings(path, kind, artifact["settings"], settings)
    check_parents(path, kind, artifact["parents"], settings)
    return artifact["data"]


def read_artifact(path, kind):
    """The artifact with its header, if it is one of that kind and of this version."""
    artifact = read_pickle(path)
    header = artifact if isinstance(artifact, dict) else {}
    plain = all(isinstance(header.get(part), dict) for part in ("settings", "parents"))
    if str(header.get("kind")) != kind or "data" not in header or not plain:
        raise CaptionsError(f"{path}: does not hold {kind}: {again(kind)}")
    if header.get("version") != VERSION:
        raise CaptionsError(
            f"{path}: has version {header.get('version')}, this is {VERSION}: {again(kind)}"
        )
    return header


def lineage(kind):
    """The kinds that an artifact descends from, the eldest first, and itself."""
    elders = [elder for parent in KINDS[kind].parents for elder in lineage(parent)]
    return list(dict.fromkeys([*elders, kind]))


def check_settings(path, kind, made_with, settings):
    """Refuse an artifact that was made with other settings, its own or an ancestor's.

    To blame is the eldest that was not made with today's settings: it is the first to make anew.
    """
    for each in lineage(kind):
        now = {name: getattr(settings, name) for name in KINDS[each].settings}
        differences = [
            f"{name}={made_with.get(name)} (now {value})"
            for name, value in now.items()
            if str(made_with.get(name)) != str(value)
        ]
        if differences:
            elder = find(each, settings)
            made = read_artifact(elder, each)["settings"] if elder and each != kind else {}
            mended = all(made.get(name) == value for name, value in now.items())
            raise CaptionsError(
                f"{path}: made with {', '.join(differences)}: {again(kind if mended else each)}"
            )


def check_parents(path, kind, made_from, settings):
    """Refuse an artifact one of whose ancestors has been made anew since, with another result."""
    for parent in KINDS[kind].parents:
        known, found = made_from.get(parent), find(parent, settings)
        if found is None:  # not needed here: who needs it will miss it
            continue
        if fingerprint(found) != known:
            raise CaptionsError(f"{path}: made from another {found.name}: {again(kind)}")
        check_parents(found, parent, read_artifact(found, parent)["parents"], settings)


def path_of(kind, settings):
    """Where the artifact lies; one that is nowhere is an error that names its notebook."""
    path = find(kind, settings)
    if path is None:
        folder = working_folder(settings)
        raise CaptionsError(
            f"{folder / KINDS[kind].file}: not there: run {KINDS[kind].notebook} first"
        )
    return path


def find(kind, settings):
    """The artifact's path: in the working folder, else anywhere under the inputs, else None."""
    path = working_folder(settings) / KINDS[kind].file
    return path if path.is_file() else next(iter(find_input(KINDS[kind].file)), None)


def again(kind):
    """The mend that most errors here share."""
    return f"run {KINDS[kind].notebook} again"


def size(path):
    """A file's size for people: `312 KB`."""
    length = Path(path).stat().st_size
    return f"{length / 1e6:.1f} MB" if length >= 1e6 else f"{length / 1e3:.0f} KB"


def fingerprint(path):
    """A short hash of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def save_grid(chunks, shape, settings):
    """Write a float16 array of `shape`, chunk by chunk; returns its file name.

    The name holds a hash of what is in it, so features that name a grid mean these very numbers.
    Saving the features is the commit; grids that they do not name are of no use then and go.
    """
    digest = hashlib.sha256()

    def write(file):
        header = {"descr": "<f2", "fortran_order": False, "shape": tuple(shape)}
        np.lib.format.write_array_header_1_0(file, header)
        for rows in chunks:
            part = np.ascontiguousarray(rows, "<f2").tobytes()
            digest.update(part)
            file.write(part)

    draft = working_folder(settings) / "features.npy"
    write_atomically(draft, write)
    path = draft.with_name(f"features-{digest.hexdigest()[:16]}.npy")
    os.replace(draft, path)
    return path.name


def load_grid(features, settings):
    """The grid that belongs to loaded features, `(photos, cells, channels)`, memory-mapped."""
    name, shape = features["grid"], tuple(features["grid_shape"])
    path = path_of("features", settings).parent / Path(str(name)).name
    try:
        grid = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged header can fail in any way
        reason = "not there" if isinstance(error, FileNotFoundError) else "cannot be read"
        raise CaptionsError(f"{path}: {reason}: {again('features')}") from None
    if not isinstance(grid, np.ndarray) or grid.shape != shape or grid.dtype != np.float16:
        raise CaptionsError(f"{path}: is not a grid of {shape}: {again('features')}")
    return grid


def write_atomically(path, write):
    """Call `write(file)` on a temporary file beside `path`, flush it to disk, then rename it."""
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException as error:  # Ctrl-C too leaves no half behind
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise CaptionsError(f"{path}: could not be written ({error.strerror})") from None
        raise


def write_text(path, text):
    """A text file, written like an artifact: whole or not at all."""
    write_atomically(path, lambda file: file.write(text.encode()))


def read_pickle(path):
    """Plain data from an artifact; whatever would run code or is damaged is refused in one line."""
    maker = next((name for name, kind in KINDS.items() if kind.file == Path(path).name), None)
    mend = f": {again(maker)}" if maker else ""
    try:
        return plain.loads(Path(path).read_bytes())
    except pickle.UnpicklingError as error:
        raise CaptionsError(f"{path}: refused: {' '.join(str(error).split())}{mend}") from None
    except OSError as error:
        raise CaptionsError(f"{path}: cannot be read ({error.strerror}){mend}") from None
    except Exception as error:  # a damaged pickle can fail in any way its opcodes allow
        raise CaptionsError(f"{path}: damaged ({type(error).__name__}){mend}") from None
