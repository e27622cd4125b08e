"""Run the five notebooks in order, each in a fresh kernel, and show their output.

A run uses the drawn sample unless `--input` or `--preset` says otherwise. A run on the sample
starts from scratch, so that its outputs match the committed ones: the `CAPTIONS_*` variables of
the shell are ignored (a line names each), and a run of all five notebooks first removes the drawn
photos and the artifacts of the previous one from its working folder. A run on photos uses the
variables, and its options override them.
"""

import os
import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from utils.artifacts import ARTIFACTS, STALE_PATTERNS, format_size, read_artifact
from utils.cli.notebook_run import NotebookRun, run_notebook
from utils.cli.pretrained_hint import propose_pretrained
from utils.config import Config, format_change, load_config
from utils.data.caption_files import describe_missing, find_captions_file
from utils.data.photos import Photos, find_photos
from utils.data.report import describe_data
from utils.errors import CaptionsError, program_name
from utils.evaluation.calibration import MIN_PHOTOS
from utils.evaluation.protocol import MIN_SCORED_PHOTOS
from utils.models.warm_start import load_pretrained
from utils.paths import REPOSITORY, input_folder, working_folder
from utils.sample.dataset import sample_is_complete

NOTEBOOKS = REPOSITORY / "notebooks"
# The drawn photos in the working folder. Earlier versions called the folder `world`.
SAMPLE_FOLDER = "sample"
SAMPLE_FOLDERS = (SAMPLE_FOLDER, "world")


def artifact_patterns() -> list[str]:
    """The file name patterns of everything that the notebooks write into the working folder."""
    # A name with a placeholder is that of a checkpoint: STALE_PATTERNS has patterns for those.
    patterns = [spec.file for spec in ARTIFACTS.values() if "{" not in spec.file]
    for stale_patterns in STALE_PATTERNS.values():
        patterns.extend(stale_patterns)
    return [*patterns, "scores.json", "gallery.html"]


@dataclass(frozen=True)
class RunOptions:
    """The options of the command `run`.

    Attributes:
        only: Names of the notebooks to run; all by default.
        start: Name of the first notebook to run.
        preset: The preset; `sample` by default, `flickr8k` if there are photos or captions.
        changes: Settings as `key=value`.
        photos: The input folder; by default that of the captions file, if one is named.
        captions: The captions file.
        columns: Its columns, as `image=path,caption=text`.
        working: The working folder.
        check: Report what the data are, and run nothing.
    """

    only: Sequence[str] | None = None
    start: str | None = None
    preset: str | None = None
    changes: Sequence[str] | None = None
    photos: str | None = None
    captions: str | None = None
    columns: str | None = None
    working: str | None = None
    check: bool = False


def run(**options: Any) -> None:
    """Run notebooks in order.

    The `CAPTIONS_*` variables of this process are set, because the kernels inherit them. Everything
    is checked before the first kernel starts.

    Args:
        **options: Attributes of `RunOptions`.

    Raises:
        CaptionsError: An option is wrong, another run uses the working folder, or a cell failed.
    """
    chosen = RunOptions(**options)
    notebooks = select_notebooks(chosen.only, chosen.start)
    set_variables(chosen)
    config = load_config()
    folder = prepare_folders(config)
    _, words = load_pretrained(config)
    if chosen.check or config.preset != "sample":
        is_needed = chosen.check or needs_photos(notebooks)
        print(*check_data(config, words, is_needed), sep="\n", flush=True)
    if chosen.check:
        return
    make_folder(folder)
    with run_lock(folder):
        source = f"photos in {input_folder()}"
        if config.preset == "sample":
            source = "the drawn sample"
            artifacts = find_sample_artifacts(folder)
            if notebooks == select_notebooks():
                remove_sample(folder, artifacts)
        print(f"{source}; artifacts go to {folder}", flush=True)
        runs = []
        for number, path in enumerate(notebooks, 1):
            runs.append(run_notebook(path, folder, f"{number} of {len(notebooks)}"))
        print_summary(runs, folder)


# === What the data are ===


def needs_photos(notebooks: Sequence[Path]) -> bool:
    """Whether one of these notebooks reads the data; the others work with its artifacts."""
    return any(path.stem in ("01_features", "02_text") for path in notebooks)


def check_data(config: Config, words: Sequence[str], is_needed: bool) -> list[str]:
    """The report on the data of a run.

    Args:
        config: The configuration of the run.
        words: The vocabulary of the run that `start_from` names.
        is_needed: Whether data that cannot be used are an error; otherwise a line says so.
    """
    if config.preset == "sample" and not sample_is_complete(input_folder()):
        return ["the drawn sample: 01_features draws it: check your own photos with --input FOLDER"]
    try:
        photos = find_photos(config)
        lines = describe_data(photos, config, words)
        return [*lines, *propose_pretrained(photos, config), *announce_few_photos(photos)]
    except CaptionsError as error:
        if is_needed:
            raise
        return [f"photos not checked: {error}"]


