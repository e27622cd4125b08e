"""The numbers of a run, in one frozen place, and the folders that it reads and writes.

Every notebook starts with `settings = load_settings()`. A preset holds what belongs together
(`sample` for the drawn world, `flickr8k` for photos); single fields are changed in the notebook's
settings cell, with `CAPTIONS_SET="epochs=2,captioner=merge"`, or with `--set` on the command line.
The outermost wins: the environment over the notebook, the notebook over the preset.
"""

import filecmp
import os
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from fnmatch import filter as fitting
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
KAGGLE = Path("/kaggle")

# What tells a folder of captioned photos, by the file name that each data set is known for:
# Flickr8k and Flickr30k from Kaggle and from their authors, COCO, Karpathy's, any such table.
CAPTION_FILES = ("captions.txt", "Flickr8k.token.txt", "results.csv", "results_2013*.token")
CAPTION_FILES += ("captions_train20*.json", "captions_val20*.json", "dataset_*.json", "*.csv")

# What people call the two columns of such a table.
COLUMNS = (("image", "image_name", "filename", "file_name"), ("caption", "comment"))


class CaptionsError(Exception):
    """What a user can cause and mend, in one line: the file, the reason, the mend."""

    def _render_traceback_(self):
        # IPython calls this instead of printing a traceback of the package's insides.
        return [f"{type(self).__name__}: {self}"]


@contextmanager
def told(what="could not be read", mend="see that it is there, and allowed"):
    """What the system refuses inside, as such a line. It can stand before a function, too."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is None:  # Pillow's own are about pictures
            raise
        raise CaptionsError(f"{error.filename}: {what} ({error.strerror}): {mend}") from None


@dataclass(frozen=True)
class Settings:
    """One run. The comments say what a field does; `PRESETS` says how the two presets differ."""

    preset: str = "sample"
    working: str = ""  # where artifacts lie; without it `working_folder` decides
    seed: int = 1  # of weights, shuffling and dropout; the sample world has its own
    # 01_features
    encoder: str = "tiny"  # the pretrained CNN, a key of encoders.ENCODERS, or "auto"
    max_left_out: float = 0.01  # the share of broken or unmatched photos that stops the run
    shard: str = ""  # "2/8": compute the second of eight slices of the photos, on as many machines
    # 02_text
    min_count: int = 20  # rarer words of the training captions become <unk>
    max_words: int = 20  # longer captions are cut, when read and when written
    start_from: str = ""  # the folder of an earlier run, whose words and captioner are taken over
    # 03_train
    captioner: str = "attention"  # a key of captioners.CAPTIONERS
    units: int = 192  # width of the LSTM
    embedding: int = 96  # width of a word
    dropout: float = 0.2
    smoothing: float = 0.05  # label smoothing: probability left for the other words
    epochs: int = 12
    batch_photos: int = 30  # a batch is this many photos with all their captions
    learning_rate: float = 4e-3
    precision: str = "float32"  # of most numbers; "auto": half the bits where that is fast
    averaging: float = 0.95  # how much of the weights' moving average each step keeps
    tuning_epochs: int = 0  # then of the CNN's last blocks together with the captioner
    tuning_rate: float = 3e-4  # the learning rate of that
    score_epochs: int = 0  # then of training on CIDEr-D itself
    score_rate: float = 5e-5  # the learning rate of that
    members: int = 1  # captioners of other seeds that write together
    patience: int = 6  # epochs without a better validation score before training stops
    # 04_evaluate
    beam_width: int = 3
    length_power: float = 0.7  # a beam's log-probability is divided by words ** length_power


PRESETS = {
    "sample": {},
    "flickr8k": {
        "encoder": "auto",  # 01_features decides: is there a GPU?
        "min_count": 4,
        "max_words": 25,
        "units": 512,
        "embedding": 256,
        "dropout": 0.5,
        "smoothing": 0.1,
        "epochs": 12,
        "batch_photos": 32,
        "learning_rate": 1e-3,
        "averaging": 0.998,
        "precision": "auto",
        "tuning_epochs": 8,
        "tuning_rate": 5e-4,
    },
}

# The least and the most that make sense.
RANGES = dict.fromkeys(("epochs", "units", "embedding", "batch_photos"), (1, 10_000))
RANGES |= {"seed": (0, 2**31), "min_count": (1, 10**9), "max_words": (2, 1000)}
RANGES |= {"dropout": (0, 0.99), "smoothing": (0, 0.99), "learning_rate": (1e-9, 10)}
RANGES |= {"tuning_epochs": (0, 10_000), "score_epochs": (0, 10_000), "members": (1, 100)}
RANGES |= dict.fromkeys(("tuning_rate", "score_rate"), (1e-9, 10))
RANGES |= {"averaging": (0, 0.9999), "patience": (1, 10_000)}
RANGES |= {"beam_width": (1, 100), "length_power": (0, 10), "max_left_out": (0, 1)}
CHOICES = {"captioner": ("merge", "inject", "attention")}
CHOICES |= {"precision": ("float32", "auto")}


def load_settings(preset=None, **changes):
    """The settings of this run: a preset, the notebook's `changes`, and the environment's.

    Without a preset in the call or in `CAPTIONS_PRESET` the data decides: photos that are found
    get `flickr8k`, and where there are none the sample world is drawn.
    """
    preset = os.environ.get("CAPTIONS_PRESET") or preset or default_preset()
    if preset not in PRESETS:
        raise CaptionsError(f"preset '{preset}': there is none of that name: {', '.join(PRESETS)}")
    settings = replace(Settings(preset=preset), **PRESETS[preset])
    for key, value in (changes | parse_changes(os.environ.get("CAPTIONS_SET", ""))).items():
        settings = replace(settings, **{key: checked(key, value)})
    return settings


def parse_changes(text):
    """`"epochs=2,encoder=vgg16"` as a dict of strings."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    for key, equals, value in pairs:
        if not equals or not value.strip():
            raise CaptionsError(f"setting '{key.strip()}': write it as key=value, e.g. epochs=2")
    return {key.strip(): value.strip() for key, _, value in pairs}


