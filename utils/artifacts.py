"""The only room that touches artifact files: what the notebooks hand to each other.

An artifact is one pickle of plain things (dict, list, str, numbers, NumPy arrays) with a header
that says what made it: kind, version, the settings that matter, the fingerprints of its parents.
It is written to a temporary name, flushed, then renamed, so a reader sees the old file or the new
one. A file that does not fit the run is an error that names the notebook to run again.
"""

import hashlib
import pickle
from dataclasses import dataclass, replace
from pathlib import Path

from utils import safe_pickle
from utils.config import Config, parse_value
from utils.errors import CaptionsError, os_errors_as_caption_errors
from utils.io import write_atomically
from utils.paths import find_pretrained_folders, find_unique_input, working_folder

VERSION = 4
SCALAR_TYPES = {str, int, float, bool, type(None)}  # of the values in a header


@dataclass(frozen=True)
class ArtifactSpec:
    """A kind of artifact: its file, the notebook that makes it, and what it depends on."""

    file: str
    notebook: str
    config_fields: tuple[str, ...] = ()  # settings that change its contents
    parents: tuple[str, ...] = ()  # kinds of artifacts that it is made from


# The stages of a training, in order, and the settings that concern only some of them.
STAGES = ("train", "warm_start", "train_end_to_end", "fine_tune", "scst")
FINE_TUNE_FIELDS = ("fine_tune_epochs", "fine_tune_learning_rate")
SCST_FIELDS = ("scst_epochs", "scst_learning_rate")
TRAIN_FIELDS = (
    "seed",
    "decoder",
    "units",
    "embedding_dim",
    "dropout",
    "label_smoothing",
    "epochs",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "clip_norm",
    "warmup_fraction",
    "ema_momentum",
    "patience",
)
STAGE_FIELDS = {
    "train": TRAIN_FIELDS,
    "warm_start": TRAIN_FIELDS,
    "train_end_to_end": TRAIN_FIELDS,
    "fine_tune": TRAIN_FIELDS + FINE_TUNE_FIELDS,
    "scst": TRAIN_FIELDS + FINE_TUNE_FIELDS + SCST_FIELDS,
}
CAPTIONER_PARENTS = ("features", "captions", "tokenizer")

ARTIFACTS = {
    "features": ArtifactSpec("features.pkl", "01_features", ("encoder",)),
    "backbone_features": ArtifactSpec(
        "backbone_features.pkl", "01_features", parents=("features",)
    ),
    "captions": ArtifactSpec("captions.pkl", "02_text", ("preset",)),
    "tokenizer": ArtifactSpec(
        "tokenizer.pkl", "02_text", ("min_count", "max_length", "start_from"), ("captions",)
    ),
    "captioner": ArtifactSpec(
        "captioner.pkl",
        "03_train",
        (*TRAIN_FIELDS, *FINE_TUNE_FIELDS, *SCST_FIELDS, "ensemble_size"),
        CAPTIONER_PARENTS,
    ),
    "history": ArtifactSpec("history.pkl", "03_train", parents=("captioner",)),
    "predictions": ArtifactSpec(
        "predictions.pkl",
        "04_evaluate",
        ("beam_width", "length_penalty"),
        ("captioner", "captions"),
    ),
    # Checkpoints of unfinished trainings: one per stage, decoder and seed.
    **{
        stage: ArtifactSpec(
            f"checkpoint-{stage}-{{decoder}}-{{seed}}.pkl",
            "03_train",
            STAGE_FIELDS[stage],
            CAPTIONER_PARENTS,
        )
        for stage in STAGES
    },
}

# Files that are of no use any more once an artifact is saved.
STALE_PATTERNS = {
    "features": ("features-*.npy*",),
    "backbone_features": ("backbone_features-*.npy*",),
    "history": ("checkpoint-*.pkl",),
}


def save(kind, data, config):
    """Write `data` as the artifact `kind` into the working folder; returns its path.

    The same data and settings give the same bytes, so a second run changes no fingerprint.
    """
    for parent in ARTIFACTS[kind].parents:
        config = resolve_auto(config, parent)
    names = [name for each in ancestors(kind) for name in ARTIFACTS[each].config_fields]
    artifact = {
        "kind": kind,
        "version": VERSION,
        "config": {name: getattr(config, name) for name in names},
        "parents": {each: parent_fingerprint(each, config) for each in ARTIFACTS[kind].parents},
        "data": data,
    }
    path, content = working_folder(config) / file_of(kind, config), safe_pickle.dumps(artifact)
    write_atomically(path, lambda file: file.write(content))
    for pattern in STALE_PATTERNS.get(kind, ()):
        for old in path.parent.glob(pattern):
            if old.name != data.get("grid"):
                old.unlink()
    return path


def load(kind, config):
    """The data of the artifact `kind`, after checks that it is whole and belongs to this run."""
    path = artifact_path(kind, config)
    artifact = read_artifact(path, kind)
    check_config(path, kind, artifact["config"], config)
    check_parents(path, kind, artifact["parents"], config)
    return artifact["data"]


def resolve_auto(config, kind="captioner"):
    """The settings with what was "auto" as that artifact records it: decided when 01 ran."""
    made = read_artifact(artifact_path(kind, config), kind)["config"]
    autos = [name for name, value in vars(config).items() if value == "auto" and name in made]
    return replace(config, **{name: made[name] for name in autos})


