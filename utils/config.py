"""The configuration of a run: one frozen dataclass, two presets, and what overrides what.

Every notebook starts with `config = load_config(detect_preset())`. A preset holds the values that
belong together: `sample` for the drawn sample, `flickr8k` for photos. Single settings are changed
in the notebook's configuration cell, with `CAPTIONS_SET="epochs=2,decoder=merge"`, or with `--set`
on the command line. The environment overrides the notebook, and the notebook overrides the preset.

In `CAPTIONS_SET` and `--set` commas separate settings. A value that contains a comma is written in
quotes: `CAPTIONS_SET='epochs=2,start_from="runs/a, b"'`.
"""

import os
import re
import shlex
from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any

from utils.errors import CaptionsError

# Settings that had another name in earlier versions.
RENAMED_SETTINGS = {
    "averaging": "ema_momentum",
    "batch_photos": "batch_size",
    "captioner": "decoder",
    "embedding": "embedding_dim",
    "length_power": "length_penalty",
    "max_left_out": "max_skipped",
    "max_words": "max_length",
    "members": "ensemble_size",
    "score_epochs": "scst_epochs",
    "score_rate": "scst_learning_rate",
    "smoothing": "label_smoothing",
    "tuning_epochs": "fine_tune_epochs",
    "tuning_rate": "fine_tune_learning_rate",
}
NOT_ASSIGNABLE = ("preset", "working")  # these have an environment variable and option of their own

# The CNNs in `models.encoders.ENCODERS`. Their names are here, too, because a wrong one must be
# noticed before TensorFlow is imported.
ENCODER_NAMES = (
    "sample_cnn",
    "mobilenet_v2",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "vgg16",
    "resnet50",
    "inception_v3",
    "xception",
    "densenet201",
    "efficientnet_v2b0",
    "convnext_base",
)


PRECISIONS = ("float32", "auto", "mixed_float16", "mixed_bfloat16")


def setting(
    default: Any,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    check: Callable[[str], Any] | None = None,
) -> Any:
    """A dataclass field with its default value and the values that it accepts.

    Args:
        default: The value of the preset `sample`; `PRESETS` has those of others that differ.
        minimum: The smallest number.
        maximum: The largest number.
        choices: The texts, if not all are accepted.
        check: Raises a CaptionsError for a text that is not accepted.
    """
    metadata = {
        "default": default,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "check": check,
    }
    return field(default=None, metadata=metadata)  # `Config` takes the default from the preset


