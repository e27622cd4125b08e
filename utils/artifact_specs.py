"""The kinds of artifacts: their files, the notebooks that make them, and what they depend on."""

from dataclasses import dataclass

from utils.config import Config


@dataclass(frozen=True)
class ArtifactSpec:
    """A kind of artifact: its file, the notebook that makes it, and what it depends on.

    A change of what `data` holds raises the version of that kind alone, so that a change of one
    notebook does not cost a captioner that was trained for hours.
    """

    file: str
    notebook: str
    config_fields: tuple[str, ...] = ()  # settings that change its contents
    parents: tuple[str, ...] = ()  # kinds of artifacts that it is made from
    version: int = 4


# The stages of a training, in order, and the settings that concern only some of them.
STAGES = ("train", "warm_start", "train_end_to_end", "fine_tune", "scst")
FINE_TUNE_FIELDS = ("fine_tune_epochs", "fine_tune_learning_rate", "crops")
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

# Settings that older artifacts of the same version lack, and the value that they were made with.
ADDED_SETTINGS = {"crops": 0}

ARTIFACTS = {
    "features": ArtifactSpec("features.pkl", "01_features", ("encoder",)),
    "backbone_features": ArtifactSpec(
        "backbone_features.pkl", "01_features", ("crops",), ("features",)
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
        ("beam_width", "length_penalty", "good_score"),
        ("captioner", "captions"),
        version=5,
    ),
    "confidence": ArtifactSpec(
        "confidence.pkl",
        "04_evaluate",
        ("beam_width", "length_penalty", "good_score"),
        ("captioner", "captions"),
        version=5,
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
    # Earlier versions called these frozen.pkl and frozen-*.npy.
    "backbone_features": ("backbone_features-*.npy*", "frozen.pkl", "frozen-*.npy*"),
    "history": tuple(f"checkpoint-{stage}-*.pkl" for stage in STAGES),
}


def file_name(kind: str, config: Config) -> str:
    """The file name of an artifact."""
    return ARTIFACTS[kind].file.format(decoder=config.decoder, seed=config.seed)


def kind_of_file(name: str) -> str | None:
    """The kind of artifact that a file name belongs to."""
    for kind, spec in ARTIFACTS.items():
        if name.startswith(spec.file.partition("{")[0]):
            return kind
    return None


def rerun_hint(kind: str) -> str:
    """How to fix an artifact that was made with other settings, or from other artifacts."""
    if kind in STAGES:
        return f"restore the settings it was started with, or {remake_hint(kind)}"
    return remake_hint(kind)


def remake_hint(kind: str) -> str:
    """How to replace an artifact that is of no use in any run."""
    if kind in STAGES:  # training does not replace a checkpoint that it cannot read
        return "delete it and run 03_train again"
    return f"run {ARTIFACTS[kind].notebook} again"
