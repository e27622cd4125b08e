"""The only room that touches artifact files: what the notebooks hand to each other.

An artifact is one pickle of plain things (dict, list, str, numbers, NumPy arrays) with a header
that says what made it: kind, version, the settings that matter, the fingerprints of its parents.
It is written to a temporary name, flushed, then renamed, so a reader sees the old file or the new
one. A file that does not fit the run is an error that names the notebook to run again.
"""

import hashlib
import os
import pickle
import shutil
from dataclasses import dataclass, replace
from io import BytesIO
from math import prod
from pathlib import Path

import numpy as np

from utils import plain
from utils.files import AGAIN, write_atomically
from utils.settings import (
    CaptionsError,
    Settings,
    checked,
    earlier_folders,
    find_one,
    told,
    working_folder,
)

VERSION = 3
FLAT = {str, int, float, bool, type(None)}  # what a header's settings and parents are


@dataclass(frozen=True)
class Kind:
    """A kind of artifact: its file, the notebook that makes it, and what it depends on."""

    file: str
    notebook: str
    settings: tuple = ()  # the settings that change what is in it
    parents: tuple = ()  # the kinds that it was made from


KINDS = {
    "features": Kind("features.pkl", "01_features", ("encoder",)),
    "frozen": Kind("frozen.pkl", "01_features", (), ("features",)),
    "captions": Kind("captions.pkl", "02_text", ("preset",)),
    "tokenizer": Kind(
        "tokenizer.pkl", "02_text", ("min_count", "max_words", "start_from"), ("captions",)
    ),
    "captioner": Kind(
        "captioner.pkl",
        "03_train",
        ("seed", "captioner", "units", "embedding", "dropout", "smoothing", "epochs")
        + ("batch_photos", "learning_rate", "averaging", "patience")
        + ("tuning_epochs", "tuning_rate", "score_epochs", "score_rate", "members"),
        ("features", "captions", "tokenizer"),
    ),
    "history": Kind("history.pkl", "03_train", (), ("captioner",)),
    "predictions": Kind(
        "predictions.pkl", "04_evaluate", ("beam_width", "length_power"), ("captioner", "captions")
    ),
}

# A training that is not done, by stage, kind of captioner and seed; LATER: whom settings concern.
STAGES = ("checkpoint", "further", "sighted", "tuning", "scoring")
LATER = dict.fromkeys(("tuning_epochs", "tuning_rate"), STAGES[3:]) | {"members": ()}
LATER |= dict.fromkeys(("score_epochs", "score_rate"), STAGES[4:])
for stage in STAGES:
    own = tuple(n for n in KINDS["captioner"].settings if stage in LATER.get(n, STAGES))
    KINDS[stage] = replace(KINDS["captioner"], file=stage + "-{captioner}-{seed}.pkl", settings=own)
# What an artifact makes useless when it is saved: grids that it does not name, checkpoints.
OUTLIVED = {"features": ("features-*.npy*",), "frozen": ("frozen-*.npy*",)}
OUTLIVED["history"] = tuple(f"{stage}-*-*.pkl" for stage in STAGES)


def save(kind, data, settings):
    """Write `data` as the artifact `kind` into the working folder; returns its path.

    The same data and settings give the same bytes, so a second run changes no fingerprint.
    """
    for parent in KINDS[kind].parents:
        settings = settled(settings, parent)
    names = [name for each in lineage(kind) for name in KINDS[each].settings]
    artifact = {
        "kind": kind,
        "version": VERSION,
        "settings": {name: getattr(settings, name) for name in names},
        "parents": {each: parent_fingerprint(each, settings) for each in KINDS[kind].parents},
        "data": data,
    }
    path, content = working_folder(settings) / file_of(kind, settings), plain.dumps(artifact)
    write_atomically(path, lambda file: file.write(content))
    for pattern in OUTLIVED.get(kind, ()):
        for old in path.parent.glob(pattern):
            if old.name != data.get("grid"):
                old.unlink()
    return path


def load(kind, settings):
    """The data of the artifact `kind`, after checks that it is whole and belongs to this run."""
    path = path_of(kind, settings)
    artifact = read_artifact(path, kind)
    check_settings(path, kind, artifact["settings"], settings)
    check_parents(path, kind, artifact["parents"], settings)
    return artifact["data"]


def settled(settings, kind="captioner"):
    """The settings with what was "auto" as that artifact records it: decided when 01 ran."""
    made = read_artifact(path_of(kind, settings), kind)["settings"]
    autos = [name for name, value in vars(settings).items() if value == "auto" and name in made]
    return replace(settings, **{name: made[name] for name in autos})


def recorded_settings(folder=None):
    """The settings that the captioner in `folder` was made with, and searched with in 04_evaluate.

    Without a folder it is this machine's own: that of photos, where there is one, or the sample's.
    """
    places = [Settings(working=str(folder))] if folder else [Settings("flickr8k"), Settings()]
    settings = next((place for place in places if find("captioner", place)), places[-1])
    known = read_artifact(path_of("captioner", settings), "captioner")["settings"]
    if searched := find("predictions", settings):
        known = read_artifact(searched, "predictions")["settings"] | known
    changes = {name: checked(name, value) for name, value in known.items() if name != "preset"}
    return replace(settings, preset=str(known.get("preset")), **changes)