def load_saved_config(folder=None):
    """The settings that the captioner in `folder` was made with, and searched with in 04_evaluate.

    Without a folder it is this machine's own: that of photos, where there is one, or the sample's.
    """
    places = [Config(working=str(folder))] if folder else [Config("flickr8k"), Config()]
    config = next((place for place in places if find("captioner", place)), places[-1])
    known = read_artifact(artifact_path("captioner", config), "captioner")["config"]
    if searched := find("predictions", config):
        known = read_artifact(searched, "predictions")["config"] | known
    changes = {name: parse_value(name, value) for name, value in known.items() if name != "preset"}
    return replace(config, preset=str(known.get("preset")), **changes)


def read_artifact(path, kind):
    """The artifact with its header, if it is one of that kind and of this version."""
    artifact = read_pickle(path)
    header = artifact if isinstance(artifact, dict) else {}
    names = {part: header.get(part) for part in ("kind", "version")}
    parts = [names, header.get("config"), header.get("parents")]
    flat = all(
        isinstance(part, dict) and {*map(type, part.values())} <= SCALAR_TYPES for part in parts
    )
    if not flat or header["kind"] != kind or "data" not in header:
        raise CaptionsError(f"{path}: does not hold {kind}: {rerun_hint(kind)}")
    if (version := header["version"]) != VERSION:
        raise CaptionsError(f"{path}: has version {version}, this is {VERSION}: {rerun_hint(kind)}")
    return header


def ancestors(kind):
    """The kinds that an artifact descends from, the eldest first, and itself."""
    elders = [elder for parent in ARTIFACTS[kind].parents for elder in ancestors(parent)]
    return list(dict.fromkeys([*elders, kind]))


def check_config(path, kind, made_with, config):
    """Refuse an artifact that was made with other settings, its own or an ancestor's.

    To blame is the eldest that was not made with today's settings: it is the first to make anew.
    """
    for each in ancestors(kind):
        now = {name: getattr(config, name) for name in ARTIFACTS[each].config_fields}
        differences = [
            f"{name}={made_with.get(name)} (now {value})"
            for name, value in now.items()
            if str(made_with.get(name)) != str(value) != "auto"
        ]
        if differences:
            elder = find(each, config)
            made = read_artifact(elder, each)["config"] if elder and each != kind else {}
            mended = all(value in ("auto", made.get(name)) for name, value in now.items())
            mend = rerun_hint(kind if mended or kind in STAGES else each)
            raise CaptionsError(f"{path}: made with {', '.join(differences)}: {mend}")


def check_parents(path, kind, made_from, config):
    """Refuse an artifact one of whose ancestors has been made anew since, with another result."""
    for parent in ARTIFACTS[kind].parents:
        known, found = made_from.get(parent), find(parent, config)
        if found is None:  # not needed here: who needs it will miss it
            continue
        if fingerprint(found) != known:
            raise CaptionsError(f"{path}: made from another {found.name}: {rerun_hint(kind)}")
        check_parents(found, parent, read_artifact(found, parent)["parents"], config)


def artifact_path(kind, config):
    """Where the artifact lies; one that is nowhere is an error that names its notebook."""
    path = find(kind, config)
    if path is None:
        path = working_folder(config) / file_of(kind, config)
        raise CaptionsError(f"{path}: not there: run {ARTIFACTS[kind].notebook} first")
    return path


def find(kind, config):
    """The artifact's path: in the working folder, else anywhere under the inputs, else None."""
    path = working_folder(config) / file_of(kind, config)
    return path if path.is_file() else find_unique_input(path.name, find_pretrained_folders(config))


def file_of(kind, config):
    """The artifact's file name."""
    return ARTIFACTS[kind].file.format(decoder=config.decoder, seed=config.seed)


def rerun_hint(kind):
    """The mend that most errors here share."""
    if kind in STAGES:
        return "go back to the settings it was begun with, or delete it and run 03_train again"
    return f"run {ARTIFACTS[kind].notebook} again"


def format_size(path):
    """A file's size for people: `312 KB`."""
    length = Path(path).stat().st_size
    return f"{length / 1e6:.1f} MB" if length >= 1e6 else f"{length / 1e3:.0f} KB"


@os_errors_as_caption_errors()
def fingerprint(path):
    """A short hash of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


@os_errors_as_caption_errors()
def parent_fingerprint(kind, config):
    """The fingerprint of an artifact that something is made from: one that is damaged has none."""
    path = artifact_path(kind, config)
    content = path.read_bytes()
    if not safe_pickle.is_whole(content):
        raise CaptionsError(f"{path}: damaged since it was read: {rerun_hint(kind)}")
    return hashlib.sha256(content).hexdigest()[:16]


def read_pickle(path):
    """Plain data from an artifact; whatever would run code or is damaged is refused in one line."""
    known = {kind.file.partition("{")[0]: name for name, kind in ARTIFACTS.items()}
    maker = next((known[start] for start in known if Path(path).name.startswith(start)), None)
    mend = f": {rerun_hint(maker)}" if maker else ""
    try:
        return safe_pickle.loads(Path(path).read_bytes())
    except pickle.UnpicklingError as error:
        raise CaptionsError(f"{path}: refused: {' '.join(str(error).split())}{mend}") from None
    except OSError as error:
        raise CaptionsError(f"{path}: cannot be read ({error.strerror}){mend}") from None
    except Exception as error:  # a damaged pickle can fail in any way its opcodes allow
        raise CaptionsError(f"{path}: damaged ({type(error).__name__}){mend}") from None