def announce_few_photos(photos: Photos) -> list[str]:
    """Lines on what too few validation and test photos do not allow."""
    lines = []
    count = len(photos.splits["validation"])
    if count < MIN_PHOTOS:
        lines.append(
            f"note        too few validation photos ({count:,}) to fit the confidence of captions: "
            f"at least {MIN_PHOTOS} are needed"
        )
    # Without test photos, 04_evaluate scores the validation photos.
    split = "test" if photos.splits["test"] else "validation"
    count = len(photos.splits[split])
    if count < MIN_SCORED_PHOTOS:
        lines.append(
            f"note        too few {split} photos ({count:,}) for scores that hold for others: "
            f"at least {MIN_SCORED_PHOTOS} are needed"
        )
    return lines


# === Which notebooks ===


def select_notebooks(only: Sequence[str] | None = None, start: str | None = None) -> list[Path]:
    """The paths of the notebooks in order: those in `only`, or from `start` on, or all."""
    paths = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    if not paths:
        fix = "run this command in a clone of the repository, which has them"
        raise CaptionsError(f"{NOTEBOOKS}: has no notebooks: {fix}")
    if only:
        positions = {find_notebook(name, paths) for name in only}
        return [paths[position] for position in sorted(positions)]
    if start:
        return paths[find_notebook(start, paths) :]
    return paths


def find_notebook(name: str, paths: list[Path]) -> int:
    """The position of the notebook that `3`, `03`, `train` or `03_train` means."""
    for position, path in enumerate(paths):
        number, _, word = path.stem.partition("_")
        if name in (number, number.lstrip("0"), word, path.stem, path.name):
            return position
    names = ", ".join(path.stem for path in paths)
    raise CaptionsError(f"notebook '{name}': does not exist: choose one of {names}")


# === Variables and folders ===


def set_variables(options: RunOptions) -> None:
    """Set the `CAPTIONS_*` variables from the options; on the sample, ignore those of the shell."""
    photos = options.photos
    if options.captions and not photos:
        photos = str(Path(os.path.expanduser(options.captions)).parent)
    if (photos or options.columns) and options.preset == "sample":
        raise CaptionsError(
            "--input, --captions and --columns are for photos, but --preset sample draws its own: "
            "omit one"
        )
    preset = options.preset or ("flickr8k" if photos or options.columns else "sample")
    if preset == "sample":
        clear_variables()
    changes = [os.environ.get("CAPTIONS_SET", ""), *(options.changes or [])]
    changes.extend(captions_changes(options))
    variables = {
        "CAPTIONS_PRESET": preset,
        "CAPTIONS_SET": ",".join(changes).strip(","),
        "CAPTIONS_INPUT": photos,
        "CAPTIONS_WORKING": options.working,
    }
    for name, value in variables.items():
        if value:
            os.environ[name] = value


def captions_changes(options: RunOptions) -> list[str]:
    """The settings that `--captions` and `--columns` change."""
    changes = []
    if options.captions:
        path = find_captions_option(options.captions, options.photos)
        changes.append(format_change("captions_file", str(path)))
    if options.columns:
        changes.append(format_change("columns", options.columns))
    return changes


def find_captions_option(captions: str, photos: str | None) -> Path:
    """The captions file that `--captions` names: from the current folder, or from `--input`.

    Raises:
        CaptionsError: There is none.
    """
    path = Path(os.path.expanduser(captions))
    inside = Path(os.path.expanduser(photos or ""), path)
    for candidate in (path, inside):
        if candidate.is_file():
            return candidate.resolve()
    places = f"here, nor in --input {photos}" if photos else "here"
    raise CaptionsError(f"--captions {captions}: does not exist {places}: name a file")


def clear_variables() -> None:
    """Remove the `CAPTIONS_*` variables of the shell, and say so."""
    for name in sorted(os.environ):
        if name.startswith("CAPTIONS_"):
            hint = f"{program_name()} run --help"
            print(f"{name} is ignored: this is a run on the sample ({hint})")
            del os.environ[name]


def prepare_folders(config: Config) -> Path:
    """Check the input and working folders, make them absolute, and return the working folder.

    Kernels start in another folder, so the variables must hold absolute paths.
    """
    folder = working_folder(config).resolve()
    if config.preset == "sample":
        source = folder / SAMPLE_FOLDER  # and not data/, which may hold other artifacts
    else:
        source = Path(os.path.expanduser(input_folder()))
    is_named = "CAPTIONS_INPUT" in os.environ
    os.environ["CAPTIONS_INPUT"] = str(source.resolve())
    os.environ["CAPTIONS_WORKING"] = str(folder)
    if config.preset != "sample":
        check_input(source, is_named, config)
    if folder / "notebooks" == NOTEBOOKS:
        raise CaptionsError(f"{folder}: holds the notebooks themselves: name another --working")
    return folder


