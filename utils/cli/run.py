"""Runs the five notebooks in their order, each in a fresh kernel, and shows what they print.

A run is of the drawn sample world unless `--input` or `--preset` says otherwise. It is made anew
each time, so that its outputs match the committed ones: the `CAPTIONS_*` variables of the shell are
set aside (a line says which), and a run of all five first removes the sample's earlier world and
artifacts, known by their names, from its working folder. A run on photos takes the variables
as they are, and the options over them.
"""

import os
import re
import shutil
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL

import nbformat
from nbclient.exceptions import CellExecutionError

from utils.artifacts import ARTIFACTS, STALE_PATTERNS, format_size, read_artifact
from utils.cli.executor import ANSI_COLORS, NotebookExecutor, peak_memory
from utils.config import load_config
from utils.data.caption_files import CAPTION_FILES, find_captions_file
from utils.errors import CaptionsError
from utils.io import write_text
from utils.models.warm_start import load_pretrained
from utils.paths import REPOSITORY, input_folder, working_folder

NOTEBOOKS = REPOSITORY / "notebooks"
ARTIFACT_PATTERNS = [kind.file for kind in ARTIFACTS.values() if "{" not in kind.file]
ARTIFACT_PATTERNS += [pattern for patterns in STALE_PATTERNS.values() for pattern in patterns]
ARTIFACT_PATTERNS += ["scores.json", "gallery.html"]


def run(only=None, start=None, preset=None, changes=None, photos=None, working=None):
    """Run the notebooks that `only` or `start` name, else all five.

    The process's `CAPTIONS_*` variables are set, for the kernels inherit them. Everything is
    checked before the first kernel starts; a cell that fails ends the run with a CaptionsError.
    """
    notebooks = select_notebooks(only, start)
    set_variables(preset, changes or [], photos, working)
    config = load_config()
    folder = set_folders(config)
    load_pretrained(config)
    sample = config.preset == "sample"
    with run_lock(folder):
        left = find_sample_artifacts(folder) if sample else []
        if sample and notebooks == select_notebooks():
            remove_sample(folder, left)
        source = "the drawn sample world" if sample else f"photos in {input_folder()}"
        print(f"{source}; artifacts go to {folder}", flush=True)
        rows = [
            run_notebook(path, folder, f"{number} of {len(notebooks)}")
            for number, path in enumerate(notebooks, 1)
        ]
        print_summary(rows, folder)


def select_notebooks(only=None, start=None):
    """The notebooks' paths in order: those in `only`, or from `start` on, or all."""
    paths = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    if only:
        return [
            paths[position] for position in sorted({find_notebook(name, paths) for name in only})
        ]
    return paths[find_notebook(start, paths) :] if start else paths


def find_notebook(name, paths):
    """The position of the notebook that `3`, `03`, `train` or `03_train` names."""
    for position, path in enumerate(paths):
        number, _, word = path.stem.partition("_")
        if name in (number, number.lstrip("0"), word, path.stem, path.name):
            return position
    known = ", ".join(path.stem for path in paths)
    raise CaptionsError(f"notebook '{name}': there is none of that name: {known}")


def set_variables(preset, changes, photos, working):
    """Set the `CAPTIONS_*` variables: the options', on photos over the shell's own."""
    if photos and preset == "sample":
        raise CaptionsError("--input is for photos, and the preset sample draws its own: leave one")
    sample = not photos and preset in (None, "sample")
    if sample:
        for name in sorted(name for name in os.environ if name.startswith("CAPTIONS_")):
            print(f"{name} is set aside: this is the sample (see python -m utils run --help)")
            del os.environ[name]
    chosen = {
        "PRESET": "sample" if sample else preset or "flickr8k",
        "SET": ",".join([os.environ.get("CAPTIONS_SET", ""), *changes]).strip(","),
        "INPUT": photos,
        "WORKING": working,
    }
    os.environ.update({f"CAPTIONS_{key}": value for key, value in chosen.items() if value})


def set_folders(config):
    """Check the folders and pin them, for kernels start elsewhere; returns the one to write."""
    folder = working_folder(config).resolve()
    # On the sample only what it draws is read: no artifacts of other people under data/.
    source = (
        folder / "world" if config.preset == "sample" else Path(os.path.expanduser(input_folder()))
    )
    os.environ["CAPTIONS_INPUT"] = str(source.resolve())
    os.environ["CAPTIONS_WORKING"] = str(folder)
    if not source.exists() and config.preset != "sample":
        raise CaptionsError(f"{source}: not there: make data fetches Flickr8k into data/")
    if config.preset != "sample" and not find_captions_file():
        raise CaptionsError(
            f"{input_folder()}: holds no {CAPTION_FILES[0]}, and no .csv with the columns "
            "image,caption: name another folder"
        )
    if folder / "notebooks" == NOTEBOOKS:
        raise CaptionsError(f"{folder}: holds the notebooks themselves: name another --working")
    try:
        (folder / "notebooks").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CaptionsError(f"{folder}: cannot be written ({error.strerror})") from None
    return folder