def parse_shard(text: str) -> tuple[int, int]:
    """The number and the count of a shard such as `2/8`.

    Raises:
        CaptionsError: It is none.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match:
        number, count = int(match[1]), int(match[2])
        if 1 <= number <= count:
            return number, count
    raise CaptionsError(f"setting 'shard={text}': not a shard: write 2/8 for the second of eight")


COLUMN_ROLES = ("image", "caption", "split")


def parse_columns(text: str) -> dict[str, str]:
    """The names of columns in the setting `columns`, such as `image=path,caption=text`.

    Raises:
        CaptionsError: It has another form.
    """
    named: dict[str, str] = {}
    for part in text.split(","):
        role, _, name = part.partition("=")
        role, name = role.strip(), name.strip()
        if name in COLUMN_ROLES and role and role not in COLUMN_ROLES:
            raise CaptionsError(
                f"setting 'columns={text}': '{part.strip()}' is reversed: write {name}={role}, "
                "with the name in the file behind the equals sign"
            )
        if text and (role not in COLUMN_ROLES or not name):
            raise CaptionsError(
                f"setting 'columns={text}': names no column with '{part}': write it like "
                "image=path,caption=text"
            )
        if name:
            named[role] = name
    return named


@dataclass(frozen=True)
class Config:
    """All settings of one run.

    A setting that is not given has the value of the preset, so `Config("flickr8k")` has all values
    that belong to photos. `replace(config, preset=...)` changes where the photos come from, and
    nothing else.

    Raises:
        CaptionsError: The preset does not exist.
    """

    # `sample` draws its photos, `flickr8k` finds them in the inputs.
    preset: str = "sample"
    # Folder of the artifacts; `paths.working_folder` decides where it is empty.
    working: str = ""
    # Seed of weight initialization, shuffling, dropout and sampling.
    seed: int = setting(1, 0, 2**31)

    # 01_features and 02_text
    # The captions file, by its path or its name in the inputs, if not the one that is found.
    captions_file: str = ""
    # Its columns, if they have unusual names, such as "image=path,caption=text".
    columns: str = setting("", check=parse_columns)
    # The pretrained CNN, or "auto" for the one that suits this machine.
    encoder: str = setting("sample_cnn", choices=("auto", *ENCODER_NAMES))
    # Fraction of unreadable or unmatched photos above which a run stops. Five photos never stop it,
    # unless they are more than a fifth, or this is 0.
    max_skipped: float = setting(0.01, 0, 1)
    # "2/8" extracts the second of eight shards of the photos, one shard per machine.
    shard: str = setting("", check=parse_shard)

    # 02_text
    # Tokens that occur less often in the training captions become <unk>.
    min_count: int = setting(20, 1, 10**9)
    # Longer captions are truncated, in training and in decoding.
    max_length: int = setting(20, 2, 1000)
    # Folder of an earlier run whose vocabulary and weights this one starts from (warm start), a
    # file that the command `export` has written, or "pretrained" for the captioner of this project.
    start_from: str = ""

    # 03_train
    decoder: str = setting("attention", choices=("merge", "inject", "attention"))
    # Number of LSTM units.
    units: int = setting(96, 1, 10_000)
    embedding_dim: int = setting(64, 1, 10_000)
    dropout: float = setting(0.2, 0, 0.99)
    label_smoothing: float = setting(0.05, 0, 0.99)
    epochs: int = setting(10, 1, 10_000)
    # Photos per batch; each comes with all of its captions.
    batch_size: int = setting(30, 1, 10_000)
    learning_rate: float = setting(1.2e-2, 1e-9, 10)
    # Gradients are scaled down to this global norm.
    clip_norm: float = setting(2.0, 1e-9, 1e9)
    # Fraction of the steps in which the learning rate rises, before its cosine decay.
    warmup_fraction: float = setting(0.1, 0, 0.9)
    # Half precision where the hardware is fast at it ("auto"), or full precision.
    precision: str = setting("float32", choices=PRECISIONS)
    # Momentum of the exponential moving average (EMA) of the weights.
    ema_momentum: float = setting(0.95, 0, 0.9999)
    # Epochs in which the CNN's top blocks are fine-tuned together with the decoder.
    fine_tune_epochs: int = setting(0, 0, 10_000)
    fine_tune_learning_rate: float = setting(3e-4, 1e-9, 10)
    # Random crops of each training photo, as further views of it in fine-tuning. On Flickr8k, three
    # cost 01_features about 10 minutes of CPU time and 2.5 GB of disk.
    crops: int = setting(0, 0, 8)
    # Epochs of self-critical sequence training (SCST) on CIDEr-D.
    scst_epochs: int = setting(0, 0, 10_000)
    scst_learning_rate: float = setting(5e-5, 1e-9, 10)
    # Number of captioners, trained from different seeds, whose probabilities are averaged.
    ensemble_size: int = setting(1, 1, 100)
    # Epochs without a better validation score after which training stops.
    patience: int = setting(6, 1, 10_000)

    # 04_evaluate
    beam_width: int = setting(3, 1, 100)
    # Beams are ranked by log-probability / length ** length_penalty.
    length_penalty: float = setting(0.7, 0, 10)
    # CIDEr-D from which on a caption counts as good, for its confidence. In both presets about 70 %
    # of the validation captions reach it.
    good_score: float = setting(2.0, 0, 10)

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            known = " or ".join(PRESETS)
            raise CaptionsError(f"preset '{self.preset}': does not exist: choose {known}")
        for spec in fields(self):
            if getattr(self, spec.name) is None:
                value = PRESETS[self.preset].get(spec.name, spec.metadata["default"])
                object.__setattr__(self, spec.name, value)


# Where the values of a preset differ from the defaults above.
PRESETS: dict[str, dict[str, Any]] = {
    "sample": {},
    "flickr8k": {
        "encoder": "auto",  # 01_features chooses one for this machine
        "min_count": 4,
        "max_length": 25,
        "units": 512,
        "embedding_dim": 256,
        "dropout": 0.5,
        "label_smoothing": 0.1,
        "good_score": 0.2,
        "epochs": 12,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "ema_momentum": 0.998,
        "precision": "auto",
        "fine_tune_epochs": 8,
        "fine_tune_learning_rate": 5e-4,
    },
}


def load_config(preset: str | None = None, **changes: Any) -> Config:
    """Build the configuration of this run.

    Args:
        preset: A key of `PRESETS`, `sample` by default; `detect_preset` finds the one that fits
            the data. The environment variable `CAPTIONS_PRESET` overrides it.
        **changes: Single settings; those in the environment variable `CAPTIONS_SET` override them.

    Returns:
        The preset with the changes applied.

    Raises:
        CaptionsError: The preset or a setting does not exist, or a value is not allowed.
    """
    config = Config(os.environ.get("CAPTIONS_PRESET") or preset or "sample")
    changes |= parse_changes(os.environ.get("CAPTIONS_SET", ""))
    parsed = {key: parse_value(key, value) for key, value in changes.items()}
    return replace(config, **parsed)


def parse_changes(text: str) -> dict[str, str]:
    """Split `"epochs=2,encoder=vgg16"` into a dict of strings.

    Commas within quotes belong to a value: `"start_from='a, b'"`.

    Raises:
        CaptionsError: A setting has no value, or a quotation mark is not closed.
    """
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace = ","
    lexer.whitespace_split = True
    lexer.commenters = ""
    lexer.escape = ""  # the backslashes of a path stay
    try:
        parts = list(lexer)
    except ValueError:
        raise CaptionsError(
            f"settings {text}: a quotation mark is not closed: close it, or write a value with an "
            "apostrophe in double quotes"
        ) from None
    changes = {}
    for part in parts:
        if not part.strip():
            continue
        key, _, value = part.partition("=")
        if not value.strip():
            raise CaptionsError(
                f"setting '{key.strip()}': has no value: write it as key=value, e.g. epochs=2, and "
                "a value that contains a comma in quotes"
            )
        changes[key.strip()] = value.strip()
    return changes


def format_change(key: str, value: str) -> str:
    """A setting as `key=value` for `CAPTIONS_SET`, with quotes where the value needs them."""
    if re.search("[,'\"]", value):
        value = "'" + value.replace("'", "'\"'\"'") + "'"
    return f"{key}={value}"


def parse_value(key: str, value: Any) -> Any:
    """Convert a value to the type of the setting `key` and check that it is allowed.

    Raises:
        CaptionsError: The setting does not exist, or the value has the wrong type or size.
    """
    spec = find_setting(key)
    converted = convert_value(spec, value)
    limits = spec.metadata
    if limits.get("choices") and converted not in limits["choices"]:
        allowed = ", ".join(limits["choices"])
        raise CaptionsError(f"setting '{key}={value}': must be one of {allowed}")
    if limits.get("check") and converted:
        limits["check"](converted)
    minimum = limits.get("minimum")
    maximum = limits.get("maximum")
    if minimum is not None and not minimum <= converted <= maximum:  # also false for NaN
        raise CaptionsError(f"setting '{key}={value}': must be from {minimum:g} to {maximum:g}")
    return converted


def find_setting(key: str) -> Field:
    """The dataclass field of a setting; an error gives the new name of a renamed one."""
    settings = {spec.name: spec for spec in fields(Config) if spec.name not in NOT_ASSIGNABLE}
    if key in settings:
        return settings[key]
    if key in RENAMED_SETTINGS:
        raise CaptionsError(
            f"setting '{key}': is now called {RENAMED_SETTINGS[key]}: use that name"
        )
    similar = get_close_matches(key, settings)
    suggestion = " or ".join(similar) if similar else ", ".join(settings)
    raise CaptionsError(f"setting '{key}': does not exist: use {suggestion}")


def convert_value(spec: Field, value: Any) -> Any:
    """The value in the type of a setting; 12.0 is a whole number, 2.5 is not."""
    text = str(value)
    try:
        if spec.type is int:
            return int(text.removesuffix(".0"))
        if spec.type is float:
            return float(text)
        return text
    except (ValueError, OverflowError):
        expected = "a whole number" if spec.type is int else "a number"
        raise CaptionsError(f"setting '{spec.name}={value}': must be {expected}") from None


def summarize(config: Config, *names: str) -> str:
    """The named settings as lines of `name  value`, for a notebook's configuration cell."""
    return "\n".join(f"{name:14} {getattr(config, name)}" for name in names)
