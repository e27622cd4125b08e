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
# A captioner of any precision can be used, but a training continues only in its own.
CHECKPOINT_FIELDS = (*TRAIN_FIELDS, "precision")
STAGE_FIELDS = {
    "train": CHECKPOINT_FIELDS,
    "warm_start": CHECKPOINT_FIELDS,
    "train_end_to_end": CHECKPOINT_FIELDS,
    "fine_tune": CHECKPOINT_FIELDS + FINE_TUNE_FIELDS,
    "scst": CHECKPOINT_FIELDS + FINE_TUNE_FIELDS + SCST_FIELDS,
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
    # The large grid of earlier versions was called frozen-*.npy.
    "backbone_features": ("backbone_features-*.npy*", "frozen-*.npy*"),
    "history": tuple(f"checkpoint-{stage}-*.pkl" for stage in STAGES),
}


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
    spec = ARTIFACTS[kind]
    for parent in spec.parents:
        config = resolve_auto(config, parent)
    settings = {}
    for ancestor in ancestors(kind):
        for name in ARTIFACTS[ancestor].config_fields:
            settings[name] = getattr(config, name)
    artifact = {
        "kind": kind,
        "version": VERSION,
        "config": settings,
        "parents": {parent: parent_fingerprint(parent, config) for parent in spec.parents},
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
    check_parents(path, kind, artifact["parents"], config)
    return artifact["data"]


def resolve_auto(config: Config, kind: str = "captioner") -> Config:
    """The configuration with each "auto" replaced by the value that an artifact recorded."""
    recorded = read_artifact(artifact_path(kind, config), kind)["config"]
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
    recorded = read_artifact(artifact_path("captioner", config), "captioner")["config"]
    evaluated = find("predictions", config)
    if evaluated:
        recorded = {**read_artifact(evaluated, "predictions")["config"], **recorded}
    settings = dict(recorded)
    preset = str(settings.pop("preset", None))
    parsed = {name: parse_value(name, value) for name, value in settings.items()}
    return Config(preset, working=config.working, **parsed)


# === Checks ===


def read_artifact(path: Path, kind: str) -> dict[str, Any]:
    """Read an artifact with its header.

    Raises:
        CaptionsError: It is not of that kind, or of another version of this project.
    """
    artifact = read_pickle(path)
    stored_kind = artifact.get("kind") if isinstance(artifact, dict) else None
    if not isinstance(stored_kind, str) or stored_kind != kind or "data" not in artifact:
        raise CaptionsError(f"{path}: does not hold {kind}: {rerun_hint(kind)}")
    version = artifact.get("version")
    if not isinstance(version, int):
        raise CaptionsError(f"{path}: does not hold {kind}: {rerun_hint(kind)}")
    if version != VERSION:
        raise CaptionsError(
            f"{path}: has version {version}, but this is version {VERSION}: {rerun_hint(kind)}"
        )
    if not is_flat(artifact.get("config")) or not is_flat(artifact.get("parents")):
        raise CaptionsError(f"{path}: does not hold {kind}: {rerun_hint(kind)}")
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
        recorded = read_artifact(path, ancestor)["config"]
    for name in ARTIFACTS[ancestor].config_fields:
        value = getattr(config, name)
        if value != "auto" and value != recorded.get(name):
            return False
    return True


def check_parents(path: Path, kind: str, recorded: dict[str, Any], config: Config) -> None:
    """Refuse an artifact one of whose ancestors has been made again with another result."""
    for parent in ARTIFACTS[kind].parents:
        parent_path = find(parent, config)
        if parent_path is None:  # not needed here; loading it would report that it is missing
            continue
        if fingerprint(parent_path) != recorded.get(parent):
            raise CaptionsError(f"{path}: made from another {parent_path.name}: {rerun_hint(kind)}")
        check_parents(parent_path, parent, read_artifact(parent_path, parent)["parents"], config)


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
    """The path of an artifact in the working folder, else anywhere in the inputs, else None."""
    path = working_folder(config) / file_name(kind, config)
    if path.is_file():
        return path
    return find_unique_input(path.name, exclude=find_pretrained_folders(config))


def file_name(kind: str, config: Config) -> str:
    """The file name of an artifact."""
    return ARTIFACTS[kind].file.format(decoder=config.decoder, seed=config.seed)


def rerun_hint(kind: str) -> str:
    """How to fix an artifact that does not fit this run."""
    if kind in STAGES:
        return "restore the settings it was started with, or delete it and run 03_train again"
    return f"run {ARTIFACTS[kind].notebook} again"


def format_size(path: str | Path) -> str:
    """The size of a file, such as `312 KB`."""
    size = Path(path).stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} KB"


@os_errors_as_caption_errors()
def fingerprint(path: str | Path) -> str:
    """A short hash of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


@os_errors_as_caption_errors()
def parent_fingerprint(kind: str, config: Config) -> str:
    """The fingerprint of an artifact that another is made from.

    Raises:
        CaptionsError: It is damaged.
    """
    path = artifact_path(kind, config)
    content = path.read_bytes()
    if not safe_pickle.is_intact(content):
        raise CaptionsError(f"{path}: damaged since it was loaded: {rerun_hint(kind)}")
    return hashlib.sha256(content).hexdigest()[:16]


def read_pickle(path: str | Path) -> Any:
    """Plain data from an artifact's file.

    Raises:
        CaptionsError: The file would run code, is damaged, or cannot be read.
    """
    kind = kind_of_file(Path(path).name)
    fix = f": {rerun_hint(kind)}" if kind else ""
    try:
        return safe_pickle.loads(Path(path).read_bytes())
    except pickle.UnpicklingError as error:
        raise CaptionsError(f"{path}: refused: {one_line(error)}{fix}") from None
    except OSError as error:
        raise CaptionsError(f"{path}: cannot be read ({error.strerror}){fix}") from None
    except Exception as error:  # a damaged pickle can fail in any way its opcodes allow
        raise CaptionsError(f"{path}: damaged ({one_line(error)}){fix}") from None


def one_line(error: Exception) -> str:
    """The message of an error without line breaks, or its type if it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def kind_of_file(name: str) -> str | None:
    """The kind of artifact that a file name belongs to."""
    for kind, spec in ARTIFACTS.items():
        if name.startswith(spec.file.partition("{")[0]):
            return kind
    return None