@contextmanager
def run_lock(folder):
    """Keep a second run out of the folder; the system lets go of the lock when a run is killed."""
    with open(folder / ".running", "a") as file:
        try:
            lock(file)
        except (BlockingIOError, PermissionError):
            mend = "wait for it, or name another folder with --working"
            raise CaptionsError(f"{folder}: another run is at work here: {mend}") from None
        except OSError:  # a file system that knows no locks
            pass
        yield


def lock(file):
    """Lock an open file, or fail at once if another process has it."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        return msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def find_sample_artifacts(folder):
    """The artifacts that an earlier run on the sample has left; those of photos are an error."""
    found = [path for pattern in ARTIFACT_PATTERNS for path in folder.glob(pattern)]
    if found and not is_sample(folder):
        mend = "name another folder with --working, or the photos with --input"
        raise CaptionsError(f"{found[0]}: is not the sample's: {mend}")
    return found


def is_sample(folder):
    """Whether artifacts are the sample's, by what they say of it, or else by the world beside."""
    with suppress(CaptionsError):
        captions = read_artifact(folder / "captions.pkl", "captions")
        return captions["config"].get("preset") == "sample"
    return (folder / "world" / "scenes.json").is_file()


def remove_sample(folder, artifacts):
    """Remove what an earlier run on the sample has left, and nothing else."""
    for path in artifacts:
        path.unlink()
    world = folder / "world"
    if (world / "scenes.json").is_file() and not world.is_symlink():
        shutil.rmtree(world)


def run_notebook(path, folder, position):
    """Run one notebook, keep its executed copy, return its row of the last table."""
    print(f"\n{position}  {path.stem}", flush=True)
    notebook, copy = nbformat.read(path, as_version=4), folder / "notebooks" / path.name
    client, cells, place = NotebookExecutor(notebook), prepare(notebook), "before its first cell"
    started = time.monotonic()
    try:
        # What a kernel says comes as messages; on its own stderr it would come a second time.
        with client.setup_kernel(cleanup_kc=True, cwd=str(path.parent), stderr=DEVNULL):
            for number, (index, cell, heading) in enumerate(cells, 1):
                place = f"cell {number} of {len(cells)}{heading}"
                print(f"  {place} · {time.monotonic() - started:.0f} s", flush=True)
                client.execute_cell(cell, index)
            peak = peak_memory(client.km)
    except CellExecutionError:
        reason = f"failed\n\n{format_failure(cell)}"
    except RuntimeError as error:
        reason = f"its kernel died, perhaps out of memory ({error})"
    else:
        return path.stem, time.monotonic() - started, peak
    finally:
        write_text(copy, nbformat.writes(notebook) + "\n")
    raise CaptionsError(f"{path.stem}, {place}: {reason}\n\nthe run so far: {copy}")


def prepare(notebook):
    """Clear a notebook's outputs; returns (index, cell, heading above it) of its code cells."""
    found, heading = [], ""
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            titles = re.findall(r"^#+ +(.+)", cell.source, re.MULTILINE)
            heading = f" · {titles[-1]}" if titles else heading
        elif cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            found.append((index, cell, heading))
    return found


def format_failure(cell):
    """A failed cell for people: its source and the traceback."""
    source = "\n".join("    " + line for line in cell.source.splitlines())
    traceback = [line for output in cell.outputs for line in output.get("traceback", [])]
    return ANSI_COLORS.sub("", "\n".join([source, "", *traceback]))


def print_summary(rows, folder):
    """Print what the run took, what it made, and where to look."""
    print(f"\n{'notebook':16}{'seconds':>9}{'peak memory':>14}")
    for name, seconds, peak in rows:
        print(f"{name:16}{seconds:9.1f}{f'{peak / 1e6:.0f} MB' if peak else '-':>14}")
    found = [path for pattern in ARTIFACT_PATTERNS for path in sorted(folder.glob(pattern))]
    print("".join(f"\n{path.name:34}{format_size(path):>12}" for path in found))
    print(f"\nexecuted notebooks: {folder / 'notebooks'}")
    if (folder / "gallery.html").is_file():
        print(f"open in a browser: {folder / 'gallery.html'}")
