"""Run the five notebooks in order, each in a fresh kernel, and show their output.

A run uses the drawn sample unless `--input` or `--preset` says otherwise. A run on the sample
starts from scratch, so that its outputs match the committed ones: the `CAPTIONS_*` variables of
the shell are ignored (a line names each), and a run of all five notebooks first removes the drawn
photos and the artifacts of the previous one from its working folder. A run on photos uses the
variables, and its options override them.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL
from typing import IO, Any, NamedTuple

import nbformat
from nbclient.exceptions import CellExecutionError

from utils.artifacts import ARTIFACTS, STALE_PATTERNS, format_size, read_artifact
from utils.cli.executor import ANSI_COLORS, NotebookExecutor, peak_memory
from utils.config import Config, load_config
from utils.data.caption_files import CAPTION_FILES, find_captions_file
from utils.errors import CaptionsError
from utils.io import write_text
from utils.models.warm_start import load_pretrained
from utils.paths import REPOSITORY, input_folder, working_folder

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


class NotebookRun(NamedTuple):
    """What the summary says about one executed notebook."""

    name: str
    seconds: float
    peak_memory: int | None  # bytes


@dataclass(frozen=True)
class CodeCell:
    """A code cell of a notebook, and where it is."""

    index: int  # among all cells
    cell: Any
    heading: str  # the last one above it


def run(
    only: Sequence[str] | None = None,
    start: str | None = None,
    preset: str | None = None,
    changes: Sequence[str] | None = None,
    photos: str | None = None,
    working: str | None = None,
) -> None:
    """Run notebooks in order.

    The `CAPTIONS_*` variables of this process are set, because the kernels inherit them. Everything
    is checked before the first kernel starts.

    Args:
        only: Names of the notebooks to run; all by default.
        start: Name of the first notebook to run.
        preset: The preset; `sample` by default, `flickr8k` if there are `photos`.
        changes: Settings as `key=value`.
        photos: The input folder.
        working: The working folder.

    Raises:
        CaptionsError: An option is wrong, another run uses the working folder, or a cell failed.
    """
    notebooks = select_notebooks(only, start)
    set_variables(preset, changes or [], photos, working)
    config = load_config()
    folder = prepare_folders(config)
    load_pretrained(config)
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


# === Which notebooks ===


def select_notebooks(only: Sequence[str] | None = None, start: str | None = None) -> list[Path]:
    """The paths of the notebooks in order: those in `only`, or from `start` on, or all."""
    paths = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
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


def set_variables(
    preset: str | None, changes: Sequence[str], photos: str | None, working: str | None
) -> None:
    """Set the `CAPTIONS_*` variables from the options; on the sample, ignore those of the shell."""
    if photos and preset == "sample":
        raise CaptionsError("--input is for photos, but --preset sample draws its own: omit one")
    if preset is None:
        preset = "flickr8k" if photos else "sample"
    if preset == "sample":
        clear_variables()
    all_changes = [os.environ.get("CAPTIONS_SET", ""), *changes]
    variables = {
        "CAPTIONS_PRESET": preset,
        "CAPTIONS_SET": ",".join(all_changes).strip(","),
        "CAPTIONS_INPUT": photos,
        "CAPTIONS_WORKING": working,
    }
    for name, value in variables.items():
        if value:
            os.environ[name] = value


def clear_variables() -> None:
    """Remove the `CAPTIONS_*` variables of the shell, and say so."""
    for name in sorted(os.environ):
        if name.startswith("CAPTIONS_"):
            print(f"{name} is ignored: this is a run on the sample (python -m utils run --help)")
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
    os.environ["CAPTIONS_INPUT"] = str(source.resolve())
    os.environ["CAPTIONS_WORKING"] = str(folder)
    if config.preset != "sample":
        check_input(source)
    if folder / "notebooks" == NOTEBOOKS:
        raise CaptionsError(f"{folder}: holds the notebooks themselves: name another --working")
    try:
        (folder / "notebooks").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CaptionsError(
            f"{folder}: could not be written ({error.strerror}): name another --working"
        ) from None
    return folder


def check_input(source: Path) -> None:
    """Raise an error if the input folder holds no photos with captions."""
    if not source.exists():
        raise CaptionsError(f"{source}: does not exist: make download fetches Flickr8k into data/")
    if not find_captions_file():
        raise CaptionsError(
            f"{input_folder()}: contains no {CAPTION_FILES[0]}, and no .csv with the columns "
            "image,caption: name another folder"
        )


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


# === Running one notebook ===


def run_notebook(path: Path, folder: Path, position: str) -> NotebookRun:
    """Execute one notebook and keep the executed copy, even if a cell fails.

    Args:
        path: The notebook.
        folder: The working folder; the copy goes to `notebooks` in it.
        position: Printed before the name, such as `1 of 5`.

    Raises:
        CaptionsError: A cell raised an error, or the kernel died.
    """
    print(f"\n{position}  {path.stem}", flush=True)
    notebook = nbformat.read(path, as_version=4)
    copy = folder / "notebooks" / path.name
    code_cells = clear_outputs(notebook)
    executor = NotebookExecutor(notebook)
    place = "before its first cell"
    started = time.monotonic()
    try:
        # The kernel sends its output as messages; through its stderr it would come a second time.
        with executor.setup_kernel(cleanup_kc=True, cwd=str(path.parent), stderr=DEVNULL):
            for number, code_cell in enumerate(code_cells, 1):
                place = f"cell {number} of {len(code_cells)}{code_cell.heading}"
                print(f"  {place} · {time.monotonic() - started:.0f} s", flush=True)
                executor.execute_cell(code_cell.cell, code_cell.index)
            peak = peak_memory(executor.km)
    except CellExecutionError:
        reason = f"failed\n\n{format_failure(code_cell.cell)}"
    except RuntimeError as error:
        reason = f"its kernel died, perhaps because memory ran out ({error})"
    else:
        return NotebookRun(path.stem, time.monotonic() - started, peak)
    finally:
        write_text(copy, nbformat.writes(notebook) + "\n")
    raise CaptionsError(f"{path.stem}, {place}: {reason}\n\nthe run so far: {copy}")


def clear_outputs(notebook: Any) -> list[CodeCell]:
    """Remove all outputs of a notebook, and return its code cells."""
    code_cells = []
    heading = ""
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            headings = re.findall(r"^#+ +(.+)", cell.source, re.MULTILINE)
            if headings:
                heading = f" · {headings[-1]}"
        elif cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
            code_cells.append(CodeCell(index, cell, heading))
    return code_cells


def format_failure(cell: Any) -> str:
    """The source of a failed cell and the traceback, without colors."""
    lines = [f"    {line}" for line in cell.source.splitlines()]
    lines.append("")
    for output in cell.outputs:
        lines.extend(output.get("traceback", []))
    return ANSI_COLORS.sub("", "\n".join(lines))


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