def make_folder(folder: Path) -> None:
    """Make the working folder, with its folder for the executed notebooks."""
    try:
        (folder / "notebooks").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CaptionsError(
            f"{folder}: could not be written ({error.strerror}): name another --working"
        ) from None


def check_input(source: Path, is_named: bool, config: Config) -> None:
    """Raise an error if the input folder holds no photos with captions.

    Args:
        source: The folder.
        is_named: Whether an option or a variable names it; otherwise it is the default.
        config: The configuration of the run.
    """
    if not source.exists():
        fix = "name the folder of your photos"
        if not is_named:
            fix = "name one with --input, or download Flickr8k into it with make download"
        raise CaptionsError(f"{source}: no such folder: {fix}")
    if not find_captions_file(config):
        raise CaptionsError(f"{input_folder()}: {describe_missing(config)}")


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Refuse a second run in the same working folder.

    The operating system releases the lock when the process ends, however it ends.
    """
    with open(folder / ".running", "a") as file:
        try:
            lock_file(file)
        except (BlockingIOError, PermissionError):
            fix = "wait until it has finished, or name another --working"
            raise CaptionsError(f"{folder}: is in use by another run: {fix}") from None
        except OSError:  # the file system does not support locks: run without one
            pass
        yield


def lock_file(file: IO) -> None:
    """Lock an open file; raise an OSError at once if another process has locked it."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


# === What an earlier run on the sample has left ===


def find_sample_artifacts(folder: Path) -> list[Path]:
    """The artifacts in the working folder; an error if they are not from a run on the sample."""
    artifacts = find_artifacts(folder)
    if artifacts and not is_from_sample(folder):
        fix = "name another --working, or the photos with --input"
        raise CaptionsError(f"{artifacts[0]}: is not from a run on the sample: {fix}")
    return artifacts


def find_artifacts(folder: Path) -> list[Path]:
    """All files in a working folder that the notebooks have written."""
    paths: list[Path] = []
    for pattern in artifact_patterns():
        paths.extend(sorted(folder.glob(pattern)))
    return paths


def is_from_sample(folder: Path) -> bool:
    """Whether the artifacts are from a run on the sample.

    The captions artifact says so; if it is missing, the drawn photos beside it do.
    """
    with suppress(CaptionsError):
        captions = read_artifact(folder / "captions.pkl", "captions")
        return captions["config"].get("preset") == "sample"
    return any(is_drawn(folder / name) for name in SAMPLE_FOLDERS)


def is_drawn(folder: Path) -> bool:
    """Whether a folder holds the drawn photos, and nothing of a user's."""
    return (folder / "scenes.json").is_file()


def remove_sample(folder: Path, artifacts: list[Path]) -> None:
    """Remove the artifacts and the drawn photos of an earlier run, and nothing else."""
    for path in artifacts:
        path.unlink()
    for name in SAMPLE_FOLDERS:
        drawn = folder / name
        if is_drawn(drawn) and not drawn.is_symlink():
            shutil.rmtree(drawn)


# === After the last notebook ===


def print_summary(runs: list[NotebookRun], folder: Path) -> None:
    """Print the time and memory of each notebook, the files that were written, and where."""
    print(f"\n{'notebook':16}{'seconds':>9}{'peak memory':>14}")
    for name, seconds, peak in runs:
        memory = f"{peak / 1e6:.0f} MB" if peak else "-"
        print(f"{name:16}{seconds:9.1f}{memory:>14}")
    print()
    for path in find_artifacts(folder):
        print(f"{path.name:34}{format_size(path):>12}")
    print(f"\nexecuted notebooks: {folder / 'notebooks'}")
    gallery = folder / "gallery.html"
    if gallery.is_file():
        print(f"open in a browser: {gallery}")
    if any(notebook.name == "04_evaluate" for notebook in runs):
        print_result(folder)


def print_result(folder: Path) -> None:
    """Print the score of the captioner of a run, and the command that uses it."""
    path = folder / "predictions.pkl"
    if not path.is_file():
        return
    predictions = read_artifact(path, "predictions")["data"]
    count = len(predictions["names"])
    photos = f"{count:,} {predictions['split']} photo{'' if count == 1 else 's'}"
    scores = {name: values["CIDEr-D"] for name, values in predictions["scores"].items()}
    print(
        f"CIDEr-D on {photos}: {scores['captioner']:.3f} (a constant caption: "
        f"{scores['constant caption']:.3f})"
    )
    command = f"{program_name()} caption PHOTOS --working {shlex.quote(str(folder))}"
    print(f"caption photos with it: {command}")