def read_artifact(path, kind):
    """The artifact with its header, if it is one of that kind and of this version."""
    artifact = read_pickle(path)
    header = artifact if isinstance(artifact, dict) else {}
    names = {part: header.get(part) for part in ("kind", "version")}
    parts = [names, header.get("settings"), header.get("parents")]
    flat = all(isinstance(part, dict) and {*map(type, part.values())} <= FLAT for part in parts)
    if not flat or header["kind"] != kind or "data" not in header:
        raise CaptionsError(f"{path}: does not hold {kind}: {again(kind)}")
    if (version := header["version"]) != VERSION:
        raise CaptionsError(f"{path}: has version {version}, this is {VERSION}: {again(kind)}")
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
            if str(made_with.get(name)) != str(value) != "auto"
        ]
        if differences:
            elder = find(each, settings)
            made = read_artifact(elder, each)["settings"] if elder and each != kind else {}
            mended = all(value in ("auto", made.get(name)) for name, value in now.items())
            mend = again(kind if mended or kind in STAGES else each)
            raise CaptionsError(f"{path}: made with {', '.join(differences)}: {mend}")


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
        path = working_folder(settings) / file_of(kind, settings)
        raise CaptionsError(f"{path}: not there: run {KINDS[kind].notebook} first")
    return path


def find(kind, settings):
    """The artifact's path: in the working folder, else anywhere under the inputs, else None."""
    path = working_folder(settings) / file_of(kind, settings)
    return path if path.is_file() else find_one(path.name, earlier_folders(settings))


def file_of(kind, settings):
    """The artifact's file name."""
    return KINDS[kind].file.format(captioner=settings.captioner, seed=settings.seed)


def again(kind):
    """The mend that most errors here share."""
    if kind in STAGES:
        return "go back to the settings it was begun with, or delete it and run 03_train again"
    return f"run {KINDS[kind].notebook} again"


def size(path):
    """A file's size for people: `312 KB`."""
    length = Path(path).stat().st_size
    return f"{length / 1e6:.1f} MB" if length >= 1e6 else f"{length / 1e3:.0f} KB"


@told()
def fingerprint(path):
    """A short hash of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def save_grid(features, chunks, batch, settings):
    """Write the float16 grid of which `features` say the file's name and shape.

    `chunks(row)` yields its rows from `row` on, `batch` at a time. What is interrupted, even by a
    crash, goes on after its last full chunk at the next call, and a whole file is left as it is: so
    the name must tell all that decides the numbers. Saving the features is the commit; what they
    do not name is of no use then and goes.
    """
    path, shape = working_folder(settings) / features["grid"], tuple(features["grid_shape"])
    half, header = path.with_name(f"{path.name}.partial"), BytesIO()
    head = {"descr": "<f2", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, head)
    row_length = 2 * prod(shape[1:])
    length = header.tell() + row_length * shape[0]
    if path.is_file() and path.stat().st_size == length:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    for other in set(path.parent.glob(f"{path.name.partition('-')[0]}-*.partial")) - {half}:
        print(f"{other.name}: of another encoder, list of photos or shard: this starts anew")
    have = half.stat().st_size if half.exists() else 0
    done = max(0, (have - header.tell()) // row_length // batch * batch)
    if done:
        print(f"goes on after {done:,} of {shape[0]:,} photos")
    try:
        with open(half, "r+b" if have else "wb") as file:
            file.write(header.getvalue())
            file.truncate(file.seek(row_length * done, os.SEEK_CUR))
            if (free := shutil.disk_usage(half.parent).free) < length - file.tell():
                raise OSError(0, f"{length / 1e6:,.0f} MB needed, {free / 1e6:,.0f} MB free")
            for rows in chunks(done):
                file.write(np.ascontiguousarray(rows, "<f2"))
                file.flush()
            os.fsync(file.fileno())
        os.replace(half, path)
    except OSError as error:
        raise CaptionsError(f"{path}: could not be written ({error.strerror}): {AGAIN}") from None


def load_grid(features, settings):
    """The grid that belongs to loaded features, `(photos, cells, channels)`, memory-mapped."""
    name, shape = Path(str(features["grid"])).name, tuple(features["grid_shape"])
    path = working_folder(settings) / name
    path = path if path.is_file() else find_one(name) or path
    try:
        grid = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged header can fail in any way
        gone = isinstance(error, FileNotFoundError)
        reason = "not there: " if gone else "cannot be read: delete it, then "
        raise CaptionsError(f"{path}: {reason}{again('features')}") from None
    if not isinstance(grid, np.ndarray) or grid.shape != shape or grid.dtype != np.float16:
        raise CaptionsError(f"{path}: no grid of {shape}: delete it, then {again('features')}")
    return grid


@told()
def parent_fingerprint(kind, settings):
    """The fingerprint of an artifact that something is made from: one that is damaged has none."""
    path = path_of(kind, settings)
    content = path.read_bytes()
    if not plain.is_whole(content):
        raise CaptionsError(f"{path}: damaged since it was read: {again(kind)}")
    return hashlib.sha256(content).hexdigest()[:16]


def read_pickle(path):
    """Plain data from an artifact; whatever would run code or is damaged is refused in one line."""
    known = {kind.file.partition("{")[0]: name for name, kind in KINDS.items()}
    maker = next((known[start] for start in known if Path(path).name.startswith(start)), None)
    mend = f": {again(maker)}" if maker else ""
    try:
        return plain.loads(Path(path).read_bytes())
    except pickle.UnpicklingError as error:
        raise CaptionsError(f"{path}: refused: {' '.join(str(error).split())}{mend}") from None
    except OSError as error:
        raise CaptionsError(f"{path}: cannot be read ({error.strerror}){mend}") from None
    except Exception as error:  # a damaged pickle can fail in any way its opcodes allow
        raise CaptionsError(f"{path}: damaged ({type(error).__name__}){mend}") from None