def checked(key, value):
    """`value` in the type of the field `key`, nothing cut off; what can't be is an error."""
    own = ("preset", "working")  # which have ways of their own
    kinds = {field.name: field.type for field in fields(Settings) if field.name not in own}
    if key not in kinds:
        near = " or ".join(get_close_matches(key, kinds)) or ", ".join(kinds)
        raise CaptionsError(f"setting '{key}': there is none of that name, but {near}")
    try:
        number = kinds[key](str(value).removesuffix(".0" if kinds[key] is int else ""))
    except (ValueError, TypeError, OverflowError):
        what = {int: "a whole number", float: "a number", str: "text"}[kinds[key]]
        raise CaptionsError(f"setting '{key}={value}': must be {what}") from None
    if key in CHOICES and number not in CHOICES[key]:
        raise CaptionsError(f"setting '{key}={value}': there is only {', '.join(CHOICES[key])}")
    low, high = RANGES.get(key, (None, None))
    if low is not None and not low <= number <= high:  # nan is not
        raise CaptionsError(f"setting '{key}={value}': must be from {low:g} to {high:g}")
    return number


def default_preset():
    """`flickr8k` where captioned photos are found, else `sample`; on Kaggle there must be some."""
    if find_captions_file():
        return "flickr8k"
    if folder := os.environ.get("CAPTIONS_INPUT"):
        raise CaptionsError(f"{folder}: holds no {' or '.join(CAPTION_FILES)}: name another folder")
    if on_kaggle():
        raise CaptionsError(
            f"no captions found under {input_folder()}: attach the dataset adityajn105/flickr8k "
            "with 'Add Input', or set CAPTIONS_PRESET=sample for the drawn sample world"
        )
    return "sample"


def find_captions_file():
    """The file that holds the captions, at any depth under the inputs, or None."""
    return next(filter(None, map(find_one, CAPTION_FILES)), None)


def find_one(name, apart=()):
    """The file of that name under the inputs, or None; several that differ are an error.

    The folders `apart` hold others, those of the run that this one goes on from.
    """
    found = [path for path in find_input(name) if path.suffix != ".csv" or has_captions(path)]
    found = [path for path in found if path.parent not in apart]
    first, *others = found or [None]
    if unlike := [other for other in others if not filecmp.cmp(first, other, shallow=False)]:
        raise CaptionsError(f"{first}: another, different one is {unlike[0]}: keep one of them")
    return first


def has_captions(path):
    """Whether a table's first line names a column of captions; Flickr30k calls it comment."""
    with open(path, encoding="utf-8-sig", errors="replace") as lines:
        first = lines.readline(1000).lower()
    return all(any(name in first for name in names) for names in COLUMNS)


def find_input(name):
    """All files of that name (a pattern may have a `*`) under the inputs, the shallowest first."""
    return sorted(find_under(input_folder(), name), key=lambda path: (len(path.parts), path))


def find_under(folder, name="*"):
    """The files of that name at any depth, in linked folders too, but for a Mac's own notes."""
    met = {os.path.realpath(folder)}  # links may lead in a circle
    for place, inner, names in os.walk(folder, followlinks=True):
        real = {os.path.realpath(Path(place, each)): each for each in sorted(inner)}
        inner[:] = [each for at, each in real.items() if at not in met]
        met |= real.keys()
        found = (Path(place, each) for each in fitting(names, name) if each[:2] != "._")
        yield from filter(Path.is_file, found)


def earlier_folders(settings):
    """The folders that `start_from` names: one in full, or all that the inputs have of the name."""
    path = Path(os.path.expanduser(settings.start_from))
    if not path.parts or path.is_absolute():
        return [path] if path.parts else []
    folders = [file.parent for file in find_input("captioner.pkl")]
    return [each for each in folders if each.parts[-len(path.parts) :] == path.parts]


def on_kaggle():
    """Whether this is a Kaggle kernel: it has an input root of its own."""
    return (KAGGLE / "input").is_dir()


def input_folder():
    """Where photos and other people's artifacts are read: never written."""
    if folder := os.environ.get("CAPTIONS_INPUT"):
        return Path(folder)
    return KAGGLE / "input" if on_kaggle() else REPOSITORY / "data"


def working_folder(settings):
    """Where artifacts are written. The sample has one to itself, so it never overwrites photos'."""
    if folder := settings.working or os.environ.get("CAPTIONS_WORKING"):
        return Path(os.path.expanduser(folder))  # as a shell: ~nobody stays as it is
    if on_kaggle():
        return KAGGLE / "working"
    return REPOSITORY / "working" / ("sample" if settings.preset == "sample" else "")


def describe(settings, *names):
    """The named settings as lines of `name  value`, for a notebook's settings cell."""
    return "\n".join(f"{name:14} {getattr(settings, name)}" for name in names)
